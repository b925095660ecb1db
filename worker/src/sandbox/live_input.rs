//! What a program reads while it runs, as another one writes it.

use tokio::sync::{Mutex, mpsc};

/// The reading end of input that comes while the program runs. What waits in it is bounded by what the writing program may
/// print.
#[derive(Debug)]
pub struct LiveInput {
    pub(super) received: Mutex<mpsc::UnboundedReceiver<Vec<u8>>>,
}

/// The writing end; dropped, the input ends.
pub type LiveSender = mpsc::UnboundedSender<Vec<u8>>;

impl LiveInput {
    /// Both ends.
    pub fn new() -> (LiveSender, Self) {
        let (sender, received) = mpsc::unbounded_channel();
        (sender, Self { received: Mutex::new(received) })
    }
}
