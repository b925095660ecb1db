//! The profile as Docker's API takes it.

use sandfleet_common::Isolation;
use serde::Serialize;

use super::{
    NativeArchitecture, Profile,
    rule::{Answer, Condition, Entry},
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DockerProfile<'a> {
    default_action: &'static str,
    default_errno_ret: u16,
    arch_map: Vec<NativeArchitecture>,
    syscalls: Vec<DockerRule<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DockerRule<'a> {
    names: &'a [String],
    action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    errno_ret: Option<u16>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    args: &'a [Condition],
}

const ALLOW: &str = "SCMP_ACT_ALLOW";
const ERRNO: &str = "SCMP_ACT_ERRNO";

impl Profile {
    /// The profile as Docker's API takes it, after `seccomp=`, in `SecurityOpt`.
    ///
    /// Comments stay behind, for the text is stored with every container. So do the refusals that
    /// are the default anyway: libseccomp takes a rule that repeats the default as an error.
    pub fn docker_json(&self, isolation: Isolation) -> String {
        let rule = |entry: &'_ Entry| {
            let answer = match isolation {
                Isolation::GVisor if entry.gvisor_allows => Answer::Allow,
                _ => entry.answer,
            };
            let (action, errno_ret) = match answer {
                Answer::Allow => (ALLOW, None),
                Answer::Errno(number) => (ERRNO, Some(number)),
                // An error of number zero is none: the call is answered and not made.
                Answer::Succeed => (ERRNO, Some(0)),
            };
            (action, errno_ret, answer != self.default_answer())
        };
        let syscalls = self.entries.iter().filter_map(|entry| {
            let (action, errno_ret, differs) = rule(entry);
            let Entry { names, conditions, .. } = entry;
            differs.then_some(DockerRule { names, action, errno_ret, args: conditions })
        });
        let profile = DockerProfile {
            default_action: ERRNO,
            default_errno_ret: self.default_errno,
            arch_map: self
                .architectures
                .iter()
                .map(|architecture| NativeArchitecture {
                    architecture: *architecture,
                    sub_architectures: Vec::new(),
                })
                .collect(),
            syscalls: syscalls.collect(),
        };
        serde_json::to_string(&profile).expect("numbers, strings and lists always make JSON")
    }
}
