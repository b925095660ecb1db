//! `sandfleet bench`: how fast a fleet is, seen from a producer.
//!
//! Open loop: jobs are handed over at the times that the rate says, whether or not earlier ones are
//! done, and latency counts from that time. A generator that waits for a slow fleet before it asks
//! again would leave out exactly the moments when all jobs wait.

use std::{collections::BTreeMap, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use clap::Args;
use sandfleet_common::{Job, JobId, PrintableText};
use sandfleet_sdk::Client;
use serde::Serialize;
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{
    exit::{Exit, Failure},
    fleet::{check_language, connect},
    input::Bound,
    job::JobArguments,
    quantity,
    submit::PriorityChoice,
    terminal,
};
use crate::{cli::latency::Latencies, config::Settings};

/// These results are read once, and the store is shared.
const RESULT_TTL_MS: u64 = 600_000;
/// Different errors that are told apart; an outage makes one, with many wordings at worst.
const ERROR_KINDS: usize = 20;

#[derive(Args)]
pub(super) struct Arguments {
    /// The program that every job runs, - for stdin [default: print(1 + 1) in Python]
    #[arg(value_name = "SCRIPT|-")]
    script: Option<PathBuf>,

    #[command(flatten)]
    job: JobArguments,

    /// How many jobs are handed over
    #[arg(long, value_name = "N", default_value_t = 1000,
          value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    jobs: u64,

    /// How many a second, evenly spaced
    #[arg(long, value_name = "R", default_value_t = 10.0, value_parser = rate)]
    rate: f64,

    /// How many jobs may be open at a time; latency is measured from the scheduled send time
    #[arg(long, value_name = "N", default_value_t = 10_000,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    concurrency: u32,

    /// Which queue the jobs wait in
    #[arg(long, value_name = "NAME", default_value = "interactive")]
    priority: PriorityChoice,

    /// How long a result is waited for from its job's turn, such as 90s; without a unit in seconds
    #[arg(long, value_name = "DURATION", default_value = "600", value_parser = quantity::seconds)]
    timeout: Duration,

    /// Print the figures as one JSON object
    #[arg(long)]
    json: bool,
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.001..=1_000_000.0).contains(&rate) => Ok(rate),
        _ => Err("use a number of jobs a second from 0.001 to 1000000".into()),
    }
}

/// What became of a job.
struct Ended {
    /// From when its turn was until its result was seen.
    latency: Duration,
    /// From its submission on.
    service: Duration,
    /// The result's status, or what went wrong.
    outcome: Result<&'static str, PrintableText>,
    at: Instant,
}

/// What is printed.
#[derive(Debug, Serialize)]
struct Figures {
    jobs: u64,
    /// Jobs a second as they were to be handed over.
    rate: f64,
    /// Results a second, from the first job's turn to the last result.
    throughput: f64,
    seconds: f64,
    /// Results by status.
    statuses: BTreeMap<&'static str, u64>,
    /// Jobs without a result, by what went wrong.
    errors: BTreeMap<PrintableText, u64>,
    /// From the turn of a job.
    latency_ms: Percentiles,
    /// From the submission of a job: without the waiting for `--concurrency`.
    service_ms: Percentiles,
}

#[derive(Debug, Default, PartialEq, Serialize)]
struct Percentiles {
    p50: f64,
    p90: f64,
    p99: f64,
    #[serde(rename = "p99.9")]
    p99_9: f64,
    max: f64,
}

pub(super) async fn run(arguments: Arguments, settings: &Settings) -> Result<ExitCode, Failure> {
    let bound = Bound::Message(settings.jobs.max_bytes);
    let mut job = match &arguments.script {
        Some(script) => arguments.job.build(script, false, &settings.catalogue, bound)?,
        None => arguments.job.build_text("python", "print(1 + 1)", bound)?,
    };
    job.result_ttl_ms = Some(RESULT_TTL_MS);
    job.priority = arguments.priority.into();
    let client = connect(settings).await?;
    check_language(&client, &job.language, settings).await?;
    // The connections are there before the first turn.
    client.workers().await?;
    let figures = generate(client, &job, &arguments).await;
    if arguments.json {
        terminal::print(&(terminal::bounded_json(&figures, false)? + "\n"))?;
    } else {
        terminal::print(&terminal::lines(&figures.text()))?;
    }
    Ok(if figures.errors.is_empty() { Exit::Success } else { Exit::Unavailable }.into())
}

async fn generate(client: Client, job: &Job, arguments: &Arguments) -> Figures {
    let room = Arc::new(Semaphore::new(arguments.concurrency as usize));
    let timeout = arguments.timeout;
    let mut open = JoinSet::new();
    let mut ended = Vec::with_capacity(arguments.jobs as usize);
    let began = Instant::now();
    for number in 0..arguments.jobs {
        let turn = began + Duration::from_secs_f64(number as f64 / arguments.rate);
        sleep_until(turn).await;
        let (client, room) = (client.clone(), Arc::clone(&room));
        let job = Job { job_id: JobId::generate(), ..job.clone() };
        open.spawn(async move { visit(&client, &job, &room, turn, timeout).await });
        while let Some(one) = open.try_join_next() {
            ended.push(one);
        }
    }
    while let Some(one) = open.join_next().await {
        ended.push(one);
    }
    let ended = ended.into_iter().map(|one| {
        one.unwrap_or_else(|error| Ended {
            latency: Duration::ZERO,
            service: Duration::ZERO,
            outcome: Err(PrintableText::new(error)),
            at: Instant::now(),
        })
    });
    Figures::of(arguments.rate, began, ended.collect())
}

/// One job, from its turn to its result.
async fn visit(
    client: &Client,
    job: &Job,
    room: &Semaphore,
    turn: Instant,
    timeout: Duration,
) -> Ended {
    // It is never closed.
    let _room = room.acquire().await;
    let submitted = Instant::now();
    let outcome = async {
        let id = client.submit(job).await?;
        let left = timeout.saturating_sub(turn.elapsed());
        client.wait(&id, left).await
    };
    let outcome = match outcome.await {
        Ok(result) => Ok(result.status.as_str()),
        // The id would make each of them another error.
        Err(error) => Err(error.to_string().replace(job.job_id.as_str(), "…").into()),
    };
    let at = Instant::now();
    Ended { latency: at - turn, service: at - submitted, outcome, at }
}

impl Figures {
    fn of(rate: f64, began: Instant, ended: Vec<Ended>) -> Self {
        let (mut statuses, mut errors) = (BTreeMap::new(), BTreeMap::new());
        let (mut latencies, mut services) = (Vec::new(), Vec::new());
        let mut last = began;
        let jobs = ended.len() as u64;
        for one in ended {
            match one.outcome {
                Ok(status) => {
                    *statuses.entry(status).or_default() += 1;
                    latencies.push(one.latency);
                    services.push(one.service);
                    last = last.max(one.at);
                }
                Err(error) => {
                    let is_known = errors.contains_key(&error) || errors.len() < ERROR_KINDS;
                    let name = if is_known { error } else { "other errors".into() };
                    *errors.entry(name).or_default() += 1;
                }
            }
        }
        let seconds = (last - began).as_secs_f64();
        let throughput = if seconds > 0.0 { latencies.len() as f64 / seconds } else { 0.0 };
        Self {
            jobs,
            rate,
            throughput,
            seconds,
            statuses,
            errors,
            latency_ms: Percentiles::of(latencies),
            service_ms: Percentiles::of(services),
        }
    }

    fn text(&self) -> String {
        let count = |(what, count): (&dyn std::fmt::Display, &u64)| format!("{count} {what}");
        let statuses: Vec<_> = self.statuses.iter().map(|(s, n)| count((s, n))).collect();
        let mut text = format!(
            "{} jobs at {} a second: {}\n{:.1} results a second over {:.1} s\n\n",
            self.jobs,
            self.rate,
            if statuses.is_empty() { "no result".into() } else { statuses.join(", ") },
            self.throughput,
            self.seconds
        );
        text += "ms                         p50       p90       p99     p99.9       max\n";
        text += &self.latency_ms.line("from the job's turn");
        text += &self.service_ms.line("from its submission");
        for (error, count) in &self.errors {
            text += &format!("\n{count} without a result: {error}\n");
        }
        text
    }
}

impl Percentiles {
    fn of(durations: Vec<Duration>) -> Self {
        let latencies = Latencies::from(durations);
        let ms = |one: Option<Duration>| one.map_or(0.0, |one| one.as_secs_f64() * 1000.0);
        let at = |share| ms(latencies.at(share));
        Self {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            max: ms(latencies.max()),
        }
    }

    fn line(&self, name: &str) -> String {
        let Self { p50, p90, p99, p99_9, max } = self;
        format!("{name:20}{p50:>10.1}{p90:>10.1}{p99:>10.1}{p99_9:>10.1}{max:>10.1}\n")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sandfleet_common::is_printable;

    use super::*;

    fn ended(began: Instant, ms: u64, outcome: Result<&'static str, PrintableText>) -> Ended {
        let latency = Duration::from_millis(ms);
        Ended { latency, service: latency / 2, outcome, at: began + latency }
    }

    #[test]
    fn what_has_no_result_is_counted_and_not_timed() {
        let began = Instant::now();
        let all = vec![
            ended(began, 100, Ok("succeeded")),
            ended(began, 2000, Ok("failed")),
            ended(began, 9000, Err("no broker".into())),
        ];
        let figures = Figures::of(5.0, began, all);
        assert_eq!((figures.jobs, figures.throughput), (3, 1.0));
        assert_eq!(figures.statuses, [("failed", 1), ("succeeded", 1)].into());
        assert_eq!(figures.errors, [("no broker".into(), 1)].into());
        assert_eq!((figures.latency_ms.p50, figures.latency_ms.max), (100.0, 2000.0));
        assert_eq!(figures.service_ms.max, 1000.0);
        let text = figures.text();
        assert!(text.contains("1 failed, 1 succeeded") && text.contains("no broker"), "{text}");
    }

    #[test]
    fn errors_of_many_kinds_stay_few() {
        let began = Instant::now();
        let all = (0..100).map(|n| ended(began, 1, Err(format!("error {n}").into()))).collect();
        let figures = Figures::of(1.0, began, all);
        assert_eq!(figures.errors.len(), ERROR_KINDS + 1);
        assert_eq!(figures.errors[&"other errors".into()], 80);
        assert_eq!(figures.latency_ms, Percentiles::default());
    }
    proptest! {
        #[test]
        fn errors_show_nothing_that_a_terminal_obeys(text in any::<String>()) {
            let hostile = format!("\u{1b}[2J\n\u{9b}\u{202e}{text}{}", "x".repeat(10_000));
            let began = Instant::now();
            let figures = Figures::of(1.0, began, vec![ended(began, 1, Err(hostile.into()))]);
            let shown = terminal::lines(&figures.text());
            prop_assert!(shown.chars().all(|c| is_printable(c) || c == '\n'), "{:?}", shown);
            prop_assert_eq!(shown.lines().count(), 8, "{}", shown);
            let json = terminal::bounded_json(&figures, false).expect("JSON");
            prop_assert!(json.chars().all(is_printable) && json.len() < 3_000);
        }
    }
}
