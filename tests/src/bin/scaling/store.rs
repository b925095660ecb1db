//! Redis, saturated.
//!
//! At a few jobs a second it wakes up for every command, which costs more than the command, so the
//! cost a job there does not tell how many jobs it carries.

use std::time::Duration;

use anyhow::Result;
use futures_util::future::try_join_all;
use sandfleet_common::{Job, JobId, encode, payload_digest};
use sandfleet_tests::{Services, result};
use sandfleet_transport::records::{Claim, Purpose, RedisStore};
use serde::Serialize;
use tokio::time::Instant;

use crate::store_use::StoreUse;

/// Connections, as of so many workers.
const CONNECTIONS: usize = 8;
/// Jobs at a time on each.
const EACH: usize = 32;
/// With the rest of a result as long as that of a small program.
const MESSAGE_BYTES: usize = 500;
const KEEP: Duration = Duration::from_secs(600);

/// Redis under as much load as this machine makes.
#[derive(Debug, Serialize)]
pub(crate) struct Saturated {
    /// Jobs a second; the clients share the cores with Redis.
    pub(crate) rate: f64,
    /// Of one job, in seconds, commands and bytes.
    pub(crate) store: StoreUse,
}

impl Saturated {
    /// Runs `rounds` of jobs through every command of a job, announcements excepted.
    pub(crate) async fn measure(services: &Services, rounds: usize) -> Result<Self> {
        let mut redis = services.redis().await;
        let stores: Vec<RedisStore> =
            (0..CONNECTIONS).map(|_| services.store(&services.redis_url)).collect();
        try_join_all(stores.iter().map(|store| store.check())).await?;
        let (before, began) = (StoreUse::until_now(&mut redis).await?, Instant::now());
        let each = stores.iter().flat_map(|store| std::iter::repeat_n(store, EACH));
        try_join_all(each.map(|store| visit(store, rounds))).await?;
        let seconds = began.elapsed().as_secs_f64();
        let jobs = CONNECTIONS * EACH * rounds;
        let store = (StoreUse::until_now(&mut redis).await? - before).per(jobs);
        Ok(Self { rate: jobs as f64 / seconds, store })
    }
}

/// One job after the other.
async fn visit(store: &RedisStore, jobs: usize) -> Result<()> {
    for _ in 0..jobs {
        let job = Job::new("python", "print(1+1)");
        store.create(&job, &payload_digest(&encode(&job)), "", None).await?;
        let claim = Claim {
            owner: format!("scaling/{}", JobId::generate()),
            lease: Duration::from_secs(15),
            max_attempts: 3,
            ttl: None,
            queued_at: None,
            exclusive: false,
            payload: payload_digest(&encode(&job)),
            purpose: Purpose::Run,
            scopes: Vec::new(),
            quota: Default::default(),
        };
        store.claim(&job.job_id, &claim).await?;
        store.get(&job.job_id).await?;
        let made = result(&job.job_id, &"x".repeat(MESSAGE_BYTES));
        store.commit(&made, &claim.owner, KEEP).await?;
        store.get(&job.job_id).await?;
    }
    Ok(())
}
