//! The page docs/threat-model.md: `threat_model.md` with the table of claims.

use super::claims::{Area, TABLE};

/// The page.
pub fn page() -> String {
    let areas: Vec<String> = TABLE.areas.iter().map(section).collect();
    let exclusions: Vec<String> = TABLE.not_protected().map(item).collect();
    include_str!("threat_model.md")
        .replace("{{claims}}\n", &areas.concat())
        .replace("{{not protected}}\n", &exclusions.concat())
}

fn section(area: &Area) -> String {
    let mut text = format!("## {}\n\n| what stops it | shown by |\n|---|---|\n", area.title);
    for claim in &area.claims {
        let tests: Vec<String> = claim.tests.iter().map(|test| named(test)).collect();
        text.push_str(&format!("| {} | {} |\n", claim.claim, tests.join(", ")));
    }
    text + "\n"
}

/// A test as code, and the remark that may follow it as it is. What is no test's name is all remark.
fn named(test: &str) -> String {
    let (name, remark) = test.split_at(test.find(' ').unwrap_or(test.len()));
    match name.contains('/') {
        true => format!("`{name}`{remark}"),
        false => test.to_owned(),
    }
}

fn item(paragraph: &str) -> String {
    format!("- {}\n", paragraph.replace('\n', "\n  "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_claim_and_no_placeholder() {
        let page = page();
        for (_, claim) in TABLE.claims() {
            assert!(page.contains(&format!("\n| {} | ", claim.claim)), "{}", claim.id);
        }
        assert!(!page.contains("{{"), "a placeholder is left");
        assert!(page.contains("\n- **Side channels**"), "what is not protected is there");
    }

    #[test]
    fn a_test_is_code_and_its_remark_is_not() {
        assert_eq!(named("escape/mount"), "`escape/mount`");
        assert_eq!(named("a/b.rs::c (not under `x`)"), "`a/b.rs::c` (not under `x`)");
        assert_eq!(named("the whole corpus on `warm`"), "the whole corpus on `warm`");
    }
}
