//! Finds out what answers at an address where Redis seems to be silent, or to say what it never says.

use std::time::Duration;

use redis::{Client, ConnectionAddr};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::refusal::{self, Answer};

/// How long that may take.
const DEADLINE: Duration = Duration::from_millis(500);
/// How a TLS server begins what it says to a client that doesn't speak TLS.
const TLS_ALERT: u8 = 0x15;

/// What is wrong with the address, if it is TLS on one side only: a Redis without TLS waits for the end
/// of what it takes for a command, and the client for the other's half of the handshake.
pub(crate) async fn answers_at(client: &Client) -> Option<Answer> {
    let (host, port, tls) = match client.get_connection_info().addr() {
        ConnectionAddr::Tcp(host, port) => (host, *port, false),
        ConnectionAddr::TcpTls { host, port, .. } => (host, *port, true),
        _ => return None,
    };
    let first = timeout(DEADLINE, first_byte(host, port)).await.ok()??;
    match (tls, first) {
        // Redis answers with these, and speaks TLS or not.
        (true, b'+' | b'-') => Some(refusal::without_tls()),
        (false, b'+' | b'-') | (true, TLS_ALERT) => None,
        (false, TLS_ALERT) => Some(refusal::with_tls()),
        _ => Some(refusal::not_redis()),
    }
}

async fn first_byte(host: &str, port: u16) -> Option<u8> {
    let mut stream = TcpStream::connect((host, port)).await.ok()?;
    // Twice: RabbitMQ says nothing before it has eight bytes.
    stream.write_all(b"PING\r\nPING\r\n").await.ok()?;
    stream.read_u8().await.ok()
}
