//! A report as a page for people: one file of HTML without scripts and without anything from elsewhere.
//!
//! What it quotes comes from hostile programs, an engine and a host. maud escapes every text, and what isn't
//! printable is escaped before.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use sandfleet_common::printable_line;

use super::{Check, ClaimReport, ClaimState, Report};
use crate::doctor::{State, attack::Outcome};

/// The longest text of a table's cell, in bytes.
const MAX_TEXT_BYTES: usize = 4 << 10;

/// The page; `json_sha256` is that of the report as JSON, which lies beside it.
pub fn html(report: &Report, json_sha256: &str) -> String {
    let at = report.made_at.strftime("%Y-%m-%d %H:%M UTC").to_string();
    let title = format!("sandfleet: attack on {}, {at}", report.subject.host.name);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width";
                // Nothing in here runs or is fetched, whatever got into it.
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                title { (text(&title)) }
                style { (PreEscaped(include_str!("page.css"))) }
            }
            body {
                h1 { "Attack report" }
                p.lead {
                    "Hostile programs were run in the sandbox of " strong { (text(&report.subject.host.name)) }
                    ", " (at) ". " (verdict(report))
                }
                (counts(report))
                (facts(report))
                (how_to_read())
                h2 { "What was tried" }
                (tables(report, |claim| !claim.attempts.is_empty(), tried_row, &["claim", "how it was tried, and what came of it"]))
                h2 { "What could not be tried here, and why" }
                p { "sandfleet's own test suites show these claims; the tests are named below each." }
                (tables(report, |claim| claim.attempts.is_empty(), untried_row, &["claim", "why it was not tried"]))
                (checks(&report.checks))
                h2 { "What the threat model does not cover" }
                ul { @for one in &report.not_protected { li { (markdown(one)) } } }
                footer {
                    p {
                        "The same as data is in report.json, whose SHA-256 is " code { (json_sha256) } ". "
                        "To compare it with another: " code { "sandfleet doctor --diff OLD NEW" } ". "
                        "To repeat it: " code { "sandfleet doctor --attack --report DIR" } "."
                    }
                }
            }
        }
    };
    page.into_string()
}

fn text(text: &str) -> String {
    printable_line(text, MAX_TEXT_BYTES)
}

/// The verdict in one sentence.
fn verdict(report: &Report) -> Markup {
    let failed = report.count(ClaimState::Failed);
    let unfinished =
        report.claims.iter().flat_map(|it| &it.attempts).any(|it| it.outcome == Outcome::Untried);
    html! {
        @if let Some(reason) = &report.not_opened {
            strong.bad { "Nothing was tried: the sandbox could not be opened." } " " (text(reason))
        } @else if failed > 0 {
            strong.bad { "Not everything was contained: " (failed) (plural(failed, " claim failed.", " claims failed.")) }
        } @else if unfinished {
            strong.bad { "Not everything was tried that could have been." }
        } @else {
            strong.good { "All that was tried was contained." }
        }
    }
}

fn plural(count: usize, one: &'static str, many: &'static str) -> &'static str {
    if count == 1 { one } else { many }
}

fn counts(report: &Report) -> Markup {
    html! {
        ul.counts {
            @for state in ClaimState::ALL {
                li { (badge(class(state), state.as_str())) " " (report.count(state)) }
            }
            li.sum { "of " (report.claims.len()) " claims" }
        }
    }
}

fn facts(report: &Report) -> Markup {
    html! {
        h2 { "What was attacked" }
        table.facts {
            @for (name, value) in report.subject.facts() {
                tr { th scope="row" { (text(&name)) } td { (text(&value)) } }
            }
        }
    }
}

fn how_to_read() -> Markup {
    let states = [
        (ClaimState::Held, "every attempt was contained."),
        (
            ClaimState::Vacuous,
            "every attempt was contained, and each would have been on this host without the sandbox.",
        ),
        (
            ClaimState::Inside,
            "some attempts got through to the sandbox's own kernel, which is not the host's.",
        ),
        (ClaimState::NotTried, "nothing was tried, or not all that there is."),
        (
            ClaimState::Failed,
            "an attempt was not contained, or its program could not do its work, so that it shows nothing.",
        ),
    ];
    html! {
        h2 { "How to read this" }
        p {
            "A claim is a promise of sandfleet's threat model. It is tried by hostile programs that run in the sandbox "
            "as it is configured on this host, each in a container of its own; a program says itself when it gets through, "
            "and sandfleet sees how it ended. An attempt marked " em { "control" } " is a program whose barrier was taken "
            "away on purpose: it has to notice, or its other attempts would show nothing. An attempt that was contained "
            "is no proof that another way out doesn't exist."
        }
        dl {
            @for (state, meaning) in states {
                dt { (badge(class(state), state.as_str())) }
                dd { (meaning) }
            }
        }
    }
}

/// The claims that `is_in` chooses, a table for each area.
fn tables(
    report: &Report,
    is_in: impl Fn(&&ClaimReport) -> bool,
    row: fn(&ClaimReport) -> Markup,
    heads: &[&str],
) -> Markup {
    let claims: Vec<&ClaimReport> = report.claims.iter().filter(is_in).collect();
    html! {
        @if claims.is_empty() { p { "None." } }
        @for group in claims.chunk_by(|a, b| a.area == b.area) {
            h3 { (text(&group[0].area)) }
            table.claims {
                thead { tr { th {} @for head in heads { th scope="col" { (*head) } } } }
                tbody { @for claim in group { (row(claim)) } }
            }
        }
    }
}

fn tried_row(claim: &ClaimReport) -> Markup {
    html! {
        tr {
            td { (badge(class(claim.state), claim.state.as_str())) }
            td { (markdown(&claim.claim)) (identity(claim)) }
            td {
                ul.attempts {
                    @for it in &claim.attempts {
                        li {
                            (badge(outcome_class(it.outcome), outcome_word(it.outcome))) " "
                            @if it.control { em { "control: " } }
                            "A program " (text(&it.tried)) ". "
                            @if !it.control { (shows(it.outcome)) (text(&it.proves)) ". " }
                            code { (text(&it.program)) }
                            @if let Some(remark) = &it.remark { div.remark { (text(remark)) } }
                        }
                    }
                }
            }
        }
    }
}

fn untried_row(claim: &ClaimReport) -> Markup {
    html! {
        tr {
            td { (badge(class(claim.state), claim.state.as_str())) }
            td { (markdown(&claim.claim)) (identity(claim)) }
            td { (markdown(claim.not_tried.as_deref().unwrap_or("no reason is given"))) }
        }
    }
}

fn identity(claim: &ClaimReport) -> Markup {
    html! {
        div.identity {
            code { (text(&claim.id)) } "; tests: "
            @for (at, test) in claim.tests.iter().enumerate() {
                @if at > 0 { ", " }
                (markdown(test))
            }
        }
    }
}

fn checks(checks: &[Check]) -> Markup {
    html! {
        h2 { "Checks of the host and its sandbox" }
        table.checks {
            thead { tr { th {} th scope="col" { "check" } th scope="col" { "what was seen" } } }
            tbody {
                @for check in checks {
                    tr {
                        td { (badge(check_class(check.state), check.state.as_str())) }
                        td { (text(&check.area)) ": " (text(&check.name)) }
                        td {
                            (text(&check.detail))
                            @if let Some(fix) = &check.fix { div.remark { "to do: " (text(fix)) } }
                        }
                    }
                }
            }
        }
    }
}

fn badge(class: &str, word: &str) -> Markup {
    html! { span class=(format!("badge {class}")) { (word) } }
}

fn class(state: ClaimState) -> &'static str {
    match state {
        ClaimState::Held => "good",
        ClaimState::Vacuous | ClaimState::Inside => "weak",
        ClaimState::NotTried => "none",
        ClaimState::Failed => "bad",
    }
}

fn outcome_word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Pass => "contained",
        Outcome::Vacuous => "of no weight",
        Outcome::Inside => "inside",
        Outcome::Untried => "not tried",
        Outcome::Fail => "FAILED",
    }
}

/// How what an attempt shows is introduced.
fn shows(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Pass => "It shows: ",
        _ => "Contained it would show: ",
    }
}

fn outcome_class(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Pass => "good",
        Outcome::Vacuous | Outcome::Inside => "weak",
        Outcome::Untried => "none",
        Outcome::Fail => "bad",
    }
}

fn check_class(state: State) -> &'static str {
    match state {
        State::Ok => "good",
        State::Warning => "weak",
        State::Missing => "bad",
        State::Untried | State::Unused => "none",
    }
}

/// The little Markdown that claims are written in: code, strong words, and links, of which the words stay: where
/// they lead is not on this page.
fn markdown(source: &str) -> Markup {
    let mut rest = source;
    let mut parts = Vec::new();
    while let Some(at) = rest.find(['`', '*', '[']) {
        let (before, from) = rest.split_at(at);
        let Some((part, after)) = span(from) else {
            // A sign like any other.
            let (sign, after) = from.split_at(1);
            parts.push(html! { (text(before)) (sign) });
            rest = after;
            continue;
        };
        parts.push(html! { (text(before)) (part) });
        rest = after;
    }
    parts.push(html! { (text(rest)) });
    html! { @for part in parts { (part) } }
}

/// What begins with a sign of Markdown, and what follows it.
fn span(from: &str) -> Option<(Markup, &str)> {
    if let Some(code) = from.strip_prefix('`') {
        let (code, after) = code.split_once('`')?;
        return Some((html! { code { (text(code)) } }, after));
    }
    if let Some(strong) = from.strip_prefix("**") {
        let (strong, after) = strong.split_once("**")?;
        return Some((html! { strong { (markdown(strong)) } }, after));
    }
    let (words, link) = from.strip_prefix('[')?.split_once("](")?;
    Some((html! { (text(words)) }, link.split_once(')')?.1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::report::tests::report;

    #[test]
    fn whatever_is_in_a_report_stays_text_on_the_page() {
        let hostile = "</td><script>alert(1)</script><img src=x onerror=y>\u{1b}[2J\u{202e}\"'&";
        let mut report = report(Outcome::Fail);
        report.subject.host.name = hostile.into();
        report.subject.versions = [(hostile.to_owned(), hostile.to_owned())].into();
        report.not_opened = Some(hostile.into());
        report.not_protected =
            vec![hostile.into(), format!("**{hostile}** `{hostile}` [{hostile}](x)")];
        for check in &mut report.checks {
            (check.area, check.name) = (hostile.into(), hostile.into());
            (check.detail, check.fix) = (hostile.into(), Some(hostile.into()));
        }
        for claim in &mut report.claims {
            (claim.id, claim.area, claim.claim) = (hostile.into(), hostile.into(), hostile.into());
            (claim.not_tried, claim.tests) = (Some(hostile.into()), vec![hostile.into()]);
            for it in &mut claim.attempts {
                (it.program, it.tried, it.proves) =
                    (hostile.into(), hostile.into(), hostile.into());
                it.remark = Some(hostile.into());
            }
        }
        let page = html(&report, "00");
        for tag in ["<script", "<img", "\u{1b}", "\u{202e}"] {
            assert!(!page.contains(tag), "{tag:?} is on the page");
        }
        assert!(page.contains("&lt;script&gt;"), "it is shown");
    }

    #[test]
    fn the_page_is_complete_without_anything_else() {
        let report = report(Outcome::Pass);
        let page = html(&report, "0123abcd");
        for outside in ["src=", "href=", "url(", "@import", "<script", "http:", "https:"] {
            assert!(!page.contains(outside), "{outside} leads elsewhere");
        }
        for claim in &report.claims {
            assert!(page.contains(&format!("<code>{}</code>", claim.id)), "{}", claim.id);
        }
        for part in
            ["All that was tried was contained", "2026-11-29 00:00 UTC", "0123abcd", "sha256:d1"]
        {
            assert!(page.contains(part), "{part}");
        }
    }

    #[test]
    fn the_verdict_says_what_went_wrong() {
        assert!(html(&report(Outcome::Fail), "").contains("claims failed."));
        assert!(html(&report(Outcome::Untried), "").contains("Not everything was tried"));
        let mut report = report(Outcome::Pass);
        report.not_opened = Some("no cgroup".into());
        assert!(html(&report, "").contains("could not be opened.</strong> no cgroup"));
    }

    #[test]
    fn markdown_becomes_code_strong_words_and_the_words_of_links() {
        let shown = markdown("**a `b`** <c> [d](e.md#f) 2 * 3 [x] `y").into_string();
        assert_eq!(shown, "<strong>a <code>b</code></strong> &lt;c&gt; d 2 * 3 [x] `y");
    }
}
