//! What a program reads while it runs, as another one writes it.

use tokio::sync::{Mutex, mpsc};

/// The reading end of input that comes while the program runs. What waits in it is bounded by what the writing program may
/// print.
#[derive(Debug)]
pub struct LiveInput {
    pub(super) received: Mutex<mpsc::UnboundedReceiver<Vec<u8>>>,
    /// Whether its program runs beside another of the same test, and takes no place of its own: it must not wait for
    /// one, since the other waits for it.
    pub(super) is_beside: bool,
}

/// The writing end; dropped, the input ends.
pub type LiveSender = mpsc::UnboundedSender<Vec<u8>>;

impl LiveInput {
    /// Both ends.
    pub fn new(is_beside: bool) -> (LiveSender, Self) {
        let (sender, received) = mpsc::unbounded_channel();
        (sender, Self { received: Mutex::new(received), is_beside })
    }
}
