//! How the library gets to a connection that is screened: by a reactor of which every TCP stream is.

use std::{
    fmt,
    io::{self, Read, Write},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use async_rs::{
    Runtime, Tokio,
    traits::Reactor,
    util::{DummyIO, RuntimeParts},
};
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::Stream;
use lapin::{AsyncTcpStream, tcp::OwnedTLSConfig};

use super::{screen::Screened, server::Server};

/// A runtime of the library over the current one, with that reactor.
pub(super) type ScreenedRuntime = Runtime<RuntimeParts<Tokio, ScreenedReactor>>;

/// tokio's reactor, but for TCP streams. TLS is spoken here, so that what is screened is clear text.
#[derive(Clone)]
pub(super) struct ScreenedReactor {
    tokio: Tokio,
    /// The host that the server's certificate has to be for.
    tls: Option<(String, OwnedTLSConfig)>,
    frame_max: usize,
    /// What the broker names itself.
    server: Arc<Mutex<Option<Server>>>,
}

impl ScreenedReactor {
    /// The runtime for connections within the current one.
    pub(super) fn runtime(
        tls: Option<(String, OwnedTLSConfig)>,
        frame_max: usize,
        server: Arc<Mutex<Option<Server>>>,
    ) -> ScreenedRuntime {
        let tokio = Tokio::current();
        Runtime::new(RuntimeParts::new(tokio.clone(), Self { tokio, tls, frame_max, server }))
    }
}

/// Without the key of the client's certificate.
impl fmt::Debug for ScreenedReactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScreenedReactor").finish_non_exhaustive()
    }
}

impl Reactor for ScreenedReactor {
    type TcpStream = Screened<AsyncTcpStream<<Tokio as Reactor>::TcpStream>>;
    type Sleep = <Tokio as Reactor>::Sleep;

    /// The library for AMQP has no other sockets than those it connects.
    fn register<H: Read + Write + Send + 'static>(
        &self,
        _socket: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        Err::<DummyIO, _>(io::ErrorKind::Unsupported.into())
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.tokio.sleep(duration)
    }

    fn interval(&self, duration: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.tokio.interval(duration)
    }

    fn tcp_connect_addr(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        let connecting = self.tokio.tcp_connect_addr(address);
        let (tls, frame_max, server) = (self.tls.clone(), self.frame_max, self.server.clone());
        async move {
            let plain = AsyncTcpStream::Plain(connecting.await?);
            let stream = match tls {
                Some((host, config)) => plain.into_tls(&host, config.as_ref()).await?,
                None => plain,
            };
            Ok(Screened::new(stream, frame_max, server))
        }
    }
}
