//! The HTTP endpoint for operators: metrics, liveness, readiness.

use std::{
    fs,
    future::Future,
    io,
    path::Path,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::State,
    http::{
        HeaderMap, StatusCode,
        header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE},
    },
    response::{IntoResponse, Response},
    routing::get,
};
use futures_util::future::join_all;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::{
    net::TcpListener,
    sync::{Mutex, oneshot},
    time::{sleep, timeout},
};

use crate::metrics::Metrics;

/// How long a component may take to say how it is.
const CHECK_DEADLINE: Duration = Duration::from_secs(2);

/// How long an answer holds, so that scrapers can't hammer the services behind it.
const CACHE_TIME: Duration = Duration::from_secs(1);

/// How long connections may go on when the endpoint stops; longer than the longest check.
const DRAIN_TIME: Duration = Duration::from_secs(3);

/// Something that the worker can't do without.
pub struct Component {
    name: &'static str,
    check: Box<dyn Fn() -> CheckFuture + Send + Sync>,
}

/// That a component works, and what to know all the same; or in one sentence why it doesn't.
type Answer = Result<Option<String>, String>;

type CheckFuture = Pin<Box<dyn Future<Output = Answer> + Send>>;

impl Component {
    /// The component called `name` works when `check` says so, perhaps with a note; its error is
    /// one sentence. A check without an answer within 2 s counts as failed.
    pub fn new<F>(name: &'static str, check: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        Self { name, check: Box::new(move || Box::pin(check())) }
    }

    async fn check(&self) -> Answer {
        timeout(CHECK_DEADLINE, (self.check)())
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {} s", CHECK_DEADLINE.as_secs())))
    }
}

/// What those send who may see everything.
pub struct Token {
    /// Of the token: comparing hashes tells nobody by its time how much of a guess was right.
    hash: [u8; 32],
}

impl Token {
    /// The token that `file` holds.
    ///
    /// # Errors
    /// One sentence that names the file.
    pub fn read(file: &Path) -> Result<Self, String> {
        let refuse = |reason: &str| {
            format!("admin.token_file {}: {reason}; put a token on one line", file.display())
        };
        let text = fs::read_to_string(file)
            .map_err(|error| refuse(&format!("cannot be read: {error}")))?;
        match text.trim() {
            short if short.len() < 16 => Err(refuse("holds less than 16 characters")),
            token if token.contains(|c: char| !c.is_ascii_graphic()) => {
                Err(refuse("holds more than plain characters"))
            }
            token => Ok(Self { hash: Sha256::digest(token).into() }),
        }
    }

    fn is_sent(&self, headers: &HeaderMap) -> bool {
        let sent = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = sent.and_then(|value| value.strip_prefix("Bearer "));
        token.is_some_and(|token| <[u8; 32]>::from(Sha256::digest(token.trim())) == self.hash)
    }
}

/// Answers `/metrics`, `/livez` and `/readyz` on `listener` until `stop` is done, and then for at
/// most 3 s those who have asked already. With a token, metrics and the reasons why something
/// isn't ready are only for those who send it.
///
/// # Errors
/// If the listener fails.
pub async fn serve(
    listener: TcpListener,
    metrics: Arc<Metrics>,
    components: Vec<Component>,
    token: Option<Token>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let endpoint = Arc::new(Endpoint { metrics, components, token, last: Mutex::new(None) });
    let router = Router::new()
        .route("/metrics", get(metrics_page))
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(readiness_page))
        .fallback(|| async { (StatusCode::NOT_FOUND, "try /metrics, /livez or /readyz\n") })
        .with_state(endpoint);

    let (stopping, stopped) = oneshot::channel();
    let server = axum::serve(listener, router).with_graceful_shutdown(async move {
        stop.await;
        let _ = stopping.send(());
    });
    // A client that never finishes its request must not keep the worker from ending.
    let drained = async {
        let _ = stopped.await;
        sleep(DRAIN_TIME).await;
    };
    tokio::select! {
        ended = server => ended,
        () = drained => Ok(()),
    }
}

struct Endpoint {
    metrics: Arc<Metrics>,
    components: Vec<Component>,
    token: Option<Token>,
    last: Mutex<Option<(Instant, Readiness)>>,
}

/// What each component said.
type Readiness = Arc<[(&'static str, Answer)]>;

impl Endpoint {
    fn admits(&self, headers: &HeaderMap) -> bool {
        self.token.as_ref().is_none_or(|token| token.is_sent(headers))
    }

    async fn readiness(&self) -> Readiness {
        // Held over the checks: whoever asks meanwhile waits for these instead of starting more.
        let mut last = self.last.lock().await;
        if let Some((when, readiness)) = &*last
            && when.elapsed() < CACHE_TIME
        {
            return readiness.clone();
        }
        let answers = join_all(self.components.iter().map(Component::check)).await;
        let names = self.components.iter().map(|component| component.name);
        let readiness: Readiness = names.zip(answers).collect();
        for (name, answer) in readiness.iter() {
            self.metrics.set_ready(name, answer.is_ok());
        }
        *last = Some((Instant::now(), readiness.clone()));
        readiness
    }
}

async fn metrics_page(State(endpoint): State<Arc<Endpoint>>, headers: HeaderMap) -> Response {
    if !endpoint.admits(&headers) {
        let refusal = "send the token in admin.token_file: Authorization: Bearer TOKEN\n";
        return (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer")], refusal).into_response();
    }
    // For the gauges of the components.
    endpoint.readiness().await;
    match endpoint.metrics.render() {
        Ok(text) => ([(CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn readiness_page(State(endpoint): State<Arc<Endpoint>>, headers: HeaderMap) -> Response {
    let readiness = endpoint.readiness().await;
    let ready = readiness.iter().all(|(_, answer)| answer.is_ok());
    let components: serde_json::Map<_, _> = readiness
        .iter()
        .map(|(name, answer)| {
            let said = match answer {
                Ok(None) => json!({ "ok": true }),
                Ok(Some(note)) => json!({ "ok": true, "note": note }),
                Err(reason) => json!({ "ok": false, "reason": reason }),
            };
            (name.to_string(), said)
        })
        .collect();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = match endpoint.admits(&headers) {
        true => json!({ "ready": ready, "components": components }),
        // Enough for whoever restarts workers; the reasons name addresses.
        false => json!({ "ready": ready }),
    };
    (status, [(CONTENT_TYPE, "application/json")], format!("{body}\n")).into_response()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that panics has failed")]
mod tests {
    use std::{
        net::SocketAddr,
        sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    };

    use serde_json::Value;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
        sync::oneshot::Sender,
        task::JoinHandle,
    };

    use super::*;

    struct Running {
        address: SocketAddr,
        stop: Sender<()>,
        server: JoinHandle<io::Result<()>>,
    }

    async fn start(components: Vec<Component>) -> Running {
        start_with(components, None).await
    }

    async fn start_with(components: Vec<Component>, token: Option<Token>) -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let metrics = Arc::new(Metrics::new(1, ["python"]).unwrap());
        let (stop, stopped) = oneshot::channel();
        let stopped = async { stopped.await.unwrap_or(()) };
        let server = tokio::spawn(serve(listener, metrics, components, token, stopped));
        Running { address, stop, server }
    }

    /// The status, the head and the body of the answer.
    async fn get(address: SocketAddr, path: &str) -> (u16, String, String) {
        get_with(address, path, "").await
    }

    async fn get_with(address: SocketAddr, path: &str, header: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: x\r\n{header}Connection: close\r\n\r\n");
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
        for wrong in
            ["", "Authorization: Bearer 0123456789abcdeF\r\n", "Authorization: Basic x\r\n"]
        {
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
        assert!(body.contains("sandfleet_component_ready{component=\"broker\"} 0\n"), "{body}");
        assert!(body.contains("sandfleet_component_ready{component=\"store\"} 1\n"), "{body}");
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
        running.server.await.unwrap().unwrap();
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
        timeout(Duration::from_secs(6), running.server).await.expect("ended").unwrap().unwrap();
    }
}
