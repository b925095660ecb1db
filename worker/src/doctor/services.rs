//! The broker and the store.

use std::time::Duration;

use sandfleet_transport::{
    Broker, DEAD_LETTERING_FIX, Publisher, Topology,
    records::{RedisStore, ServerInfo},
};
use tokio::time::timeout;

use super::{
    default_users,
    finding::{Finding, SERVICES, State},
};
use crate::{app, causes::in_one_line, config::Settings};

const DEADLINE: Duration = Duration::from_secs(5);

pub(super) async fn broker(settings: &Settings) -> Vec<Finding> {
    let shown = settings.queue.url.to_string();
    let reach = async {
        let broker = Broker::new(
            settings.queue.url.reveal(),
            "sandfleet doctor",
            DEADLINE,
            &app::queue_tls(settings),
        )
        .map_err(|error| error.to_string())?;
        // No isolation: connects and asks for nothing that isn't there.
        let topology = Topology {
            prefix: settings.queue.prefix.clone(),
            isolations: Vec::new(),
            limits: Default::default(),
        };
        let publisher = Publisher::new(broker.clone(), topology);
        publisher.connect().await.map_err(|error| in_one_line(&error))?;
        Ok(broker)
    };
    let fix = "start RabbitMQ, or name another with queue.url; `sandfleet run` needs none";
    let reached = timeout(DEADLINE, reach).await.ok();
    let version = reached.as_ref().and_then(|it| it.as_ref().ok()).map(broker_version);
    let mut findings = vec![finding("broker", &shown, reached.map(|it| it.map(drop)), fix)];
    if let Some(version) = version {
        findings.push(version);
        findings.extend(default_users::broker(settings, DEADLINE).await);
    }
    findings
}

/// Whether a producer can stop its dead-lettering.
fn broker_version(broker: &Broker) -> Finding {
    let name = "broker version";
    if let Some(risk) = broker.dead_lettering_risk() {
        return Finding::bad(SERVICES, name, State::Warning, risk, DEAD_LETTERING_FIX);
    }
    let shown = broker.server().map(|it| format!("{} {}", it.product, it.version));
    Finding::ok(SERVICES, name, shown.unwrap_or_default())
}

pub(super) async fn store(settings: &Settings) -> Vec<Finding> {
    let shown = settings.store.url.to_string();
    let reach = async {
        let store = RedisStore::connect(app::redis_config(settings))
            .map_err(|error| in_one_line(&error))?;
        store.check().await.map_err(|error| in_one_line(&error))?;
        store.server().await.map_err(|error| in_one_line(&error))
    };
    let fix = "start Redis, or name another with store.url; `sandfleet run` needs none";
    let reached = timeout(DEADLINE, reach).await.ok();
    let facts = reached.as_ref().and_then(|reached| reached.as_ref().ok()).cloned();
    let mut findings = vec![finding("store", &shown, reached.map(|it| it.map(drop)), fix)];
    if let Some(facts) = facts {
        findings.extend([version(&facts), persistence(&facts)]);
        findings.extend(default_users::store(settings, DEADLINE).await);
    }
    findings
}

fn version(facts: &ServerInfo) -> Finding {
    let detail = format!("Redis {}", facts.version);
    if facts.is_new_enough() {
        return Finding::ok(SERVICES, "store version", detail);
    }
    let fix = "install Redis 6.2 or newer";
    Finding::bad(SERVICES, "store version", State::Missing, detail, fix)
}

/// What a crash of the server would cost. The worker works with all of them.
fn persistence(facts: &ServerInfo) -> Finding {
    let name = "store persistence";
    let fix = "set `appendonly yes` and `appendfsync always` in redis.conf, so that a result is on \
               disk before its job is acknowledged";
    if !facts.append_only {
        let detail = "appendonly no: a crash of Redis loses the results since its last snapshot, \
                      minutes of them, though their jobs are done with";
        return Finding::bad(SERVICES, name, State::Warning, detail, fix);
    }
    match facts.fsync.as_deref() {
        Some("always") => Finding::ok(SERVICES, name, "appendonly yes, appendfsync always"),
        Some("everysec") => Finding::ok(
            SERVICES,
            name,
            "appendonly yes, appendfsync everysec: a crash of its host may lose the results of \
             the last second or two; `appendfsync always` loses none",
        ),
        Some(other) => {
            let detail = format!(
                "appendonly yes, appendfsync {other}: a crash of its host may lose the results of \
                 half a minute"
            );
            Finding::bad(SERVICES, name, State::Warning, detail, fix)
        }
        None => Finding::ok(
            SERVICES,
            name,
            "appendonly yes; the user may not read appendfsync: see that it is always or everysec",
        ),
    }
}

fn finding(name: &str, shown: &str, reached: Option<Result<(), String>>, fix: &str) -> Finding {
    match reached {
        Some(Ok(())) => Finding::ok(SERVICES, name, shown),
        Some(Err(reason)) => {
            Finding::bad(SERVICES, name, State::Missing, format!("{shown}: {reason}"), fix)
        }
        None => {
            let detail = format!("{shown}: no answer in {} s", DEADLINE.as_secs());
            Finding::bad(SERVICES, name, State::Missing, detail, fix)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_forgets_is_a_warning_that_says_what_is_lost() {
        let facts = |append_only, fsync: Option<&str>| ServerInfo {
            version: "7.0.15".into(),
            append_only,
            fsync: fsync.map(str::to_owned),
        };
        let off = persistence(&facts(false, Some("everysec")));
        assert_eq!(off.state, State::Warning);
        assert!(off.detail.contains("minutes"), "{}", off.detail);
        assert_eq!(persistence(&facts(true, Some("no"))).state, State::Warning);
        for fsync in [Some("always"), Some("everysec"), None] {
            assert_eq!(persistence(&facts(true, fsync)).state, State::Ok);
        }
        assert_eq!(version(&facts(true, None)).state, State::Ok);
    }
}
