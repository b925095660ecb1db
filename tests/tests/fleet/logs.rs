//! The log of a worker on bad days: it is in no job's way.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::AsFd,
    process::Stdio,
    time::Instant,
};

use rustix::{
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    process::Signal,
};
use sandfleet_common::Job;
use sandfleet_tests::{DEADLINE, Installation, Services, eventually, http_get};
use tokio::process::Child;

use crate::{result_of, stdout};

/// A worker whose standard error is `stderr`, and the address of its admin port.
async fn logs_to(installation: &Installation, stderr: Stdio) -> (Child, std::net::SocketAddr) {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = free.local_addr().expect("it is bound");
    drop(free);
    let mut command = installation.command(&["worker"]);
    command.env("SANDFLEET_ADMIN_ADDRESS", address.to_string());
    command.stdout(Stdio::null()).stderr(stderr).process_group(0);
    let worker = command.spawn().expect("the binary is there");
    eventually("a worker that is ready", || async {
        tokio::net::TcpStream::connect(address).await.ok()?;
        (http_get(address, "/readyz").await.0 == 200).then_some(())
    })
    .await;
    (worker, address)
}

async fn serves_and_ends(services: &Services, mut worker: Child) {
    let client = services.client().await;
    for _ in 0..5 {
        let job = Job::new("bash", "echo served");
        client.submit(&job).await.expect("the broker takes it");
        let result = result_of(&client, &job.job_id).await;
        assert_eq!((stdout(&result), result.attempt), ("served\n", 1));
    }
    let pid = worker.id().expect("it runs") as i32;
    let pid = rustix::process::Pid::from_raw(pid).expect("not zero");
    let begun = Instant::now();
    rustix::process::kill_process(pid, Signal::TERM).expect("it runs");
    let ended = tokio::time::timeout(DEADLINE, worker.wait()).await.expect("it ends");
    assert_eq!(ended.expect("our child").code(), Some(0));
    assert!(begun.elapsed().as_secs_f64() < 5.0, "{:?}", begun.elapsed());
}

async fn lost(address: std::net::SocketAddr) -> f64 {
    let (_, page) = http_get(address, "/metrics").await;
    let series = "sandfleet_log_lines_lost_total ";
    page.lines().find_map(|line| line.strip_prefix(series)?.parse().ok()).expect("it is there")
}

#[tokio::test]
async fn a_log_whose_disk_is_full_is_in_no_jobs_way() {
    let services = Services::fresh();
    let installation = Installation::fresh().on(&services).set("WORKER_SLOTS", "1");
    let full = File::options().write(true).open("/dev/full").expect("Linux has it");
    let (worker, address) = logs_to(&installation, full.into()).await;
    eventually("lines that are counted as lost", || async {
        (lost(address).await >= 2.0).then_some(())
    })
    .await;
    serves_and_ends(&services, worker).await;
}

#[tokio::test]
async fn a_log_that_nothing_reads_is_in_no_jobs_way() {
    let services = Services::fresh();
    let installation = Installation::fresh().on(&services).set("WORKER_SLOTS", "1");
    let (reader, mut writer) = io::pipe().expect("a pipe");
    // Full from the start: the first line is never written.
    let flags = fcntl_getfl(writer.as_fd()).expect("its flags");
    fcntl_setfl(writer.as_fd(), flags | OFlags::NONBLOCK).expect("its flags");
    while writer.write(&[b'x'; 4096]).is_ok() {}
    while writer.write(b"x").is_ok() {}
    fcntl_setfl(writer.as_fd(), flags).expect("its flags");
    let (worker, _) = logs_to(&installation, writer.into()).await;
    serves_and_ends(&services, worker).await;
    drop(reader);
}

#[tokio::test]
async fn a_log_is_whole_and_in_order_at_the_end() {
    let services = Services::fresh();
    let installation = Installation::fresh().on(&services).set("LOG_FORMAT", "json");
    let mut worker = installation.worker("only");
    worker.ready().await;
    worker.signal(Signal::TERM);
    assert_eq!(worker.ended().await, 0);
    worker.logs("\"stopped\"").await;
    let log = worker.log();
    let parse = |line: &str| serde_json::from_str::<serde_json::Value>(line);
    let lines: Vec<_> =
        log.lines().map(|line| parse(line).unwrap_or_else(|_| panic!("{line}"))).collect();
    let times: Vec<_> = lines.iter().map(|line| line["timestamp"].to_string()).collect();
    assert!(times.is_sorted() && lines.len() > 3, "{log}");
    assert_eq!(lines.last().expect("a line")["fields"]["message"], "stopped");
}
