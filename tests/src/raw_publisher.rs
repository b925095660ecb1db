//! A client of the broker that can publish what no library lets through.

use std::io;

use lapin::uri::AMQPUri;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::soon;

const METHOD: u8 = 1;
const CONTENT_HEADER: u8 = 2;
const BODY: u8 = 3;
const FRAME_END: u8 = 0xce;
const CLASS_BASIC: u16 = 60;
/// The broker returns what it has no queue for.
const MANDATORY: u8 = 1;

/// A connection with one channel, on which every message is confirmed.
pub struct RawPublisher {
    stream: TcpStream,
}

impl RawPublisher {
    /// Connects to the broker at `url`.
    ///
    /// # Panics
    /// If it doesn't let us in.
    pub async fn connect(url: &str) -> Self {
        let uri: AMQPUri = url.parse().expect("an AMQP URL");
        let address = (uri.authority.host.as_str(), uri.authority.port);
        let stream = TcpStream::connect(address).await.expect("the broker listens");
        let mut broker = Self { stream };
        broker.write(b"AMQP\0\0\x09\x01").await;
        broker.expect((10, 10)).await;
        let user = uri.authority.userinfo;
        let login = format!("\0{}\0{}", user.username, user.password);
        let start_ok = [long(b""), short(b"PLAIN"), long(login.as_bytes()), short(b"en_US")];
        broker.call(0, (10, 11), &start_ok.concat()).await;
        let tune = broker.expect((10, 30)).await;
        // The broker's own frame_max, and no heartbeats.
        broker.call(0, (10, 31), &[&tune[..6], [0, 0].as_slice()].concat()).await;
        let open = [short(uri.vhost.as_bytes()), short(b""), vec![0]];
        broker.call(0, (10, 40), &open.concat()).await;
        broker.expect((10, 41)).await;
        broker.call(1, (20, 10), &short(b"")).await;
        broker.expect((20, 11)).await;
        broker.call(1, (85, 10), &[0]).await;
        broker.expect((85, 11)).await;
        broker
    }

    /// Publishes a message with these flags and properties as they are in the frame.
    ///
    /// # Panics
    /// If the broker doesn't confirm it, or has no queue for it.
    pub async fn publish(
        &mut self,
        exchange: &str,
        routing_key: &[u8],
        (flags, properties): (u16, &[u8]),
        body: &[u8],
    ) {
        let target =
            [[0, 0].as_slice(), &short(exchange.as_bytes()), &short(routing_key), &[MANDATORY]]
                .concat();
        self.call(1, (CLASS_BASIC, 40), &target).await;
        let mut header = [CLASS_BASIC.to_be_bytes(), [0, 0]].concat();
        header.extend((body.len() as u64).to_be_bytes());
        header.extend(flags.to_be_bytes());
        header.extend(properties);
        self.write(&frame(CONTENT_HEADER, 1, &header)).await;
        self.write(&frame(BODY, 1, body)).await;
        self.expect((CLASS_BASIC, 80)).await;
    }

    async fn call(&mut self, channel: u16, (class, method): (u16, u16), arguments: &[u8]) {
        let name = [class.to_be_bytes(), method.to_be_bytes()].concat();
        self.write(&frame(METHOD, channel, &[&name, arguments].concat())).await;
    }

    async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the broker reads");
    }

    /// The arguments of the method that comes next, which has to be this one.
    async fn expect(&mut self, (class, method): (u16, u16)) -> Vec<u8> {
        let payload = soon("an answer of the broker", self.read()).await.expect("a frame");
        let name = [class.to_be_bytes(), method.to_be_bytes()].concat();
        let answer = payload.strip_prefix(name.as_slice());
        let said = || String::from_utf8_lossy(&payload).into_owned();
        answer.unwrap_or_else(|| panic!("not {class}.{method} but {:?}", said())).to_vec()
    }

    /// The payload of the frame that comes next.
    async fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut head = [0; 7];
        self.stream.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize;
        let mut payload = vec![0; length + 1];
        self.stream.read_exact(&mut payload).await?;
        payload.truncate(length);
        Ok(payload)
    }
}

fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![kind];
    frame.extend(channel.to_be_bytes());
    frame.extend(long(payload));
    frame.push(FRAME_END);
    frame
}

fn short(bytes: &[u8]) -> Vec<u8> {
    [&[u8::try_from(bytes.len()).expect("a short string")], bytes].concat()
}

/// What has its length in four bytes before it.
fn long(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes(), bytes].concat()
}
