//! What takes long, or harms everybody who uses the same services: `bash tests/run chaos`.

mod broker;
mod flood;
