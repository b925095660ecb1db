//! `sandfleet usage`: what tenants used in a day.

use std::{collections::BTreeMap, process::ExitCode};

use clap::Args;
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use sandfleet_transport::records::{RedisStore, Resource, TenantUsage};
use serde::Serialize;

use super::{
    exit::{Exit, Failure},
    terminal,
};
use crate::{app, config::Settings, config::budget_unit};

#[derive(Args)]
pub(super) struct Arguments {
    /// Only of this tenant
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// Of this day in UTC, such as 2026-11-29 [default: today]
    #[arg(long, value_name = "DATE")]
    day: Option<Date>,
    /// Print them as JSON, one array
    #[arg(long)]
    json: bool,
}

/// A line of the answer.
#[derive(Serialize)]
struct Row {
    day: String,
    tenant: String,
    jobs: u64,
    cpu_seconds: f64,
    bytes: u64,
    /// What its budget is, where this process's settings name one.
    budget: BTreeMap<&'static str, u64>,
}

pub(super) async fn run(arguments: Arguments, settings: &Settings) -> Result<ExitCode, Failure> {
    let today = || Timestamp::now().to_zoned(TimeZone::UTC).date();
    let day = arguments.day.unwrap_or_else(today);
    let store = RedisStore::connect(app::redis_config(settings))?;
    let used = store.usage(day).await.map_err(|error| Exit::Unavailable.because(error))?;
    let asked = |account: &String| arguments.tenant.as_ref().is_none_or(|name| name == account);
    let rows: Vec<Row> = used
        .into_iter()
        .filter(|(account, _)| asked(account))
        .map(|(tenant, TenantUsage { cpu_ms, jobs, bytes })| Row {
            day: day.to_string(),
            jobs,
            cpu_seconds: cpu_ms as f64 / 1000.0,
            bytes,
            budget: budget(settings, &tenant),
            tenant,
        })
        .collect();
    if arguments.json {
        terminal::print(&(terminal::bounded_json(&rows, false)? + "\n"))?;
    } else {
        terminal::print_line(format_args!(
            "{:<24} {:>10} {:>14} {:>16}  budget of {day}",
            "tenant", "jobs", "CPU seconds", "bytes"
        ))?;
        for Row { tenant, jobs, cpu_seconds, bytes, budget, .. } in &rows {
            let budget: Vec<_> =
                budget.iter().map(|(name, most)| format!("{name}={most}")).collect();
            let budget = budget.join(" ");
            terminal::print_line(format_args!(
                "{tenant:<24} {jobs:>10} {cpu_seconds:>14.3} {bytes:>16}  {budget}"
            ))?;
        }
    }
    Ok(Exit::Success.into())
}

fn budget(settings: &Settings, account: &str) -> BTreeMap<&'static str, u64> {
    let named = |(resource, most): (Resource, u64)| {
        let (name, size) = budget_unit(resource);
        (name, most / size)
    };
    settings.jobs.budgets.of(account).into_iter().map(named).collect()
}
