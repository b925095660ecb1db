//! What one release leaves in the broker and the store, read by the next; and both in one fleet.

mod beside;
mod recorded;
mod recording;
mod release;
