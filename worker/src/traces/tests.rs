//! Spans whose collector misbehaves: nothing waits for it, and what is lost is counted.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use sandfleet_transport::{MessageTrace, Tls};
use tokio::{io::AsyncWriteExt, net::TcpListener};

use super::*;
use crate::{
    hooks::{Hooks, Observer},
    labels::{SpanEnd, Stage},
};

#[derive(Default)]
struct Counts([AtomicU64; 3]);

impl Counts {
    fn of(&self, end: SpanEnd) -> u64 {
        self.0[end as usize].load(Ordering::Relaxed)
    }
}

impl Hooks for Counts {
    fn spans(&self, end: SpanEnd, count: u64) {
        self.0[end as usize].fetch_add(count, Ordering::Relaxed);
    }
}

fn start(endpoint: &str) -> (Tracer, Exporter, Arc<Counts>) {
    let counts = Arc::new(Counts::default());
    let config = ExporterConfig {
        collector: Collector::new(endpoint, &[], Tls::default()).expect("an address"),
        resource: Vec::new(),
        ratio: 1.0,
        parent: None,
    };
    let observer = Observer(Arc::clone(&counts) as Arc<dyn Hooks>);
    let (tracer, exporter) = Exporter::start(config, observer);
    (tracer, exporter, counts)
}

/// So many jobs with four spans each; how long that took.
fn jobs(tracer: &Tracer, count: u32) -> Duration {
    let begun = Instant::now();
    for number in 0..count {
        let timeline = tracer.follow(&MessageTrace::default());
        timeline.identify(&format!("job-{number}").parse().expect("an id"));
        timeline.called("claim", begun);
        timeline.ran(begun, &[(Stage::Run, Some(Duration::from_millis(1)))], Vec::new());
        timeline.end(begun);
    }
    begun.elapsed()
}

/// What is lost is counted, whatever the collector at `endpoint` does, and neither jobs nor the end wait for it.
async fn is_in_nobodys_way(endpoint: &str) {
    const JOBS: u32 = 3000;
    let (tracer, exporter, counts) = start(endpoint);
    let took = jobs(&tracer, JOBS);
    assert!(took < Duration::from_secs(2), "{took:?}");
    tokio::time::sleep(Duration::from_millis(1200)).await;
    let dropped = counts.of(SpanEnd::Dropped);
    assert!(dropped > 4 * 1000, "{dropped} are counted while it runs");
    let begun = Instant::now();
    exporter.finish().await;
    assert!(begun.elapsed() < Duration::from_millis(2500), "{:?}", begun.elapsed());
    let lost = counts.of(SpanEnd::Dropped) + counts.of(SpanEnd::Rejected);
    assert_eq!((lost, counts.of(SpanEnd::Exported)), (u64::from(4 * JOBS), 0));
    // After the end nothing accumulates.
    jobs(&tracer, 1);
}

#[tokio::test]
async fn a_collector_that_is_away_is_in_nobodys_way() {
    let free = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = free.local_addr().expect("it is bound");
    drop(free);
    is_in_nobodys_way(&format!("http://{address}")).await;
}

#[tokio::test]
async fn a_collector_that_never_answers_is_in_nobodys_way() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("it is bound");
    let silent = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    is_in_nobodys_way(&format!("http://{address}/v1/traces")).await;
    silent.abort();
}

#[tokio::test]
async fn a_collector_that_fails_is_in_nobodys_way() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("it is bound");
    let failing = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = b"HTTP/1.1 500 -\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            let _ = stream.write_all(answer).await;
        }
    });
    is_in_nobodys_way(&format!("http://{address}")).await;
    failing.abort();
}

#[tokio::test]
async fn without_an_endpoint_nothing_is_kept() {
    let tracer = Tracer::default();
    let timeline = tracer.follow(&MessageTrace::default());
    assert_eq!(timeline.identify(&"job".parse().expect("an id")), None);
    timeline.end(Instant::now());
    assert_eq!(std::mem::size_of_val(&timeline), std::mem::size_of::<usize>());
    let (_, context) = tracer.submission(None);
    assert_eq!(context, None);
}

#[test]
fn an_endpoint_may_name_its_path_and_a_header_hides_its_value() {
    let headers = [("authorization".to_owned(), "Bearer SECRET".to_owned())];
    let collector = Collector::new("https://h/otlp?x=1", &headers, Tls::default()).expect("sound");
    let shown = format!("{collector:?}");
    assert!(shown.contains("/otlp?x=1") && shown.contains("443"), "{shown}");
    assert!(!shown.contains("SECRET"), "{shown}");
    let collector = Collector::new("http://[::1]:4318", &[], Tls::default()).expect("sound");
    assert!(format!("{collector:?}").contains("\"/v1/traces\""), "{collector:?}");
}
