//! Programs that start as copies of an interpreter which is loaded already.

mod attend;
mod container;
mod forking;
mod interpreter;
mod kept_files;
mod program;
mod zygote;

pub use self::{
    attend::attend,
    forking::Forking,
    interpreter::become_interpreter,
    zygote::{Changes, serve},
};
