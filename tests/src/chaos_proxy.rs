//! A wire to a service that can be cut, or go silent.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{
    io::{self, AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

/// Passes TCP connections on to a service, until it is told not to.
pub struct ChaosProxy {
    port: u16,
    accepted: Arc<AtomicUsize>,
    wire: watch::Sender<Wire>,
    listening: JoinHandle<()>,
}

#[derive(Clone, Copy)]
struct Wire {
    /// How often it was cut and silenced: a connection that didn't see it before it was mended still breaks.
    cuts: u64,
    silences: u64,
    state: State,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Whole,
    Cut,
    Silent,
}

impl ChaosProxy {
    /// A proxy to `address`, such as `127.0.0.1:5672`.
    ///
    /// # Panics
    /// If there is no port to be had.
    pub async fn to(address: &str) -> Self {
        Self::start(address, None).await
    }

    /// As [`to`](Self::to), and speaks TLS to its clients.
    ///
    /// # Panics
    /// If there is no port to be had.
    pub async fn behind_tls(address: &str, acceptor: TlsAcceptor) -> Self {
        Self::start(address, Some(acceptor)).await
    }

    async fn start(address: &str, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let accepted = Arc::new(AtomicUsize::new(0));
        let wire = watch::Sender::new(Wire { cuts: 0, silences: 0, state: State::Whole });
        let listening = tokio::spawn({
            let (address, accepted, wire) = (address.to_owned(), accepted.clone(), wire.clone());
            async move {
                while let Ok((near, _)) = listener.accept().await {
                    accepted.fetch_add(1, Ordering::SeqCst);
                    let (address, tls, wire) = (address.clone(), tls.clone(), wire.subscribe());
                    let now = *wire.borrow();
                    tokio::spawn(async move {
                        match (now.state, tls) {
                            (State::Cut, _) => {}
                            (State::Silent, _) => hold(now, wire).await,
                            (State::Whole, None) => pass(near, &address, now, wire).await,
                            (State::Whole, Some(tls)) => {
                                // Who refuses our certificate goes away.
                                let Ok(near) = tls.accept(near).await else { return };
                                pass(near, &address, now, wire).await;
                            }
                        }
                    });
                }
            }
        });
        Self { port, accepted, wire, listening }
    }

    /// The port to connect to on this machine.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many connections there have been.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// Breaks all connections; new ones are broken at once until [`mend`](Self::mend).
    pub fn cut(&self) {
        self.change(State::Cut);
    }

    /// Passes nothing on any more, and keeps all connections open, also new ones: as when the other
    /// end's host is gone. [`mend`](Self::mend) brings none of them back, and closes none.
    pub fn silence(&self) {
        self.change(State::Silent);
    }

    /// Lets new connections through again.
    pub fn mend(&self) {
        self.change(State::Whole);
    }

    fn change(&self, state: State) {
        self.wire.send_modify(|wire| {
            wire.cuts += u64::from(state == State::Cut);
            wire.silences += u64::from(state == State::Silent);
            wire.state = state;
        });
    }
}

impl Drop for ChaosProxy {
    fn drop(&mut self) {
        self.listening.abort();
        self.cut();
    }
}

async fn pass(
    mut near: impl AsyncRead + AsyncWrite + Unpin,
    address: &str,
    born: Wire,
    mut wire: watch::Receiver<Wire>,
) {
    let Ok(mut far) = TcpStream::connect(address).await else { return };
    let changed = tokio::select! {
        _ = io::copy_bidirectional(&mut near, &mut far) => return,
        changed = wire.wait_for(|now| now.cuts > born.cuts || now.silences > born.silences) => {
            changed.map(|now| *now)
        }
    };
    if changed.is_ok() {
        hold(born, wire).await;
    }
}

/// Does nothing until the wire is cut, as seen by a connection that is as old as `born`.
async fn hold(born: Wire, mut wire: watch::Receiver<Wire>) {
    let _ = wire.wait_for(|now| now.cuts > born.cuts).await;
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        time::timeout,
    };

    use super::*;

    /// A service that answers each byte with the same byte.
    async fn echo() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.into_split();
                    let _ = io::copy(&mut read, &mut write).await;
                });
            }
        });
        address
    }

    async fn answers(stream: &mut TcpStream) -> bool {
        let mut byte = [0];
        stream.write_all(b"x").await.is_ok()
            && matches!(
                timeout(Duration::from_millis(300), stream.read(&mut byte)).await,
                Ok(Ok(1))
            )
    }

    #[tokio::test]
    async fn a_connection_breaks_however_soon_the_wire_is_mended() {
        let proxy = ChaosProxy::to(&echo().await).await;
        let connect = || TcpStream::connect(("127.0.0.1", proxy.port()));
        let mut before = connect().await.expect("it listens");
        assert!(answers(&mut before).await);
        proxy.cut();
        proxy.mend();
        assert!(!answers(&mut before).await, "cut and mended at once");
        let mut after = connect().await.expect("it listens");
        assert!(answers(&mut after).await);
        proxy.silence();
        proxy.mend();
        assert!(!answers(&mut after).await, "silent and mended at once");
        let mut last = connect().await.expect("it listens");
        assert!(answers(&mut last).await);
    }
}
