//! What the store says of the fleet and of itself.

use std::{collections::BTreeMap, time::Duration};

use sandfleet_common::WorkerInfo;
use sandfleet_transport::{
    Error, StoreError,
    records::{RedisConfig, RedisStore},
};

use crate::{app, causes::in_one_line, config::Settings, metrics::StoreReport};

/// How long the store may take to answer.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Asks the store.
pub(super) struct StorePoll {
    store: RedisStore,
}

/// What it said.
pub(super) struct Stored {
    pub(super) workers: Vec<WorkerInfo>,
    /// Of each queue, when the last job that was taken from it had been submitted.
    pub(super) taken: BTreeMap<String, i64>,
    pub(super) report: StoreReport,
    pub(super) version: Option<String>,
}

impl StorePoll {
    pub(super) fn new(settings: &Settings) -> Result<Self, Error> {
        let config = RedisConfig { timeout: TIMEOUT, ..app::redis_config(settings) };
        Ok(Self { store: RedisStore::connect(config)? })
    }

    pub(super) async fn poll(&self) -> Result<Stored, String> {
        self.ask().await.map_err(|error| in_one_line(&error))
    }

    async fn ask(&self) -> Result<Stored, StoreError> {
        let info = self.store.info().await?;
        let version = info.lines().find_map(|line| line.strip_prefix("redis_version:"));
        Ok(Stored {
            workers: self.store.workers().await?,
            taken: self.store.taken().await?,
            report: StoreReport::of(&info),
            version: version.map(|version| version.trim().to_owned()),
        })
    }
}
