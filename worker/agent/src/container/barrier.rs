//! The barriers between a native container and its host, and what to do where one can't be installed.

use serde::{Deserialize, Serialize};

macro_rules! barriers {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal, $fix:literal;)+) => {
        /// What stands between a native container and its host.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Barrier { $($(#[doc = $doc])+ $name,)+ }

        impl Barrier {
            /// Every barrier, in the order in which they are installed.
            pub const ALL: &[Barrier] = &[$(Barrier::$name,)+];

            /// The barrier's name, for people.
            pub fn as_str(self) -> &'static str {
                match self { $(Barrier::$name => $text,)+ }
            }

            /// What to do where it can't be installed.
            pub fn fix(self) -> &'static str {
                match self { $(Barrier::$name => $fix,)+ }
            }
        }
    };
}

barriers! {
    /// A user that exists nowhere else.
    UserNamespace = "user namespace",
        "allow user namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, \
         kernel.apparmor_restrict_unprivileged_userns), run as root, or use --sandbox docker";
    /// A mount table of its own.
    MountNamespace = "mount namespace",
        "run outside of a container that forbids mounting, or use --sandbox docker";
    /// A read-only root.
    RootTree = "read-only root tree",
        "run on Linux 5.12 or newer and outside of a container that forbids mounting, or use --sandbox docker";
    /// All other namespaces.
    Namespaces = "namespaces",
        "run on a kernel with pid, mount, net, ipc, uts and cgroup namespaces, or use --sandbox docker";
    /// Processes of its own and no kernel settings.
    Proc = "own /proc",
        "run on Linux 5.8 or newer; in a container, one whose /proc isn't masked; or use --sandbox docker";
    /// Bounded scratch space.
    ScratchSpace = "scratch space", "run where tmpfs can be mounted, or use --sandbox docker";
    /// A name of its own.
    HostName = "host name", "run outside of a container that forbids it, or use --sandbox docker";
    /// An empty network.
    Network = "empty network", "run outside of a container that forbids it, or use --sandbox docker";
    /// No privileges, for good.
    Privileges = "no privileges", "run as root or as a user who may make user namespaces";
    /// Only listed system calls.
    Seccomp = "system call filter",
        "run on a kernel with seccomp filters (CONFIG_SECCOMP_FILTER), or use --sandbox docker";
}

impl Barrier {
    pub(crate) fn failed(self, reason: impl Into<String>) -> Failed {
        Failed { barrier: self, reason: short(&reason.into()) }
    }
}

/// The beginning of a reason, far shorter than what fits into a report.
pub(crate) fn short(reason: &str) -> String {
    reason.chars().take(1000).collect()
}

/// A barrier that couldn't be installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// Which one.
    pub barrier: Barrier,
    /// What the kernel said.
    pub reason: String,
}

impl Failed {
    /// Which barrier, and why; without the way out, which [`Barrier::fix`] says.
    pub fn what(&self) -> String {
        format!("the barrier \"{}\" can't be installed: {}", self.barrier.as_str(), self.reason)
    }
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}; to fix: {}", self.what(), self.barrier.fix())
    }
}
