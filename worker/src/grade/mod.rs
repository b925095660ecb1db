//! Problem packages of the Kattis format, versions `legacy` and `2025-09`: reading them, making a job of a submission,
//! and what the submissions in a package have to get.

mod data;
pub mod files;
mod flags;
mod junit;
mod package;
mod problem;
mod program;
mod verify;

pub use junit::junit;
pub use package::{Package, TimeLimit};
pub use program::Submission;
pub use verify::{Expected, Outcome};
