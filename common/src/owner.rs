//! `Owner`: the worker and the delivery named in a job's lease.

use std::fmt;

use crate::JobId;

/// One delivery of a worker, as a job's lease names it: `<worker_id>/<delivery>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The worker.
    pub worker_id: String,
    /// What tells its deliveries apart.
    pub delivery: String,
}

impl Owner {
    /// A new delivery of a worker.
    pub fn new(worker_id: impl Into<String>) -> Self {
        Self { worker_id: worker_id.into(), delivery: JobId::generate().to_string() }
    }

    /// Reads what a lease holds. A worker's name may contain a `/`, a delivery doesn't.
    pub fn parse(text: &str) -> Self {
        let (worker_id, delivery) = text.rsplit_once('/').unwrap_or((text, ""));
        Self { worker_id: worker_id.into(), delivery: delivery.into() }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.worker_id, self.delivery)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_read_as_it_is_written() {
        for name in ["w", "rack/7", "host-1.example"] {
            let owner = Owner::new(name);
            assert_eq!(Owner::parse(&owner.to_string()), owner);
            assert_ne!(owner, Owner::new(name));
        }
        assert_eq!(Owner::parse("w").worker_id, "w");
    }
}
