//! The endpoint as its callers see it, over real connections.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use futures_util::future::join_all;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot::{self, Sender},
    task::JoinHandle,
    time::{Duration, Instant, sleep, timeout},
};

use super::*;
use crate::services::readiness::Component;

struct Running {
    address: SocketAddr,
    stop: Sender<()>,
    server: JoinHandle<()>,
}

async fn start(components: Vec<Component>) -> Running {
    start_with(components, None).await
}

async fn start_with(components: Vec<Component>, token: Option<Token>) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let metrics = Arc::new(Metrics::new(1, ["python"], 0).unwrap());
    let (stop, stopped) = oneshot::channel();
    let stopped = async { stopped.await.unwrap_or(()) };
    let rules = Rules::default();
    let readiness = Arc::new(Readiness::serving(components, Arc::clone(&metrics)));
    let server = tokio::spawn(serve(listener, metrics, readiness, token, rules, stopped));
    Running { address, stop, server }
}

/// The status, the head and the body of the answer.
async fn get(address: SocketAddr, path: &str) -> (u16, String, String) {
    get_with(address, path, "").await
}

async fn get_with(address: SocketAddr, path: &str, header: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n{header}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), head.to_lowercase(), body.to_owned())
}

#[tokio::test]
async fn readiness_names_each_component_and_its_reason() {
    let broken = Component::new("broker", || async { Err("connection refused".into()) });
    let works = Component::new("store", || async { Ok(None) });
    let limps = Component::new("sandbox", || async { Ok(Some("slow today".into())) });
    let running = start(vec![broken, works, limps]).await;

    let (status, head, body) = get(running.address, "/readyz").await;
    assert_eq!(status, 503);
    assert!(head.contains("content-type: application/json"), "{head}");
    let expected = json!({ "ready": false, "components": {
        "broker": { "ok": false, "reason": "connection refused" },
        "store": { "ok": true },
        "sandbox": { "ok": true, "note": "slow today" },
    }});
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), expected);
    assert_eq!(get(running.address, "/livez").await.0, 200, "alive all the same");
}

#[tokio::test]
async fn with_a_token_only_who_sends_it_sees_metrics_and_reasons() {
    let path = std::env::temp_dir().join(format!("sandfleet-token-{}", std::process::id()));
    fs::write(&path, "short").unwrap();
    assert!(Token::read(&path).err().unwrap().contains("less than 16 characters"));
    fs::write(&path, "0123456789abcdef\n").unwrap();
    let token = Token::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    assert!(Token::read(&path).err().unwrap().contains("cannot be read"));

    let broken = Component::new("broker", || async { Err("secret.example refused".into()) });
    let running = start_with(vec![broken], Some(token)).await;
    let right = "Authorization: Bearer 0123456789abcdef\r\n";
    for wrong in ["", "Authorization: Bearer 0123456789abcdeF\r\n", "Authorization: Basic x\r\n"] {
        let (status, head, body) = get_with(running.address, "/metrics", wrong).await;
        assert_eq!(status, 401, "{wrong:?}");
        assert!(head.contains("www-authenticate: bearer"), "{head}");
        assert!(!body.contains("sandfleet_"), "{body}");
        let (status, _, body) = get_with(running.address, "/readyz", wrong).await;
        assert_eq!((status, body.as_str()), (503, "{\"ready\":false}\n"));
        assert_eq!(get_with(running.address, "/livez", wrong).await.0, 200);
    }
    assert_eq!(get_with(running.address, "/metrics", right).await.0, 200);
    let (_, _, body) = get_with(running.address, "/readyz", right).await;
    assert!(body.contains("secret.example"), "{body}");
}

#[tokio::test]
async fn readiness_follows_the_component_after_a_second_at_the_latest() {
    let works = Arc::new(AtomicBool::new(true));
    let answer = works.clone();
    let broker = Component::new("broker", move || {
        let works = answer.load(Ordering::SeqCst);
        async move { if works { Ok(None) } else { Err("gone".into()) } }
    });
    let running = start(vec![broker]).await;
    assert_eq!(get(running.address, "/readyz").await.0, 200);
    works.store(false, Ordering::SeqCst);
    let since = Instant::now();
    while get(running.address, "/readyz").await.0 == 200 {
        assert!(since.elapsed() < Duration::from_secs(3), "still ready");
        tokio::task::yield_now().await;
    }
    assert_eq!(get(running.address, "/readyz").await.0, 503);
}

#[tokio::test]
async fn metrics_say_which_component_is_ready() {
    let broken = Component::new("broker", || async { Err("away".into()) });
    let works = Component::new("store", || async { Ok(None) });
    let running = start(vec![broken, works]).await;
    let (status, head, body) = get(running.address, "/metrics").await;
    assert_eq!(status, 200);
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    assert!(body.contains("sandfleet_component_up{component=\"broker\"} 0\n"), "{body}");
    assert!(body.contains("sandfleet_component_up{component=\"store\"} 1\n"), "{body}");
}

#[tokio::test]
async fn a_hundred_askers_cause_one_check() {
    let checks = Arc::new(AtomicUsize::new(0));
    let counter = checks.clone();
    let component = Component::new("store", move || {
        counter.fetch_add(1, Ordering::SeqCst);
        // Long enough for all to ask before it ends.
        async {
            sleep(Duration::from_millis(300)).await;
            Ok(None)
        }
    });
    let running = start(vec![component]).await;
    let askers =
        (0..100).map(|n| get(running.address, if n % 2 == 0 { "/readyz" } else { "/metrics" }));
    let answers = join_all(askers).await;
    assert!(answers.iter().all(|(status, ..)| *status == 200));
    assert_eq!(checks.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn silent_components_are_waited_for_together_and_only_for_the_deadline() {
    let silent = |name| Component::new(name, std::future::pending);
    let running = start(vec![silent("broker"), silent("store"), silent("sandbox")]).await;
    let since = Instant::now();
    let (status, _, body) = get(running.address, "/readyz").await;
    assert_eq!(status, 503);
    assert!(since.elapsed() < Duration::from_secs(4), "took {:?}", since.elapsed());
    assert_eq!(body.matches("no answer within 2 s").count(), 3, "{body}");
}

#[tokio::test]
async fn there_is_nothing_else() {
    let running = start(Vec::new()).await;
    for path in ["/", "/readyz/", "/debug/pprof", "/metrics/x"] {
        let (status, _, body) = get(running.address, path).await;
        assert_eq!((status, body.as_str()), (404, "try /metrics, /livez or /readyz\n"));
    }
}

#[tokio::test]
async fn stopping_answers_those_who_have_asked() {
    let (asked, was_asked) = oneshot::channel();
    let asked = std::sync::Mutex::new(Some(asked));
    let component = Component::new("store", move || {
        asked.lock().unwrap().take().unwrap().send(()).unwrap();
        async {
            sleep(Duration::from_millis(200)).await;
            Ok(None)
        }
    });
    let running = start(vec![component]).await;
    let answer = tokio::spawn(get(running.address, "/readyz"));
    was_asked.await.unwrap();
    running.stop.send(()).unwrap();
    assert_eq!(answer.await.unwrap().0, 200);
    running.server.await.unwrap();
    assert!(TcpStream::connect(running.address).await.is_err(), "still listening");
}

#[tokio::test]
async fn a_client_that_never_finishes_cannot_hold_up_the_stop() {
    let running = start(Vec::new()).await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(b"GET /livez HTTP/1.1\r\n").await.unwrap();
    // The answer shows that the unfinished request before it has been taken on.
    assert_eq!(get(running.address, "/livez").await.0, 200);
    running.stop.send(()).unwrap();
    timeout(Duration::from_secs(6), running.server).await.expect("ended").unwrap();
}
