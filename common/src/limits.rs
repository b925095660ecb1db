//! Limits: what a job may ask for and what it gets.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

macro_rules! limits {
    ($($(#[doc = $doc:literal])+ $name:ident = $default:expr, from $min:expr, to $max:expr, $variant:ident;)+) => {
        /// The limits a job runs under, all of them set. Units are in the names. Those that a result of an older
        /// worker lacks have their defaults.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(remote = "Self", deny_unknown_fields, default)]
        pub struct Limits { $($(#[doc = $doc])+ pub $name: u64,)+ }

        /// The limits a job asks for; what is absent takes the worker's default. Asking for more
        /// than the worker's cap gives the cap.
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(remote = "Self", deny_unknown_fields)]
        pub struct LimitsRequest {
            $($(#[doc = $doc])+ #[serde(default, skip_serializing_if = "Option::is_none")]
            pub $name: Option<u64>,)+
        }

        /// The name of one limit.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(remote = "Self", rename_all = "snake_case")]
        pub enum LimitName { $($(#[doc = $doc])+ $variant,)+ }

        impl LimitName {
            /// Every limit, in the protocol's order.
            pub const ALL: &[LimitName] = &[$(LimitName::$variant,)+];

            /// The field's name on the wire.
            pub fn as_str(self) -> &'static str {
                match self { $(LimitName::$variant => stringify!($name),)+ }
            }

            /// The smallest value a job may ask for: below it no program can start, so that the
            /// verdict would say nothing about the program.
            pub fn minimum(self) -> u64 {
                match self { $(LimitName::$variant => $min,)+ }
            }

            /// The largest value that any job gets, whatever the caps: above it kernels refuse the
            /// number, and sums and products of it would overflow.
            pub fn maximum(self) -> u64 {
                match self { $(LimitName::$variant => $max,)+ }
            }
        }

        impl Default for Limits {
            fn default() -> Self { Self { $($name: $default,)+ } }
        }

        impl Limits {
            /// The value of the limit called `name`.
            pub fn get(&self, name: LimitName) -> u64 {
                match name { $(LimitName::$variant => self.$name,)+ }
            }

            /// Replaces the value of the limit called `name`.
            pub fn set(&mut self, name: LimitName, value: u64) {
                match name { $(LimitName::$variant => self.$name = value,)+ }
            }
        }

        impl LimitsRequest {
            /// What is asked for under `name`.
            pub fn get(&self, name: LimitName) -> Option<u64> {
                match name { $(LimitName::$variant => self.$name,)+ }
            }

            /// Asks for `value` under `name`.
            pub fn set(&mut self, name: LimitName, value: u64) {
                match name { $(LimitName::$variant => self.$name = Some(value),)+ }
            }
        }
    };
}

const MIB: u64 = 1 << 20;
/// A pebibyte.
const MOST_BYTES: u64 = 1 << 50;
/// A hundred years.
const MOST_MS: u64 = 100 * 365 * 86_400_000;

limits! {
    /// Real time from the program's start, in milliseconds.
    wall_time_ms = 10_000, from 1, to MOST_MS, WallTimeMs;
    /// CPU time of all the job's processes together, in milliseconds.
    cpu_time_ms = 10_000, from 1, to MOST_MS, CpuTimeMs;
    /// Memory of all the job's processes and of its scratch space, in bytes; there is no swap.
    memory_bytes = 256 * MIB, from 8 * MIB, to MOST_BYTES, MemoryBytes;
    /// Processes and threads alive at a time.
    processes = 64, from 1, to 4_000_000, Processes;
    /// Bytes kept of stdout, and as many of stderr.
    output_bytes = MIB, from 1, to MOST_BYTES, OutputBytes;
    /// Bytes that fit into the working directory, and as many into /tmp.
    scratch_bytes = 64 * MIB, from 64 * 1024, to MOST_BYTES, ScratchBytes;
    /// Files a process may have open at a time.
    open_files = 256, from 16, to 1 << 20, OpenFiles;
    /// Bytes of all artifacts together.
    artifact_bytes = 16 * MIB, from 1, to MOST_BYTES, ArtifactBytes;
    /// Artifacts that are brought back.
    artifact_count = 256, from 1, to 100_000, ArtifactCount;
}

impl FromStr for LimitName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        LimitName::ALL.iter().copied().find(|name| name.as_str() == text).ok_or_else(|| {
            let known: Vec<_> = LimitName::ALL.iter().map(|n| n.as_str()).collect();
            format!("unknown limit {text:?}; the limits are {}", known.join(", "))
        })
    }
}

impl fmt::Display for LimitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_wire_names() {
        let wire = serde_json::to_value(Limits::default()).expect("limits serialise");
        let fields: Vec<&str> =
            wire.as_object().map(|o| o.keys().map(String::as_str).collect()).unwrap_or_default();
        assert_eq!(fields.len(), LimitName::ALL.len());
        for name in LimitName::ALL {
            assert!(fields.contains(&name.as_str()));
            assert_eq!(name.as_str().parse(), Ok(*name));
            let default = Limits::default().get(*name);
            assert!((name.minimum()..=name.maximum()).contains(&default));
        }
    }
}
