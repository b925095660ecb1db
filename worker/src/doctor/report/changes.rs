//! What differs between two reports, such as those from before and after an update of the kernel.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Check, ClaimReport, ClaimState, Report};
use crate::doctor::{State, attack::Tried};

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Of which kind.
    pub kind: Kind,
    /// What differs.
    pub what: String,
    /// How it was, if it was there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<String>,
    /// How it is, if it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<String>,
}

/// A kind of difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A claim that held is broken, or was not tried.
    Worse,
    /// A claim that was broken or not tried holds.
    Better,
    /// Something else about the host, a check, a claim or an attempt.
    Changed,
    /// The older report doesn't have it.
    New,
    /// The newer report doesn't have it.
    Gone,
}

impl Kind {
    /// The word for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Worse => "WORSE",
            Kind::Better => "better",
            Kind::Changed => "changed",
            Kind::New => "new",
            Kind::Gone => "gone",
        }
    }
}

impl Change {
    /// In words, on one line.
    pub fn sentence(&self) -> String {
        let Change { kind, what, old, new } = self;
        let kind = kind.as_str();
        match (old, new) {
            (Some(old), Some(new)) => format!("{kind:7}  {what}: {old} -> {new}"),
            (Some(only), None) | (None, Some(only)) => format!("{kind:7}  {what}: {only}"),
            (None, None) => format!("{kind:7}  {what}"),
        }
    }
}

/// All that differs, what is worse first. Neither the times of the reports nor figures that differ from minute to
/// minute count: of a check only its state does.
pub fn between(old: &Report, new: &Report) -> Vec<Change> {
    let facts = compared(
        old.subject.facts().into_iter().collect(),
        new.subject.facts().into_iter().collect(),
        |old: &String, new| (old != new).then_some(Kind::Changed),
        Clone::clone,
    );
    let opened = |report: &Report| {
        let reason = report.not_opened.clone().map(|reason| ("the sandbox".to_owned(), reason));
        reason.into_iter().collect()
    };
    let opened = compared(
        opened(old),
        opened(new),
        |old: &String, new| (old != new).then_some(Kind::Changed),
        |reason| format!("could not be opened: {reason}"),
    );
    let checks = compared(
        by(&old.checks, |it| format!("check: {} / {}", it.area, it.name)),
        by(&new.checks, |it| format!("check: {} / {}", it.area, it.name)),
        |old, new| (old.state != new.state).then_some(Kind::Changed),
        |check: &&Check| seen(check),
    );
    let claims = compared(
        by(&old.claims, |it| format!("claim: {}", it.id)),
        by(&new.claims, |it| format!("claim: {}", it.id)),
        |old, new| turned(old.state, new.state),
        |claim: &&ClaimReport| reached(claim),
    );
    let attempts = compared(
        attempts(old, new),
        attempts(new, old),
        |old, new| (old.outcome != new.outcome).then_some(Kind::Changed),
        |tried: &&Tried| tried.outcome.as_str().to_owned(),
    );
    let wordings = compared(
        by(&old.claims, |it| format!("wording of claim: {}", it.id)),
        by(&new.claims, |it| format!("wording of claim: {}", it.id)),
        |old, new| (old.claim != new.claim).then_some(Kind::Changed),
        |claim: &&ClaimReport| format!("{:?}", claim.claim),
    );
    // A claim that is new or gone is told once.
    let wordings = wordings.into_iter().filter(|it| it.kind == Kind::Changed).collect();
    let mut changes = [opened, claims, facts, checks, attempts, wordings].concat();
    changes.sort_by_key(|change| change.kind);
    changes
}

fn by<T>(items: &[T], name: impl Fn(&T) -> String) -> BTreeMap<String, &T> {
    items.iter().map(|item| (name(item), item)).collect()
}

/// The attempts of `report` on claims that were tried in `other`, too: of the rest the claims say enough.
fn attempts<'a>(report: &'a Report, other: &Report) -> BTreeMap<String, &'a Tried> {
    let is_tried = |claim: &&ClaimReport| {
        other.claims.iter().any(|it| it.id == claim.id && !it.attempts.is_empty())
    };
    let tried = report.claims.iter().filter(is_tried).flat_map(|claim| &claim.attempts);
    let name = |it: &Tried| {
        let kind = if it.control { "control" } else { "attempt" };
        format!("{kind}: {} ({})", it.program, it.claim)
    };
    tried.map(|it| (name(it), it)).collect()
}

/// What differs between two sets of named things: those of both as `differ` says, and those of one of them.
fn compared<T>(
    old: BTreeMap<String, T>,
    new: BTreeMap<String, T>,
    differ: impl Fn(&T, &T) -> Option<Kind>,
    shown: impl Fn(&T) -> String,
) -> Vec<Change> {
    let gone = old.iter().filter(|(name, _)| !new.contains_key(*name)).map(|(name, it)| Change {
        kind: Kind::Gone,
        what: name.clone(),
        old: Some(shown(it)),
        new: None,
    });
    let there = new.iter().filter_map(|(name, now)| {
        let (kind, before) = match old.get(name) {
            None => (Kind::New, None),
            Some(before) => (differ(before, now)?, Some(shown(before))),
        };
        Some(Change { kind, what: name.clone(), old: before, new: Some(shown(now)) })
    });
    gone.chain(there).collect()
}

fn turned(old: ClaimState, new: ClaimState) -> Option<Kind> {
    // What was not contained was not contained, and of what was not tried nothing is known.
    let is_shown = |state| state > ClaimState::NotTried;
    match (is_shown(old), is_shown(new)) {
        _ if old == new => None,
        (true, false) => Some(Kind::Worse),
        (false, true) => Some(Kind::Better),
        (false, false) if new == ClaimState::Failed => Some(Kind::Worse),
        _ => Some(Kind::Changed),
    }
}

fn seen(check: &Check) -> String {
    match check.state {
        State::Ok => State::Ok.as_str().to_owned(),
        state => format!("{} ({})", state.as_str(), check.detail),
    }
}

/// How a claim came out, with what spoiled it.
fn reached(claim: &ClaimReport) -> String {
    let spoiled = claim.attempts.iter().find(|it| !it.outcome.is_contained());
    let why = spoiled.map(|it| format!("{}: {}", it.program, it.remark.as_deref().unwrap_or("")));
    let why = why.or_else(|| claim.not_tried.clone());
    let state = claim.state.as_str();
    why.map_or_else(|| state.to_owned(), |why| format!("{state} ({why})"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{attack::Outcome, report::tests::report};

    fn sentences(old: &Report, new: &Report) -> Vec<String> {
        between(old, new).iter().map(Change::sentence).collect()
    }

    fn claim<'a>(report: &'a mut Report, id: &str) -> &'a mut ClaimReport {
        report.claims.iter_mut().find(|claim| claim.id == id).expect("it is there")
    }

    #[test]
    fn a_report_differs_from_itself_in_nothing_and_its_time_is_no_difference() {
        let old = report(Outcome::Pass);
        let mut new = old.clone();
        new.made_at = "2027-01-01T00:00:00Z".parse().expect("a time");
        new.checks[0].detail = "Linux 6.1.141".into();
        assert_eq!(between(&old, &new), []);
    }

    #[test]
    fn a_new_kernel_and_a_claim_that_it_breaks_are_told_the_claim_first() {
        let old = report(Outcome::Pass);
        let mut new = old.clone();
        new.subject.host.kernel = "Linux 7.0".into();
        new.checks[0].state = State::Warning;
        new.checks[0].detail = "CVE-2027-1".into();
        let keys = claim(&mut new, "odd-corners");
        keys.state = ClaimState::Failed;
        keys.attempts[0].outcome = Outcome::Fail;
        keys.attempts[0].remark = Some("BREACH: a key".into());
        let said = sentences(&old, &new);
        assert_eq!(
            said,
            [
                "WORSE    claim: odd-corners: held -> FAILED (escape/keyctl.py: BREACH: a key)",
                "changed  kernel: Linux 6.1.0-37-amd64 #1 SMP Debian 6.1.140-1 -> Linux 7.0",
                "changed  check: host / kernel: ok -> warning (CVE-2027-1)",
                "changed  attempt: escape/keyctl.py (odd-corners): PASS -> FAIL",
            ]
        );
        let back = between(&new, &old);
        assert_eq!(back[0].kind, Kind::Better, "{back:?}");
    }

    #[test]
    fn a_claim_that_is_no_longer_tried_is_worse_and_one_that_breaks_untried_too() {
        use ClaimState::*;
        for (old, new, kind) in [
            (Held, NotTried, Some(Kind::Worse)),
            (Vacuous, Failed, Some(Kind::Worse)),
            (Inside, NotTried, Some(Kind::Worse)),
            (NotTried, Failed, Some(Kind::Worse)),
            (Failed, NotTried, Some(Kind::Changed)),
            (NotTried, Held, Some(Kind::Better)),
            (Failed, Inside, Some(Kind::Better)),
            (Held, Vacuous, Some(Kind::Changed)),
            (Inside, Held, Some(Kind::Changed)),
            (NotTried, NotTried, None),
        ] {
            assert_eq!(turned(old, new), kind, "{old:?} {new:?}");
        }
    }

    #[test]
    fn claims_attempts_checks_and_versions_that_come_and_go_are_told() {
        let old = report(Outcome::Pass);
        let mut new = old.clone();
        new.claims.retain(|claim| claim.id != "landlock");
        let mut added = claim(&mut new, "time-limit").clone();
        added.id = "power-limit".into();
        added.attempts.clear();
        new.claims.push(added);
        claim(&mut new, "memory-limit").claim = "otherwise".into();
        new.subject.versions = [("runsc".to_owned(), "1".to_owned())].into();
        new.checks.clear();
        let said = sentences(&old, &new);
        for part in [
            "gone     claim: landlock",
            "new      claim: power-limit",
            "changed  wording of claim: memory-limit",
            "gone     version of runc: 1.1.5",
            "new      version of runsc: 1",
            "gone     check: host / kernel",
        ] {
            assert!(said.iter().any(|it| it.starts_with(part)), "{part}: {said:#?}");
        }
        assert_eq!(said.len(), 6, "{said:#?}");
    }

    #[test]
    fn a_sandbox_that_can_not_be_opened_any_more_is_told() {
        let old = report(Outcome::Pass);
        let mut new = old.clone();
        new.not_opened = Some("no cgroup".into());
        let said = sentences(&old, &new);
        assert_eq!(said, ["new      the sandbox: could not be opened: no cgroup"]);
    }
}
