//! Clients that send slowly, read slowly, keep connections, or ask for what isn't theirs.

use std::{net::SocketAddr, time::Instant};

use axum::routing::{get, post};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::oneshot,
    task::JoinHandle,
};

use super::*;

const SHORT: Duration = Duration::from_millis(300);

struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

async fn start(rules: Rules) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new()
        .route("/", get(|| async { "fine" }))
        .route("/large", get(|| async { "x".repeat(64 << 20) }))
        .route("/never", get(std::future::pending::<&str>))
        .route("/body", post(|body: String| async move { body }));
    let (stop, stopped) = oneshot::channel();
    let stopped = async { stopped.await.unwrap_or(()) };
    let server = tokio::spawn(serve(listener, router, rules, stopped));
    Running { address, stop, server }
}

/// All that is answered to `request`, until the connection ends.
async fn answer(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    String::from_utf8(answer).unwrap()
}

async fn is_served(address: SocketAddr) {
    let close = format!("GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let answer = answer(address, &close).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nfine"), "{answer}");
}

/// Waits until the other side has closed `stream`, which has nothing more to say.
async fn is_closed(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    // An end or a reset: either way it is gone.
    let _ = timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await.unwrap();
}

#[tokio::test]
async fn a_head_that_comes_slowly_is_cut() {
    let running = start(Rules { head_time: SHORT, ..Rules::default() }).await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    let (mut from, mut to) = stream.split();
    let since = Instant::now();
    let drip = async {
        to.write_all(b"GET / HTTP/1.1\r\nX: ").await.unwrap();
        // One byte at a time would take for ever.
        while to.write_all(b"x").await.is_ok() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    let mut said = Vec::new();
    tokio::select! {
        read = from.read_to_end(&mut said) => { let _ = read; }
        () = drip => {}
        () = sleep(Duration::from_secs(10)) => panic!("it was listened to for {:?}", since.elapsed()),
    }
    assert!(!said.starts_with(b"HTTP/1.1 200"), "{said:?}");
    is_served(running.address).await;
}

#[tokio::test]
async fn a_connection_that_is_kept_and_idle_is_closed() {
    let running = start(Rules { head_time: SHORT, ..Rules::default() }).await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    let request = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", running.address);
    for _ in 0..2 {
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = [0; 15];
        stream.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 200 OK");
        let mut rest = vec![0; 1024];
        while !rest.ends_with(b"fine") {
            rest.resize(1024, 0);
            let length = stream.read(&mut rest).await.unwrap();
            rest.truncate(length);
        }
    }
    is_closed(&mut stream).await;
}

/// The descriptors of this process that are TCP connections of `address`'s side.
fn descriptors(address: SocketAddr) -> usize {
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let port = format!(":{:04X}", address.port());
    let established = |row: &&str| {
        let fields: Vec<&str> = row.split_whitespace().collect();
        fields[1].ends_with(&port) && fields[3] == "01"
    };
    table.lines().skip(1).filter(established).count()
}

#[tokio::test]
async fn a_thousand_half_open_connections_take_few_descriptors_and_delay_no_other() {
    let rules = Rules { connections: 16, head_time: Duration::from_secs(600), ..Rules::default() };
    let running = start(rules).await;
    let mut half_open = Vec::new();
    for n in 0..1000 {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        // What was closed meanwhile takes nothing.
        let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n").await;
        half_open.push(stream);
        if n % 100 == 0 {
            is_served(running.address).await;
        }
    }
    is_served(running.address).await;
    let since = Instant::now();
    while descriptors(running.address) > 16 {
        assert!(since.elapsed() < Duration::from_secs(10), "{}", descriptors(running.address));
        tokio::task::yield_now().await;
    }
    is_closed(&mut half_open[0]).await;
    is_served(running.address).await;
}

/// What clients do that loop: each begins again as soon as it was closed or answered.
const LOOPS: [&str; 3] =
    ["", "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n", "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"];

#[test]
fn a_probe_is_answered_soon_while_a_thousand_clients_loop() {
    // The server, the clients and the probe have threads of their own, as they have processes.
    let server = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let clients =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let (server, clients) = (server.unwrap(), clients.unwrap());
    let running = server.block_on(start(Rules::default()));
    let address = running.address;
    for n in 0..1000 {
        clients.spawn(async move {
            loop {
                let Ok(mut stream) = TcpStream::connect(address).await else { continue };
                // A reset at the end, so that no port is held for a minute.
                let _ = stream.set_zero_linger();
                if stream.write_all(LOOPS[n % LOOPS.len()].as_bytes()).await.is_ok() {
                    // The answer, or the end.
                    let _ = stream.read(&mut [0; 1024]).await;
                }
            }
        });
    }
    // Once as many are open as may be.
    let since = Instant::now();
    while descriptors(address) < Rules::default().connections {
        assert!(since.elapsed() < Duration::from_secs(20), "{}", descriptors(address));
        std::thread::yield_now();
    }
    for _ in 0..5 {
        let since = Instant::now();
        probe(address);
        // 0.4 s by calculation; a busy machine takes its time. Without turns it never is.
        assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
    }
    clients.shutdown_background();
    server.shutdown_background();
}

fn probe(address: SocketAddr) {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    // In one piece, as clients send it: the kernel keeps a second one back until the first is acknowledged.
    let request = format!("GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("\r\n\r\nfine"), "{answer:?}");
}

#[tokio::test]
async fn an_answer_that_is_read_halfway_is_cut() {
    let rules = Rules { lifetime: SHORT, request_time: SHORT, ..Rules::default() };
    let running = start(rules).await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    let request = format!("GET /large HTTP/1.1\r\nHost: {}\r\n\r\n", running.address);
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut some = [0; 1000];
    stream.read_exact(&mut some).await.unwrap();
    let since = Instant::now();
    while descriptors(running.address) > 0 {
        assert!(since.elapsed() < Duration::from_secs(10), "it is still open");
        tokio::task::yield_now().await;
    }
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert!(rest.len() < 64 << 20, "it was sent whole");
    is_served(running.address).await;
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_said_to_be_late() {
    let running = start(Rules { request_time: SHORT, ..Rules::default() }).await;
    let request = format!("GET /never HTTP/1.1\r\nHost: {}\r\n\r\n", running.address);
    let said = answer(running.address, &request).await;
    assert!(said.starts_with("HTTP/1.1 503 ") && said.ends_with("ask again\n"), "{said}");
}

#[tokio::test]
async fn a_connection_is_not_cut_off_to_make_room_while_it_is_answered() {
    let rules = Rules { connections: 1, request_time: Duration::from_secs(2), ..Rules::default() };
    let running = start(rules).await;
    let request = format!("GET /never HTTP/1.1\r\nHost: {}\r\n\r\n", running.address);
    let mut asked = TcpStream::connect(running.address).await.unwrap();
    asked.write_all(request.as_bytes()).await.unwrap();
    let all = async {
        let mut said = String::new();
        asked.read_to_string(&mut said).await.unwrap();
        said
    };
    let others = async {
        // Until the first has its answer, every other connection is turned away.
        loop {
            let mut other = TcpStream::connect(running.address).await.unwrap();
            let _ = other.read(&mut [0; 1]).await;
            sleep(Duration::from_millis(10)).await;
        }
    };
    sleep(Duration::from_millis(100)).await;
    let said = tokio::select! { said = all => said, () = others => unreachable!() };
    assert!(said.starts_with("HTTP/1.1 503 "), "{said}");
}

#[tokio::test]
async fn a_connection_has_so_many_requests() {
    let running = start(Rules { requests: 2, ..Rules::default() }).await;
    let request = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", running.address);
    let said = answer(running.address, &request.repeat(5)).await;
    assert_eq!(said.matches("HTTP/1.1 200 OK").count(), 2, "{said}");
    assert_eq!(said.matches("connection: close").count(), 1, "{said}");
}

#[tokio::test]
async fn while_connections_have_to_go_for_others_each_has_one_answer() {
    let running = start(Rules { connections: 1, requests: 5, ..Rules::default() }).await;
    let request = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", running.address);
    let mut idle = TcpStream::connect(running.address).await.unwrap();
    idle.write_all(request.as_bytes()).await.unwrap();
    idle.read_exact(&mut [0; 12]).await.unwrap();
    let many = request.repeat(5);
    let crowded = answer(running.address, &many).await;
    assert_eq!(crowded.matches("HTTP/1.1 200 OK").count(), 1, "{crowded}");
    assert_eq!(crowded.matches("connection: close").count(), 1, "{crowded}");
    let alone = answer(running.address, &many).await;
    assert_eq!(alone.matches("HTTP/1.1 200 OK").count(), 5, "{alone}");
}

#[tokio::test]
async fn only_its_own_host_names_and_origin_are_answered() {
    let rules = Rules { hosts: vec!["worker-1.example".into()], ..Rules::default() };
    let running = start(rules).await;
    let cases = [
        ("GET / HTTP/1.1", "Host: 127.0.0.1:9464", 200),
        ("GET / HTTP/1.1", "Host: [::1]", 200),
        ("GET / HTTP/1.1", "Host: LocalHost:1", 200),
        ("GET / HTTP/1.1", "Host: worker-1.Example:9464", 200),
        ("GET / HTTP/1.0", "X: y", 200),
        ("GET / HTTP/1.1", "Host: attacker.example", 421),
        ("GET / HTTP/1.1", "Host: worker-1.example.attacker.example", 421),
        ("GET / HTTP/1.1", "Host: localhost.attacker.example", 421),
        ("GET / HTTP/1.1", "Host: 127.0.0.1.attacker.example", 421),
        ("GET / HTTP/1.1", "Host: 127.0.0.1@attacker.example", 421),
        ("GET / HTTP/1.1", "Host: attacker.example@127.0.0.1", 421),
        ("GET / HTTP/1.1", "Host: [::1]attacker.example", 421),
        ("GET / HTTP/1.0", "Host: attacker.example", 421),
        ("GET / HTTP/1.1", "Host: ", 421),
        ("GET http://attacker.example/ HTTP/1.1", "Host: 127.0.0.1", 421),
        ("GET / HTTP/1.1", "X: y", 400),
        ("GET / HTTP/1.1", "Host: 127.0.0.1\r\nHost: attacker.example", 400),
        ("GET / HTTP/1.1", "Host: 127.0.0.1:9464\r\nOrigin: http://127.0.0.1:9464", 200),
        ("GET / HTTP/1.1", "Host: 127.0.0.1:9464\r\nOrigin: http://attacker.example", 403),
        ("GET / HTTP/1.1", "Host: 127.0.0.1:9464\r\nOrigin: http://127.0.0.1:80", 403),
        ("GET / HTTP/1.1", "Host: 127.0.0.1:9464\r\nOrigin: null", 403),
        ("POST /body HTTP/1.1", "Host: 127.0.0.1\r\nContent-Length: 1\r\n\r\nx", 413),
        ("POST /body HTTP/1.1", "Host: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n0", 411),
        ("POST /body HTTP/1.1", "Host: 127.0.0.1\r\nContent-Length: 0", 200),
    ];
    for (line, headers, status) in cases {
        let request = format!("{line}\r\nConnection: close\r\n{headers}\r\n\r\n");
        let said = answer(running.address, &request).await;
        assert_eq!(said.get(9..12), Some(status.to_string().as_str()), "{request:?}: {said:?}");
        assert_eq!(said.contains("fine"), status == 200 && line.starts_with("GET"), "{said:?}");
    }
}

#[tokio::test]
async fn a_body_that_never_comes_is_not_waited_for() {
    let rules = Rules { body_bytes: 100, request_time: SHORT, ..Rules::default() };
    let running = start(rules).await;
    let request = "POST /body HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\nhalf";
    let said = answer(running.address, request).await;
    assert!(said.starts_with("HTTP/1.1 503 "), "{said}");
    let request = "POST /body HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\
                   Content-Length: 5\r\n\r\nwhole";
    assert!(answer(running.address, request).await.ends_with("\r\n\r\nwhole"));
}

#[tokio::test]
async fn what_is_open_at_the_stop_does_not_hold_it_up() {
    let running = start(Rules::default()).await;
    let mut open = Vec::new();
    for request in ["", "GET / HT", "GET /never HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"] {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        open.push(stream);
    }
    is_served(running.address).await;
    running.stop.send(()).unwrap();
    timeout(DRAIN_TIME * 2, running.server).await.expect("ended").unwrap();
    assert!(TcpStream::connect(running.address).await.is_err(), "still listening");
}
