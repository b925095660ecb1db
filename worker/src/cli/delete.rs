//! `sandfleet delete`: ends the keeping of jobs before its time.

use std::process::ExitCode;

use clap::Args;
use sandfleet_common::{JobId, validate_tenant};
use sandfleet_transport::records::{Deletion, RedisStore};

use super::{
    exit::{Exit, Failure},
    terminal,
};
use crate::{app, config::Settings};

/// Which jobs: exactly one of these.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub(super) struct Arguments {
    /// The jobs' ids
    #[arg(value_name = "JOB_ID")]
    job_ids: Vec<JobId>,
    /// All jobs of this tenant that are kept
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
}

pub(super) async fn run(arguments: Arguments, settings: &Settings) -> Result<ExitCode, Failure> {
    let Arguments { mut job_ids, tenant } = arguments;
    let store = RedisStore::connect(app::redis_config(settings))?;
    let unavailable = |error| Exit::Unavailable.because(error);
    if let Some(tenant) = &tenant {
        validate_tenant(tenant).map_err(|why| Exit::Usage.with(format!("--tenant: {why}")))?;
        job_ids = store.jobs_of(tenant).await.map_err(unavailable)?;
        if job_ids.is_empty() {
            terminal::print_line(format_args!("nothing is kept of tenant {tenant}"))?;
        }
    }
    let mut exit = Exit::Success;
    let mut withdrawn = 0_u64;
    for id in &job_ids {
        let line = match store.delete(id).await.map_err(unavailable)? {
            Deletion::Deleted => "result, record and output are deleted",
            Deletion::Withdrawn => {
                withdrawn += 1;
                "deleted while it waited: it is not started any more, and has no result"
            }
            Deletion::Running => {
                exit = Exit::UnknownJob;
                "runs, and is left as it is; cancel it, and delete it once it has ended"
            }
            Deletion::Unknown => {
                exit = Exit::UnknownJob;
                "unknown, or nothing is kept of it any more"
            }
        };
        terminal::print_line(format_args!("{id}: {line}"))?;
    }
    if withdrawn > 0 {
        terminal::say(format_args!(
            "{withdrawn} of their messages are still in queues, code and input included, until a worker takes them"
        ));
    }
    if !job_ids.is_empty() {
        terminal::say(
            "not ended by this: Redis' append-only file and dumps (BGREWRITEAOF), messages in queues and in the queue of \
             unreadable messages, logs, history, audit and usage; see docs/access.md, Deletion",
        );
    }
    Ok(exit.into())
}
