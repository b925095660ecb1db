//! The threat model is what the table of claims says.

use std::fs;

use sandfleet_worker::doctor::{claims::TABLE, threat_model};

use super::{entries_of_the_corpus, top};

#[test]
fn the_threat_model_says_what_the_table_of_claims_says() {
    let page = fs::read_to_string(top().join("docs/threat-model.md")).expect("the page is there");
    assert!(
        page == threat_model::page(),
        "docs/threat-model.md is stale, or was edited instead of worker/src/doctor/claims.toml and threat_model.md; run: \
         cargo run -- docs threat-model > docs/threat-model.md"
    );
}

#[test]
fn every_test_of_a_claim_exists() {
    let corpus = entries_of_the_corpus();
    let mut lost = Vec::new();
    for (_, claim) in TABLE.claims() {
        for test in &claim.tests {
            let name = test.split(' ').next().unwrap_or_default();
            let is_there = match name.split_once("::") {
                Some((file, test)) => fs::read_to_string(top().join(file))
                    .is_ok_and(|source| source.contains(&format!("fn {test}("))),
                // What has no slash is a remark about many.
                None => !name.contains('/') || corpus.iter().any(|entry| entry == name),
            };
            if !is_there {
                lost.push(format!("{}: {name}", claim.id));
            }
        }
    }
    assert!(lost.is_empty(), "{lost:#?}");
}
