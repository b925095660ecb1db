//! What sandfleet promises, the tests that show it and how it is tried on a host: `claims.toml`, the one source of
//! the threat model, of the attack and of its report.

use std::sync::LazyLock;

use serde::Deserialize;

/// The table that this program was built with.
pub static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let table = toml::from_str(include_str!("claims.toml"));
    table.expect("a unit test reads the same file")
});

/// All claims, and what none of them covers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// Claims by who attacks what.
    #[serde(rename = "area")]
    pub areas: Vec<Area>,
    /// What is not protected: Markdown, a paragraph each.
    not_protected: Vec<NotProtected>,
}

/// The claims about one attacker and what it attacks.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Area {
    /// Its name in reports.
    pub id: String,
    /// Its heading.
    pub title: String,
    /// Why doctor tries none of its claims, unless a claim says otherwise.
    not_tried: Option<String>,
    /// Its claims.
    #[serde(rename = "claim")]
    pub claims: Vec<Claim>,
}

/// One promise.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Its name in reports, which outlives its wording.
    pub id: String,
    /// What holds: Markdown with code and without links.
    pub claim: String,
    /// What shows it: an entry of the corpus or a test, and a remark if there is one.
    pub tests: Vec<String>,
    not_tried: Option<String>,
    /// How doctor tries it.
    #[serde(default, rename = "attempt")]
    pub attempts: Vec<Attempt>,
}

/// One attempt on the sandbox.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attempt {
    /// The program's path in the corpus `tests/hostile`.
    pub program: String,
    /// What runs before it, in a container of its own, and leaves something for it to find.
    pub after: Option<String>,
    /// What it tries.
    pub tried: String,
    /// What is shown when it fails to.
    pub proves: String,
    /// Whether it takes what it can get: it runs with small limits, last, and only if all else was contained.
    #[serde(default)]
    pub takes_room: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NotProtected {
    text: String,
}

impl Table {
    /// All claims with their areas.
    pub fn claims(&self) -> impl Iterator<Item = (&Area, &Claim)> {
        self.areas.iter().flat_map(|area| area.claims.iter().map(move |claim| (area, claim)))
    }

    /// All attempts with their claims.
    pub fn attempts(&self) -> impl Iterator<Item = (&Claim, &Attempt)> {
        let of = |claim| move |attempt| (claim, attempt);
        self.claims().flat_map(move |(_, claim)| claim.attempts.iter().map(of(claim)))
    }

    /// What is not protected: Markdown, a paragraph each.
    pub fn not_protected(&self) -> impl Iterator<Item = &str> {
        self.not_protected.iter().map(|one| one.text.as_str())
    }
}

impl Area {
    /// Why doctor doesn't try `claim` of this area; nothing if it does.
    pub fn why_not_tried<'a>(&'a self, claim: &'a Claim) -> Option<&'a str> {
        let why = claim.not_tried.as_deref().or(self.not_tried.as_deref());
        why.filter(|_| claim.attempts.is_empty())
    }
}

impl Attempt {
    /// What the threat model calls its program.
    pub fn entry(&self) -> &str {
        self.program.rsplit_once('.').map_or(&self.program, |(entry, _)| entry)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_claim_has_an_id_of_its_own_and_is_tried_or_says_why_not() {
        let mut ids = BTreeSet::new();
        for (area, claim) in TABLE.claims() {
            let id = &claim.id;
            assert!(ids.insert(id), "{id} is there twice");
            assert!(id.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'));
            assert!(!claim.tests.is_empty(), "{id} has no test");
            let is_tried = !claim.attempts.is_empty();
            assert!(is_tried != area.why_not_tried(claim).is_some(), "{id}: tried, or why not");
            assert!(!(is_tried && claim.not_tried.is_some()), "{id} is tried and says why not");
            // A table of Markdown has no other columns.
            assert!(!claim.claim.contains('|') && !claim.tests.concat().contains('|'), "{id}");
        }
        assert!(ids.len() > 60, "{ids:?}");
    }

    #[test]
    fn what_is_tried_is_among_the_tests_of_its_claim_once() {
        let mut programs = BTreeSet::new();
        for (claim, attempt) in TABLE.attempts() {
            assert!(programs.insert(&attempt.program), "{} is tried twice", attempt.program);
            let is_test = |test: &&String| test.split(' ').next() == Some(attempt.entry());
            let is_there = claim.tests.iter().find(is_test).is_some();
            assert!(is_there, "{} doesn't name {} among its tests", claim.id, attempt.entry());
        }
        assert!(programs.len() >= 40, "{}", programs.len());
    }
}
