//! Rules between settings.

use std::{net::SocketAddr, path::PathBuf};

use sandfleet_common::LimitName;

use super::{
    mistake::Mistake,
    table::{LIMITS_COMPILE, LIMITS_DEFAULT, LIMITS_MAX},
    tenants::TenantUsers,
    values::Values,
};

/// What is wrong between settings that are each valid.
pub(super) fn contradictions(values: &Values) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    for limit in LimitName::ALL.iter().map(|limit| limit.as_str()) {
        if let (Some(default), Some(cap)) =
            (values.typed::<u64>(LIMITS_DEFAULT, limit), values.typed::<u64>(LIMITS_MAX, limit))
            && default > cap
        {
            mistakes.push(values.mistake(
                LIMITS_DEFAULT,
                limit,
                &format!("is above {}", values.describe(LIMITS_MAX, limit)),
                "lower the default or raise the maximum",
            ));
        }
    }
    let addresses = [
        ("admin", values.typed::<Option<SocketAddr>>("admin", "address").flatten()),
        ("exporter", values.typed::<SocketAddr>("exporter", "address")),
    ];
    for (area, address) in addresses {
        if let (Some(address), Some(None)) =
            (address, values.typed::<Option<PathBuf>>("admin", "token_file"))
            && !address.ip().is_loopback()
        {
            mistakes.push(values.mistake(
                area,
                "address",
                "can be reached from other machines without a token",
                "use 127.0.0.1, or name a file with a token in admin.token_file",
            ));
        }
    }
    // A third for each: all of it happens within one delivery.
    let walls = [LIMITS_MAX, LIMITS_COMPILE].map(|area| (area, "wall_time_ms"));
    for (area, name) in walls.into_iter().chain([("jobs", "job_wall_time_ms")]) {
        if let (Some(wall), Some(timeout)) =
            (values.typed::<u64>(area, name), values.typed::<u64>("queue", "consumer_timeout_ms"))
            && wall > timeout / 3
        {
            mistakes.push(values.mistake(
                area,
                name,
                &format!("is above a third of {}", values.describe("queue", "consumer_timeout_ms")),
                "lower it, or raise consumer_timeout in rabbitmq.conf and say so in \
                 queue.consumer_timeout_ms",
            ));
        }
    }
    if let (Some(wait), Some(dedup)) =
        (values.typed::<u64>("queue", "max_wait_ms"), values.typed::<u64>("store", "dedup_ttl_ms"))
        && dedup < wait
    {
        mistakes.push(values.mistake(
            "store",
            "dedup_ttl_ms",
            &format!("is below {}", values.describe("queue", "max_wait_ms")),
            "raise it, or lower queue.max_wait_ms: a job that waited longer than it is remembered \
             could run twice",
        ));
    }
    for (area, address, scheme) in [
        ("queue", "url", "amqps://"),
        ("store", "url", "rediss://"),
        ("tracing", "endpoint", "https://"),
    ] {
        mistakes.extend(needless_certificates(values, (area, address), scheme));
    }
    mistakes.extend(unproven_workers(values));
    mistakes
}

/// A worker is believed about the publisher of a message, so its user can be no producer's.
fn unproven_workers(values: &Values) -> Option<Mistake> {
    let tenants: TenantUsers = values.typed("jobs", "tenant_users")?;
    let url = url::Url::parse(values.sound("queue", "url")?).ok()?;
    let user = url.username();
    (!tenants.is_empty() && (user == "guest" || tenants.knows(user))).then(|| {
        values.mistake(
            "jobs",
            "tenant_users",
            &format!(
                "proves nothing while queue.url logs in as {user:?}, which is a producer's user too"
            ),
            "give workers a user of their own (deploy/credentials/make)",
        )
    })
}

/// A certificate that no connection uses gives a false sense of safety.
fn needless_certificates(
    values: &Values,
    (area, address): (&str, &str),
    scheme: &str,
) -> Option<Mistake> {
    let url = values.sound(area, address)?;
    let set = |name: &&str| values.sound(area, name).is_some_and(|path| !path.is_empty());
    let name = ["ca_file", "certificate_file", "key_file"].into_iter().find(set)?;
    (!url.starts_with(scheme)).then(|| {
        let problem = format!("is of no use: {} has no TLS", values.describe(area, address));
        values.mistake(area, name, &problem, &format!("begin the address with {scheme}"))
    })
}
