//! The closed lists of values that metrics have as labels: what happens in a worker, by kind.

macro_rules! labels {
    ($($(#[doc = $doc:literal])+ $type:ident { $($(#[doc = $vdoc:literal])+ $variant:ident = $text:literal,)+ })+) => {$(
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $type { $($(#[doc = $vdoc])+ $variant,)+ }

        impl $type {
            /// Every value of the closed list.
            pub const ALL: &[$type] = &[$($type::$variant,)+];

            /// The value of the label.
            pub fn as_str(self) -> &'static str {
                match self { $($type::$variant => $text,)+ }
            }
        }
    )+};
}

labels! {
    /// One of a program's two output streams.
    Stream {
        /// Standard output.
        Stdout = "stdout",
        /// Standard error.
        Stderr = "stderr",
    }

    /// A part of a job's time.
    Stage {
        /// From its submission to its claim, by the store's clock, which has milliseconds.
        Queue = "queue",
        /// Until its program starts.
        Setup = "setup",
        /// Its compiler, with its container.
        Compile = "compile",
        /// Its program.
        Run = "run",
        /// Until its artifacts are there.
        Collect = "collect",
        /// Until the store has its result.
        Commit = "commit",
    }

    /// Why a job went back to its queue.
    RetryCause {
        /// The sandbox failed.
        Sandbox = "sandbox",
        /// The host had no memory left, and its kernel killed a program that was within its limit.
        HostMemory = "host_memory",
    }

    /// What ended a program that didn't end by itself.
    Kill {
        /// wall_time_ms.
        WallTime = "wall_time_ms",
        /// cpu_time_ms.
        CpuTime = "cpu_time_ms",
        /// memory_bytes.
        Memory = "memory_bytes",
        /// The policy's bound on output.
        Output = "output_bytes",
        /// processes.
        Processes = "processes",
        /// The policy's bound on what sockets may queue.
        Sockets = "sockets",
        /// The policy's bound on memory mappings.
        Mappings = "mappings",
        /// The policy's bound on record locks.
        Locks = "record_locks",
        /// It tampered with its sandbox.
        Security = "security",
    }

    /// Something that no honest program does.
    Violation {
        /// It used the stream between its sandbox and the worker.
        Tampering = "tampering",
        /// It killed the first process of its container.
        InitKilled = "init_killed",
        /// Any other rule.
        Other = "other",
    }

    /// Why a message became a dead letter.
    DeathCause {
        /// It was returned to its queue too often.
        DeliveryLimit = "delivery_limit",
        /// Its time was over.
        Expired = "expired",
        /// A consumer rejected it.
        Rejected = "rejected",
        /// Its queue was full.
        Full = "maxlen",
        /// Any other reason.
        Other = "other",
    }

    /// What happened to an interpreter that was started ahead.
    InterpreterEvent {
        /// It is warm.
        Started = "started",
        /// It could not be started.
        Failed = "failed",
        /// It stopped working and was given up.
        Lost = "lost",
    }

    /// What happened to a container that was started ahead.
    PoolEvent {
        /// A job got one.
        Hit = "hit",
        /// A job had to have one made.
        Miss = "miss",
        /// One was made.
        Made = "made",
        /// One died or failed before its job ran in it.
        Died = "died",
    }

    /// What a dead worker left behind.
    Leftover {
        /// A native container's control group.
        ControlGroup = "control_group",
        /// A container of a Docker engine.
        Container = "container",
    }

    /// A service that a worker calls.
    Service {
        /// RabbitMQ.
        Broker = "broker",
        /// Redis.
        Store = "store",
        /// The Docker engine.
        Engine = "engine",
    }

    /// What became of a span.
    SpanEnd {
        /// The collector has it.
        Exported = "exported",
        /// There was no room to keep it until the collector would take it.
        Dropped = "dropped",
        /// The collector refused it.
        Rejected = "rejected",
    }

    /// What a worker asks of a service. Each belongs to one.
    Call {
        /// Asking a queue for a job.
        Get = "get",
        /// Acknowledging a message, returning it or moving it.
        Settle = "settle",
        /// Claiming a job.
        Claim = "claim",
        /// Renewing its lease.
        Renew = "renew",
        /// Releasing its lease.
        Release = "release",
        /// Storing the result of a run.
        Commit = "commit",
        /// Storing the result of a job that isn't run.
        Refuse = "refuse",
        /// Storing a piece of output that is followed.
        Append = "append",
        /// Making a container.
        Create = "create",
        /// Attaching to a container.
        Attach = "attach",
        /// Starting a container.
        Start = "start",
    }
}

impl Call {
    /// Whom it asks.
    pub fn service(self) -> Service {
        match self {
            Self::Get | Self::Settle => Service::Broker,
            Self::Claim
            | Self::Renew
            | Self::Release
            | Self::Commit
            | Self::Refuse
            | Self::Append => Service::Store,
            Self::Create | Self::Attach | Self::Start => Service::Engine,
        }
    }
}

impl From<&str> for DeathCause {
    fn from(reason: &str) -> Self {
        let known = Self::ALL.iter().find(|cause| cause.as_str() == reason);
        known.copied().unwrap_or(Self::Other)
    }
}
