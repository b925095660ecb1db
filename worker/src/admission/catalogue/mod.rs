//! The catalogue: which languages there are and how a program of each is started. Jobs name a
//! language; what that means is the operator's.

mod index;
mod language;
mod load;
mod page;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that panics has failed")]
mod tests;
mod warm;

pub use self::{
    index::Catalogue,
    language::{Bounds, Compile, Language},
    load::Fault,
    page::reference,
    warm::WarmStart,
};
