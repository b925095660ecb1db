//! What `sandfleet doctor --attack --report` hands on: what was tried on which host, and what came of each claim.

pub mod changes;
pub mod page;
mod subject;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::subject::Subject;
use super::{
    State,
    attack::{Outcome, Tried},
    barriers,
    claims::{Area, Claim, TABLE},
    finding::Finding,
    host,
};
use crate::{
    backend,
    config::{Backend, BackendChoice, Settings},
    sandbox::Description,
};

/// The form of the file, which changes when an older sandfleet would misread it.
pub const FORMAT: u32 = 1;

/// The report: the file report.json.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// [`FORMAT`].
    pub format: u32,
    /// When the last attempt had ended.
    pub made_at: Timestamp,
    /// What was attacked, and by what.
    pub subject: Subject,
    /// Why the sandbox couldn't be opened, if it couldn't: nothing was tried then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_opened: Option<String>,
    /// Every claim of the threat model.
    pub claims: Vec<ClaimReport>,
    /// What `doctor` found of this host and its sandbox.
    pub checks: Vec<Check>,
    /// What the threat model doesn't cover: Markdown.
    pub not_protected: Vec<String>,
}

/// One claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimReport {
    /// Its name, which outlives its wording.
    pub id: String,
    /// Who attacks what.
    pub area: String,
    /// What holds.
    pub claim: String,
    /// What came of it here.
    pub state: ClaimState,
    /// Why it was not tried, if it wasn't.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_tried: Option<String>,
    /// How it was tried.
    pub attempts: Vec<Tried>,
    /// What shows it in sandfleet's own test suites.
    pub tests: Vec<String>,
}

/// What came of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClaimState {
    /// An attempt was not contained, or could not show anything.
    Failed,
    /// Nothing was tried, or not all that there is.
    NotTried,
    /// Every attempt was contained, some of them only by the sandbox's own kernel.
    Inside,
    /// Every attempt was contained, and each would have been without the sandbox.
    Vacuous,
    /// Every attempt was contained.
    Held,
}

impl ClaimState {
    /// All of them, the best first.
    pub const ALL: [ClaimState; 5] = [
        ClaimState::Held,
        ClaimState::Vacuous,
        ClaimState::Inside,
        ClaimState::NotTried,
        ClaimState::Failed,
    ];

    /// The word for people.
    pub fn as_str(self) -> &'static str {
        match self {
            ClaimState::Held => "held",
            ClaimState::Vacuous => "of no weight",
            ClaimState::Inside => "held inside",
            ClaimState::NotTried => "not tried",
            ClaimState::Failed => "FAILED",
        }
    }

    fn of(attempts: &[Tried]) -> Self {
        let state = |tried: &Tried| match tried.outcome {
            Outcome::Fail => ClaimState::Failed,
            Outcome::Untried => ClaimState::NotTried,
            Outcome::Inside => ClaimState::Inside,
            Outcome::Vacuous => ClaimState::Vacuous,
            Outcome::Pass => ClaimState::Held,
        };
        let weak = attempts.iter().map(state).filter(|it| *it < ClaimState::Vacuous).min();
        // One attempt that has weight is enough; a control is none.
        let strong = attempts.iter().filter(|it| !it.control).map(state).max();
        weak.or(strong).unwrap_or(ClaimState::NotTried)
    }
}

/// One point that `doctor` checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What it belongs to.
    pub area: String,
    /// What was checked.
    pub name: String,
    /// How it is.
    pub state: State,
    /// What was seen.
    pub detail: String,
    /// What to do about it, if something is to be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl From<Finding> for Check {
    fn from(finding: Finding) -> Self {
        let Finding { area, name, state, detail, fix } = finding;
        Self { area: area.into(), name, state, detail, fix }
    }
}

/// The sandbox that a report is about.
#[derive(Debug, Clone, Copy)]
pub enum Attacked<'a> {
    /// It was opened and attacked with this outcome.
    Opened(Backend, &'a Description, &'a [Tried]),
    /// It could not be opened, for this reason.
    NotOpened(&'a str),
}

impl Report {
    /// Looks at the host and its sandbox, and puts together what is known.
    pub async fn make(
        choice: BackendChoice,
        settings: &Settings,
        attacked: Attacked<'_>,
    ) -> Report {
        let settings = &backend::settings_for(choice, settings);
        let (backends, tried, not_opened) = match attacked {
            Attacked::Opened(backend, _, tried) => (vec![backend], tried, None),
            Attacked::NotOpened(reason) => (tried_backends(choice), &[][..], Some(reason)),
        };
        let mut checks = host::host(settings).await;
        for backend in &backends {
            checks.extend(match backend {
                Backend::Native => barriers::native(settings).await.findings,
                Backend::Docker => barriers::docker(settings).await.findings,
            });
        }
        let description = match attacked {
            Attacked::Opened(_, description, _) => Some(description),
            Attacked::NotOpened(_) => None,
        };
        let claims = TABLE.claims().map(|(area, claim)| of_claim(area, claim, tried, not_opened));
        Report {
            format: FORMAT,
            made_at: Timestamp::now(),
            subject: Subject::of(&backends, description, settings).await,
            not_opened: not_opened.map(str::to_owned),
            claims: claims.collect(),
            checks: checks.into_iter().map(Check::from).collect(),
            not_protected: TABLE.not_protected().map(str::to_owned).collect(),
        }
    }

    /// How many claims are in `state`.
    pub fn count(&self, state: ClaimState) -> usize {
        self.claims.iter().filter(|claim| claim.state == state).count()
    }

    /// How many claims are in which state, in one line.
    pub fn summary(&self) -> String {
        let counts =
            ClaimState::ALL.map(|state| format!("{} {}", self.count(state), state.as_str()));
        format!("{} claims: {}", self.claims.len(), counts.join(", "))
    }
}

fn tried_backends(choice: BackendChoice) -> Vec<Backend> {
    match choice {
        BackendChoice::Auto => vec![Backend::Native, Backend::Docker],
        BackendChoice::Native => vec![Backend::Native],
        BackendChoice::Docker => vec![Backend::Docker],
    }
}

fn of_claim(area: &Area, claim: &Claim, tried: &[Tried], not_opened: Option<&str>) -> ClaimReport {
    let attempts: Vec<Tried> = tried.iter().filter(|it| it.claim == claim.id).cloned().collect();
    let why = area.why_not_tried(claim).or(not_opened).map(str::to_owned);
    ClaimReport {
        id: claim.id.clone(),
        area: area.title.clone(),
        claim: claim.claim.clone(),
        state: ClaimState::of(&attempts),
        not_tried: why.filter(|_| attempts.is_empty()),
        attempts,
        tests: claim.tests.clone(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn tried(claim: &str, program: &str, outcome: Outcome) -> Tried {
        Tried {
            claim: claim.into(),
            program: program.into(),
            control: false,
            tried: "tries".into(),
            proves: "shows".into(),
            outcome,
            remark: None,
        }
    }

    /// A report of all claims, in which each attempt came to `outcome`.
    pub(crate) fn report(outcome: Outcome) -> Report {
        let attempts = TABLE.attempts().map(|(claim, it)| tried(&claim.id, &it.program, outcome));
        let attempts: Vec<Tried> = attempts.collect();
        let claims = TABLE.claims().map(|(area, claim)| of_claim(area, claim, &attempts, None));
        let check = Finding::ok("host", "kernel", "Linux 6.1.140");
        Report {
            format: FORMAT,
            made_at: "2026-11-29T00:00:00Z".parse().expect("a time"),
            subject: subject::tests::subject(),
            not_opened: None,
            claims: claims.collect(),
            checks: vec![check.into()],
            not_protected: TABLE.not_protected().map(str::to_owned).collect(),
        }
    }

    #[test]
    fn a_claim_is_as_good_as_its_worst_attempt_and_has_the_weight_of_its_best() {
        use Outcome::*;
        for (outcomes, state) in [
            (&[Pass, Pass][..], ClaimState::Held),
            (&[Vacuous, Pass], ClaimState::Held),
            (&[Vacuous, Vacuous], ClaimState::Vacuous),
            (&[Pass, Inside], ClaimState::Inside),
            (&[Pass, Inside, Untried], ClaimState::NotTried),
            (&[Pass, Untried, Fail], ClaimState::Failed),
            (&[], ClaimState::NotTried),
        ] {
            let attempts: Vec<_> = outcomes.iter().map(|it| tried("x", "a/b.py", *it)).collect();
            assert_eq!(ClaimState::of(&attempts), state, "{outcomes:?}");
        }
    }

    #[test]
    fn a_control_shows_nothing_of_a_claim_and_can_spoil_it() {
        let control = |outcome| Tried { control: true, ..tried("x", "a/b.py", outcome) };
        let vacuous = || tried("x", "a/b.py", Outcome::Vacuous);
        let of = |attempts: &[Tried]| ClaimState::of(attempts);
        assert_eq!(of(&[control(Outcome::Pass)]), ClaimState::NotTried);
        assert_eq!(of(&[control(Outcome::Pass), vacuous()]), ClaimState::Vacuous);
        assert_eq!(of(&[control(Outcome::Fail), vacuous()]), ClaimState::Failed);
    }

    #[test]
    fn every_claim_is_in_the_report_tried_or_with_the_reason_why_not() {
        let report = report(Outcome::Pass);
        assert_eq!(report.claims.len(), TABLE.claims().count());
        for claim in &report.claims {
            let is_tried = claim.state == ClaimState::Held;
            assert_eq!(is_tried, claim.not_tried.is_none(), "{claim:?}");
        }
        assert!(report.count(ClaimState::Held) >= 24, "{}", report.summary());
        let again: Report =
            serde_json::from_str(&serde_json::to_string(&report).expect("JSON")).expect("read");
        assert_eq!(again, report);
    }

    #[test]
    fn if_the_sandbox_was_not_opened_every_claim_says_so_that_could_have_been_tried() {
        let claims =
            TABLE.claims().map(|(area, claim)| of_claim(area, claim, &[], Some("no room")));
        for claim in claims {
            assert_eq!(claim.state, ClaimState::NotTried);
            assert!(claim.not_tried.is_some(), "{claim:?}");
        }
    }
}
