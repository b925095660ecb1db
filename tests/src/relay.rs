//! A wire to a service that can be cut.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{
    io,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// Passes TCP connections on to a service, until it is told not to.
pub struct Relay {
    port: u16,
    accepted: Arc<AtomicUsize>,
    /// How often the wire was cut, and whether it is whole.
    wire: watch::Sender<(u64, bool)>,
    listening: JoinHandle<()>,
}

impl Relay {
    /// A relay to `address`, such as `127.0.0.1:5672`.
    ///
    /// # Panics
    /// If there is no port to be had.
    pub async fn to(address: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let accepted = Arc::new(AtomicUsize::new(0));
        let wire = watch::Sender::new((0, true));
        let listening = tokio::spawn({
            let (address, accepted, wire) = (address.to_owned(), accepted.clone(), wire.clone());
            async move {
                while let Ok((near, _)) = listener.accept().await {
                    accepted.fetch_add(1, Ordering::SeqCst);
                    if wire.borrow().1 {
                        tokio::spawn(pass(near, address.clone(), wire.subscribe()));
                    }
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
        self.wire.send_modify(|(cuts, whole)| (*cuts, *whole) = (*cuts + 1, false));
    }

    /// Lets new connections through again.
    pub fn mend(&self) {
        self.wire.send_modify(|(_, whole)| *whole = true);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.listening.abort();
        self.cut();
    }
}

async fn pass(mut near: TcpStream, address: String, mut wire: watch::Receiver<(u64, bool)>) {
    let born = wire.borrow().0;
    let Ok(mut far) = TcpStream::connect(&address).await else { return };
    tokio::select! {
        _ = io::copy_bidirectional(&mut near, &mut far) => {}
        _ = wire.wait_for(|(cuts, _)| *cuts > born) => {}
    }
}
