//! Results of submissions as JUnit's XML: a suite for each, a case for each test.

use std::fmt::Write;

use sandfleet_common::{JobResult, Status, Verdict, is_printable};

/// The XML of these submissions, each with its name and its result or why it has none.
pub fn junit(package: &str, results: &[(String, Result<JobResult, String>)]) -> String {
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites");
    let mut attribute = |name: &str, value: &str| {
        _ = write!(text, " {name}=\"{}\"", escaped(value));
    };
    attribute("name", package);
    text.push_str(">\n");
    for (name, result) in results {
        suite(&mut text, name, result);
    }
    text.push_str("</testsuites>\n");
    text
}

/// A case, and what is said of it.
struct Case {
    name: String,
    seconds: f64,
    /// The element and its message.
    said: Option<(&'static str, String)>,
}

fn suite(text: &mut String, name: &str, result: &Result<JobResult, String>) {
    let cases = cases(result);
    let count = |element| {
        cases.iter().filter(|case| case.said.as_ref().is_some_and(|it| it.0 == element)).count()
    };
    // Writing to a string does not fail.
    _ = writeln!(
        text,
        "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\">",
        escaped(name),
        cases.len(),
        count("failure"),
        count("error"),
        count("skipped")
    );
    for case in &cases {
        let head = format!(
            "    <testcase classname=\"{}\" name=\"{}\" time=\"{:.3}\"",
            escaped(name),
            escaped(&case.name),
            case.seconds
        );
        _ = match &case.said {
            None => writeln!(text, "{head}/>"),
            Some((element, message)) => writeln!(
                text,
                "{head}>\n      <{element} message=\"{}\"/>\n    </testcase>",
                escaped(message)
            ),
        };
    }
    text.push_str("  </testsuite>\n");
}

fn cases(result: &Result<JobResult, String>) -> Vec<Case> {
    let whole = |element, message: String| {
        vec![Case { name: "all tests".into(), seconds: 0.0, said: Some((element, message)) }]
    };
    let result = match result {
        Err(why) => return whole("error", why.clone()),
        Ok(result) => result,
    };
    if result.tests.is_empty() {
        let element = if result.status == Status::Failed { "failure" } else { "error" };
        return whole(element, result.message.to_string());
    }
    let case = |test: &sandfleet_common::TestReport| Case {
        name: test.name.clone(),
        seconds: test.usage.map_or(0.0, |usage| usage.wall_time_ms as f64 / 1000.0),
        said: match test.verdict {
            Some(Verdict::Accepted) => None,
            None => Some(("skipped", test.message.to_string())),
            Some(verdict) if verdict.status() == Status::Error => {
                Some(("error", test.message.to_string()))
            }
            Some(verdict) => Some(("failure", format!("{verdict}: {}", test.message))),
        },
    };
    result.tests.iter().map(case).collect()
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c if is_printable(c) => escaped.push(c),
            c => escaped.extend(c.escape_default()),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_is_called_is_no_markup() {
        let results = [("a\"<&\u{0}".to_owned(), Err("no <language>".to_owned()))];
        let text = junit("p", &results);
        assert!(text.contains(r#"<testsuite name="a&quot;&lt;&amp;\u{0}" tests="1""#), "{text}");
        assert!(text.contains(r#"<error message="no &lt;language&gt;"/>"#), "{text}");
        assert_eq!(text.matches('\u{0}').count(), 0);
    }
}
