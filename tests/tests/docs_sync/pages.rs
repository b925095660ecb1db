//! Files, tests, metrics and settings that pages name exist.

use std::fs;

use super::{entries_of_the_corpus, files_below, protocol::full_result, quoted, top};

#[test]
fn what_the_threat_model_names_exists() {
    let page = fs::read_to_string(top().join("docs/threat-model.md")).expect("the page is there");
    let corpus = entries_of_the_corpus();
    let groups: Vec<&str> = corpus.iter().filter_map(|entry| entry.split('/').next()).collect();
    let (mut tests, mut entries) = (0, 0);
    for name in quoted(&page) {
        if let Some((file, test)) = name.split_once("::") {
            let source = fs::read_to_string(top().join(file));
            let source = source.unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(source.contains(&format!("fn {test}(")), "there is no {name}");
            tests += 1;
        } else if name.split_once('/').is_some_and(|(group, _)| groups.contains(&group)) {
            assert!(corpus.iter().any(|entry| entry == name), "the corpus has no {name}");
            entries += 1;
        }
    }
    assert!(tests > 30 && entries > 60, "{tests} tests and {entries} entries were looked for");
}

/// Names in the first column of the tables of a page that is made from the code; a test beside the code sees
/// to it that the page says what the code says.
fn rows(page: &str) -> Vec<String> {
    let text = fs::read_to_string(top().join(page)).expect("the page is there");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let rows: Vec<String> = rows.map(str::to_owned).collect();
    assert!(rows.len() > 10, "{page} has its table: {rows:?}");
    rows
}

/// What a page can name that has to exist.
struct Existing {
    files: Vec<String>,
    metrics: Vec<String>,
    settings: Vec<String>,
    /// Of a result, with what they are in: they look like settings.
    fields: Vec<String>,
}

impl Existing {
    fn all() -> Self {
        let mut files = Vec::new();
        files_below(top(), &mut files);
        let result = serde_json::to_value(full_result()).expect("serialises");
        let nested = result.as_object().into_iter().flatten().filter_map(|(name, value)| {
            Some(value.as_object()?.keys().map(move |inner| format!("{name}.{inner}")))
        });
        let fields = nested.flatten().collect();
        let (metrics, settings) = (rows("docs/metrics.md"), rows("docs/configuration.md"));
        Self { files, metrics, settings, fields }
    }

    /// Which words of `page`, a page's text, name a metric, a setting or a file that there isn't.
    fn lacks<'a>(&self, directory: &str, page: &'a str) -> Vec<&'a str> {
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '-');
        let words = page.split(|c| !is_part(c));
        let words = words.map(|word| word.trim_start_matches("../").trim_matches(['.', '-', '/']));
        // Of a link only the part before its anchor.
        let links = page.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
        let links = links.filter(|link| !link.is_empty() && !link.contains("://"));
        let is_lost = |link: &&str| !top().join(directory).join(link).exists();
        let mut lacking: Vec<&str> = words.filter(|word| self.is_unknown(word)).collect();
        lacking.extend(links.filter(is_lost));
        lacking
    }

    fn is_unknown(&self, word: &str) -> bool {
        if word.starts_with("sandfleet_") {
            return word != "sandfleet_worker" && !self.is_metric(word);
        }
        if let Some(variable) = word.strip_prefix("SANDFLEET_") {
            // The file's place, and how all begin.
            let is_it = |setting: &String| setting.replace('.', "_").to_uppercase() == variable;
            return !["CONFIG", "TEST_", ""].contains(&variable)
                && !self.settings.iter().any(is_it);
        }
        // No program of a job is in Rust, Lua or Markdown; what the bench writes is no file before.
        let is_source = [".rs", ".lua", ".md"].iter().any(|end| word.ends_with(end));
        let top = word.split_once('/').map(|(top, _)| format!("{top}/"));
        let is_path = top.is_some_and(|top| self.files.iter().any(|file| file.starts_with(&top)));
        match is_source || is_path {
            true => word != "bench.md" && !self.is_file(word),
            false => self.looks_like_a_setting(word) && !self.is_setting_or_field(word),
        }
    }

    fn is_metric(&self, word: &str) -> bool {
        let parts = ["_bucket", "_count", "_sum"].map(|part| word.strip_suffix(part));
        let mut names = parts.into_iter().flatten().chain([word]);
        names.any(|name| self.metrics.iter().any(|metric| metric == name))
    }

    /// Whether it is the end of a file's path, or the beginning.
    fn is_file(&self, word: &str) -> bool {
        let (end, beginning) = (format!("/{word}"), format!("{word}/"));
        let is_it =
            |file: &String| file == word || file.ends_with(&end) || file.starts_with(&beginning);
        self.files.iter().any(is_it)
    }

    fn looks_like_a_setting(&self, word: &str) -> bool {
        let Some((area, name)) = word.rsplit_once('.') else { return false };
        // An area of areas, such as limits.max, is no setting.
        let is_area = self.settings.iter().any(|it| it.starts_with(&format!("{word}.")));
        let area = format!("{area}.");
        let is_name = name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        !is_area
            && is_name
            && name != "jsonl"
            && self.settings.iter().any(|it| it.starts_with(&area))
    }

    fn is_setting_or_field(&self, word: &str) -> bool {
        self.settings.iter().chain(&self.fields).any(|known| known == word)
    }
}

/// Tests that a page names, as `file::test`, that there aren't.
fn lost_tests(page: &str) -> Vec<&str> {
    let is_lost = |name: &&str| {
        let Some((file, test)) = name.split_once("::") else { return false };
        let lacks = |source: String| !source.contains(&format!("fn {test}("));
        file.ends_with(".rs") && fs::read_to_string(top().join(file)).map_or(true, lacks)
    };
    quoted(page).filter(is_lost).collect()
}

#[test]
fn what_the_pages_name_exists() {
    let existing = Existing::all();
    let is_page =
        |file: &&String| file.starts_with("docs/") && file.ends_with(".md") || *file == "README.md";
    let pages: Vec<&String> = existing.files.iter().filter(is_page).collect();
    assert!(pages.len() > 10, "{pages:?}");
    let mut lacking = Vec::new();
    for page in pages {
        let text = fs::read_to_string(top().join(page)).expect("it is listed");
        let directory = page.rsplit_once('/').map_or("", |(directory, _)| directory);
        let lost = existing.lacks(directory, &text).into_iter().chain(lost_tests(&text));
        lacking.extend(lost.map(|word| format!("{page}: {word}")));
    }
    assert!(lacking.is_empty(), "{lacking:#?}");
}

#[test]
fn a_page_that_names_what_does_not_exist_is_found() {
    let existing = Existing::all();
    for fine in [
        "`sandfleet_job_stage_duration_seconds`, `sandfleet_job_stage_duration_seconds_sum`.",
        "`store.result_ttl_ms` and `sandbox.landlock_abi`, SANDFLEET_WORKER_SLOTS",
        "`worker/src/main.rs`, `main.rs`, deploy/images/build, [it](../README.md#x), `sys.modules`",
        "main.py, in.csv, worker.",
    ] {
        assert!(
            existing.lacks("docs", fine).is_empty(),
            "{fine}: {:?}",
            existing.lacks("docs", fine)
        );
    }
    for lost in [
        "sandfleet_stage_seconds",
        "sandfleet_job_stage_duration_seconds_total",
        "store.result_ttl",
        "SANDFLEET_WORKER_SLOT",
        "worker/src/nothing.rs",
        "nothing.rs",
        "deploy/images/nothing",
    ] {
        assert_eq!(existing.lacks("docs", &format!("see `{lost}`.")), [lost]);
    }
    assert_eq!(existing.lacks("docs", "[it](nothing.md)"), ["nothing.md", "nothing.md"]);
    let lost = "tests/tests/docs_sync/main.rs::nothing";
    assert_eq!(
        lost_tests(&format!(
            "`{lost}`, `tests/tests/docs_sync/main.rs::the_apparmor_profile_is_one`"
        )),
        [lost]
    );
}
