//! HTTP listeners: the rules that every one of them has.
//!
//! A client may send slowly, read slowly, or open connections and say nothing; a web page may make its
//! reader's browser ask (DNS rebinding, requests across origins). None of that may take descriptors or
//! memory without bound, or keep others from an answer. So connections are few: where one more comes, the
//! oldest that isn't being answered goes. But each has 100 ms (`TURN`) to ask before it may have to go, since
//! clients that connect faster than that would otherwise end each other's, and everybody's, before one is
//! answered. Meanwhile the next ones wait in the kernel's queue, first come, first served. As long as one has
//! to go for another, every connection ends with its next answer: a client that sends many requests at once
//! would otherwise keep its connection, and its share of the answers, for all of them.

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that panics has failed")]
mod tests;

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::{Future, pending},
    net::IpAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    http::{
        HeaderMap, HeaderValue, Request, StatusCode, Version,
        header::{CONNECTION, CONTENT_LENGTH, HOST, ORIGIN, TRANSFER_ENCODING},
        uri::Authority,
    },
    response::{IntoResponse, Response},
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{AbortHandle, JoinSet},
    time::{sleep, timeout},
};
use tracing::debug;

/// How long those who have asked already are answered after the stop.
const DRAIN_TIME: Duration = Duration::from_secs(3);
/// The pause after the system refused a connection, for lack of descriptors as a rule.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a new connection is kept from having to make room. Who comes last waits for at most this for
/// each time that the kernel's queue (1024) holds as many as may be open: 0.4 s for 256.
const TURN: Duration = Duration::from_millis(100);
/// How soon it is looked again whether one that was being answered is idle now.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// The longest head of a request, in bytes.
const MAX_HEAD_BYTES: usize = 16 << 10;
const MAX_HEADERS: usize = 64;

/// What a listener allows.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Connections at a time.
    pub connections: usize,
    /// How long a head may take, from the connection's beginning or from the answer before.
    pub head_time: Duration,
    /// How long an answer may take, the reading of the request's body with it.
    pub request_time: Duration,
    /// How long a connection is kept, whatever happens on it.
    pub lifetime: Duration,
    /// Requests on one connection.
    pub requests: u32,
    /// The longest body of a request, in bytes.
    pub body_bytes: u64,
    /// Host names that a request may ask for besides `localhost` and addresses.
    pub hosts: Vec<String>,
}

impl Default for Rules {
    /// For requests that are small and have no body.
    fn default() -> Self {
        Self {
            connections: 256,
            head_time: Duration::from_secs(10),
            request_time: Duration::from_secs(10),
            lifetime: Duration::from_secs(60),
            requests: 100,
            body_bytes: 0,
            hosts: Vec::new(),
        }
    }
}

/// A refused request: the status, and what to do.
type Refusal = (StatusCode, &'static str);

impl Rules {
    fn admit<B>(&self, request: &Request<B>) -> Result<(), Refusal> {
        let headers = request.headers();
        let host = sent_host(headers)?;
        let target = request.uri().authority().map(Authority::as_str);
        if host.is_none() && request.version() > Version::HTTP_10 {
            return Err((StatusCode::BAD_REQUEST, "send a Host header\n"));
        }
        if [host, target].into_iter().flatten().any(|name| !self.is_own(name)) {
            return Err((
                StatusCode::MISDIRECTED_REQUEST,
                "ask for an address or localhost, or list this host name in admin.hosts\n",
            ));
        }
        let mut origins = headers.get_all(ORIGIN).iter();
        if !origins.all(|origin| is_same_origin(origin, host)) {
            return Err((StatusCode::FORBIDDEN, "not for the pages of another origin\n"));
        }
        self.admit_body(headers)
    }

    /// Whether `authority` names this listener. A page that was loaded from another name could otherwise
    /// let that name lead here.
    fn is_own(&self, authority: &str) -> bool {
        let Ok(authority) = authority.parse::<Authority>() else { return false };
        if authority.as_str().contains('@') {
            return false;
        }
        let host = authority.host();
        // What stands beside the host and the port belongs to neither: `[::1]evil`.
        let port = authority.port().map_or_else(String::new, |port| format!(":{}", port.as_str()));
        if authority.as_str() != format!("{host}{port}") {
            return false;
        }
        let address = host.trim_start_matches('[').trim_end_matches(']');
        address.parse::<IpAddr>().is_ok()
            || host.eq_ignore_ascii_case("localhost")
            || self.hosts.iter().any(|own| own.eq_ignore_ascii_case(host))
    }

    fn admit_body(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        if headers.contains_key(TRANSFER_ENCODING) {
            return Err((StatusCode::LENGTH_REQUIRED, "send the body's length\n"));
        }
        let length = headers.get(CONTENT_LENGTH).and_then(|it| it.to_str().ok()?.parse().ok());
        match (headers.contains_key(CONTENT_LENGTH), length) {
            (true, None) => Err((StatusCode::BAD_REQUEST, "no such length\n")),
            (_, Some(length)) if self.body_bytes < length => {
                Err((StatusCode::PAYLOAD_TOO_LARGE, "send less\n"))
            }
            _ => Ok(()),
        }
    }
}

fn sent_host(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next().map(HeaderValue::to_str), hosts.next()) {
        (None, _) => Ok(None),
        (Some(Ok(host)), None) => Ok(Some(host)),
        _ => Err((StatusCode::BAD_REQUEST, "send one Host header\n")),
    }
}

fn is_same_origin(origin: &HeaderValue, host: Option<&str>) -> bool {
    let (Ok(origin), Some(host)) = (origin.to_str(), host) else { return false };
    let named = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    named.is_some_and(|named| named.eq_ignore_ascii_case(host))
}

/// Answers requests on `listener` by `router`, as `rules` allow, until `stop` is done, and then for a few
/// seconds those who have asked already.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    rules: Rules,
    stop: impl Future<Output = ()> + Send,
) {
    let is_crowded = AtomicBool::new(false);
    let shared = Arc::new(Shared { router: TowerToHyperService::new(router), rules, is_crowded });
    let (stopping, stopped) = watch::channel(false);
    let mut open = Open::default();
    let mut tasks = JoinSet::new();
    let mut stop = pin!(stop);
    'serving: loop {
        let stream = tokio::select! {
            () = &mut stop => break,
            Some(_) = tasks.join_next() => continue,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    debug!(%error, "a connection was not taken");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        loop {
            let room = open.make_room(shared.rules.connections);
            shared.is_crowded.store(room != Ok(Room::Left), Ordering::SeqCst);
            let Err(wait) = room else { break };
            tokio::select! {
                () = &mut stop => break 'serving,
                // One has ended.
                Some(_) = tasks.join_next() => {}
                () = sleep(wait) => {}
            }
        }
        let activity = Arc::new(Activity::default());
        let connection = keep(stream, Arc::clone(&shared), Arc::clone(&activity), stopped.clone());
        open.add(tasks.spawn(connection), activity);
    }
    drop(listener);
    stopping.send_replace(true);
    let all = async { while tasks.join_next().await.is_some() {} };
    // A client that never finishes must not keep the process from ending: what is left is dropped.
    let _ = timeout(DRAIN_TIME, all).await;
}

/// The connections that are open, the oldest first.
#[derive(Default)]
struct Open(VecDeque<Connection>);

struct Connection {
    task: AbortHandle,
    activity: Arc<Activity>,
}

/// How there is room for one more connection.
#[derive(Debug, PartialEq, Eq)]
enum Room {
    /// There are fewer than allowed.
    Left,
    /// One had to go.
    Made,
}

/// What a connection is at.
#[derive(Default)]
struct Activity {
    /// Whether it was read from, `TURN` went by, and it was read from again. Set by the connection itself
    /// after that reading: on a host without a free processor the request may have come long before.
    had_turn: AtomicBool,
    /// Whether it is being answered.
    is_busy: AtomicBool,
}

impl Open {
    /// Closes the oldest that isn't being answered if there are `most`.
    ///
    /// # Errors
    /// How soon to look again: none of them has had its turn and waits for a request.
    fn make_room(&mut self, most: usize) -> Result<Room, Duration> {
        self.0.retain(|it| !it.task.is_finished());
        if self.0.len() < most {
            return Ok(Room::Left);
        }
        let idle = self.0.iter().position(|it| !it.activity.is_busy.load(Ordering::SeqCst));
        let Some(oldest) = idle else { return Err(LOOK_AGAIN) };
        if !self.0[oldest].activity.had_turn.load(Ordering::SeqCst) {
            return Err(LOOK_AGAIN);
        }
        if let Some(connection) = self.0.remove(oldest) {
            connection.task.abort();
        }
        Ok(Room::Made)
    }

    fn add(&mut self, task: AbortHandle, activity: Arc<Activity>) {
        self.0.push_back(Connection { task, activity });
    }
}

struct Shared {
    router: TowerToHyperService<Router>,
    rules: Rules,
    /// Whether the last connection took the place of another, or waits for one.
    is_crowded: AtomicBool,
}

/// Serves one connection to its end.
async fn keep(
    stream: TcpStream,
    shared: Arc<Shared>,
    activity: Arc<Activity>,
    mut stopped: watch::Receiver<bool>,
) {
    let rules = &shared.rules;
    let asked = AtomicU32::new(0);
    let service = service_fn(|request| {
        let is_last = asked.fetch_add(1, Ordering::Relaxed) + 1 >= rules.requests;
        let (shared, activity) = (Arc::clone(&shared), Arc::clone(&activity));
        async move {
            activity.is_busy.store(true, Ordering::SeqCst);
            let (mut response, is_refused) = shared.answer(request).await;
            // From here on it depends on the client how long it takes.
            activity.is_busy.store(false, Ordering::SeqCst);
            if is_last || is_refused || shared.is_crowded.load(Ordering::SeqCst) {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(rules.head_time)
            .max_buf_size(MAX_HEAD_BYTES)
            .max_headers(MAX_HEADERS)
            .serve_connection(TokioIo::new(stream), service)
    );
    let turn = async {
        sleep(TURN).await;
        activity.had_turn.store(true, Ordering::SeqCst);
        pending::<()>().await;
    };
    tokio::select! {
        // Reads before it ends its turn.
        biased;
        ended = connection.as_mut() => {
            if let Err(error) = ended {
                debug!(%error, "a connection was cut");
            }
            return;
        }
        () = turn => {}
        () = sleep(rules.lifetime) => {}
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
    connection.as_mut().graceful_shutdown();
    // Whether it ends in time or is cut: nothing is left of it.
    let _ = timeout(rules.request_time, connection).await;
}

impl Shared {
    /// The answer, and whether it is a refusal.
    async fn answer(&self, request: Request<Incoming>) -> (Response, bool) {
        if let Err(refusal) = self.rules.admit(&request) {
            return (refusal.into_response(), true);
        }
        let answer = hyper::service::Service::call(&self.router, request);
        match timeout(self.rules.request_time, answer).await {
            Ok(Ok(response)) => (response, false),
            Ok(Err(never)) => match never {},
            Err(_) => {
                let late = (StatusCode::SERVICE_UNAVAILABLE, "no answer in time; ask again\n");
                (late.into_response(), true)
            }
        }
    }
}
