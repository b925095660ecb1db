//! The edits of the mutation suites and of the census fit the source.

use sandfleet_tests::{Edit, Mutation};

use super::{entries_of_the_corpus, top};

#[test]
fn every_mutation_fits_the_source_and_names_who_notices_it() {
    let corpus = entries_of_the_corpus();
    let names: Vec<&str> = corpus.iter().filter_map(|entry| entry.split('/').nth(1)).collect();
    let mut faults = Vec::new();
    for mutation in Mutation::all(top()).expect("the lists are there") {
        let barrier = &mutation.barrier;
        let unfit = mutation.edits.iter().filter_map(|edit| edit.apply(top()).err());
        faults.extend(unfit.map(|error| format!("{barrier}: {error:#}")));
        let unknown = mutation.programs.iter().filter(|name| !names.contains(&name.as_str()));
        faults.extend(unknown.map(|name| format!("{barrier}: the corpus has no {name}")));
        if mutation.edits.is_empty() || (mutation.programs.is_empty() && mutation.test.is_none()) {
            faults.push(format!("{barrier}: no edit, or no program and no test"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn what_the_census_takes_away_fits_the_source() {
    let edits = Edit::of_the_census(top()).expect("the list is there");
    let unfit: Vec<_> = edits.iter().filter_map(|edit| edit.apply(top()).err()).collect();
    assert!(!edits.is_empty() && unfit.is_empty(), "{unfit:#?}");
}
