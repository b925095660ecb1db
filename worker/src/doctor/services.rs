//! The broker and the store.

use std::time::Duration;

use sandfleet_sdk::{Broker, Publisher, Topology};
use tokio::time::timeout;

use super::{Finding, State};
use crate::{
    app,
    config::Settings,
    store::{RedisConfig, RedisStore, Store},
};

const SERVICES: &str = "services";
const DEADLINE: Duration = Duration::from_secs(5);

pub(super) async fn broker(settings: &Settings) -> Vec<Finding> {
    let shown = settings.queue.url.to_string();
    let reach = async {
        let broker = Broker::at(
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
        Publisher::new(broker, topology).connect().await.map_err(|error| chain(&error))
    };
    let fix = "start RabbitMQ, or name another with queue.url; `sandfleet run` needs none";
    vec![finding("broker", &shown, timeout(DEADLINE, reach).await.ok(), fix)]
}

pub(super) async fn store(settings: &Settings) -> Vec<Finding> {
    let shown = settings.store.url.to_string();
    let reach = async {
        let config = RedisConfig {
            url: settings.store.url.reveal().to_owned(),
            tls: app::store_tls(settings),
            prefix: settings.store.prefix.clone(),
        };
        let store = RedisStore::connect(config).map_err(|error| chain(&error))?;
        store.check().await.map_err(|error| chain(&error))
    };
    let fix = "start Redis, or name another with store.url; `sandfleet run` needs none";
    vec![finding("store", &shown, timeout(DEADLINE, reach).await.ok(), fix)]
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

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(&format!(": {inner}"));
        cause = inner.source();
    }
    text
}
