//! The dashboards and alerts of `deploy` against the metrics that the code registers. Grafana and Prometheus would show
//! nothing at all for a name that was mistyped. `bash tests/run observe` shows them with data.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use promql_parser::parser::{self, AggregateExpr, Expr, LabelModifier, VectorSelector};
use sandfleet_worker::metrics::{Described, described};
use serde_json::Value;

/// What Prometheus or Kubernetes adds to every series.
const TARGET_LABELS: [&str; 3] = ["namespace", "job", "instance"];
/// In which a counter may stand.
const RATES: [&str; 3] = ["rate", "irate", "increase"];
/// Of the alerts and rules, which have no variables.
const OF_RULES: &str = "sandfleet:";

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a checkout").join("deploy")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every metric by its name, with the names of a histogram's parts.
fn metrics() -> BTreeMap<String, (&'static str, BTreeSet<String>)> {
    let mut metrics = BTreeMap::new();
    for Described { name, kind, labels } in described().into_iter().flatten() {
        let mut labels: BTreeSet<String> = labels.iter().map(|label| (*label).to_owned()).collect();
        labels.extend(TARGET_LABELS.map(str::to_owned));
        if kind == "histogram" {
            for part in ["_count", "_sum"] {
                metrics.insert(format!("{name}{part}"), ("counter", labels.clone()));
            }
            labels.insert("le".into());
            metrics.insert(format!("{name}_bucket"), ("counter", labels));
        } else {
            metrics.insert(name.to_owned(), (kind, labels));
        }
    }
    let target = || TARGET_LABELS.iter().map(|label| (*label).to_owned()).collect();
    for (name, kind) in [
        ("process_cpu_seconds_total", "counter"),
        ("process_resident_memory_bytes", "gauge"),
        ("process_open_fds", "gauge"),
        ("process_max_fds", "gauge"),
        ("process_start_time_seconds", "gauge"),
        ("up", "gauge"),
    ] {
        metrics.insert(name.into(), (kind, target()));
    }
    metrics
}

/// What is wrong with an expression.
struct Linter<'a> {
    metrics: &'a BTreeMap<String, (&'static str, BTreeSet<String>)>,
    /// What every selector has to match by.
    required: &'a [&'a str],
    mistakes: Vec<String>,
}

impl Linter<'_> {
    /// Looks at `expr`, which is an argument of `function` if it is one, and gives back the labels of its series.
    fn check(&mut self, expr: &Expr, function: &str) -> BTreeSet<String> {
        match expr {
            Expr::VectorSelector(selector) => self.selector(selector, function),
            Expr::MatrixSelector(matrix) => self.selector(&matrix.vs, function),
            Expr::Call(call) => {
                let labels = call.args.args.iter().map(|arg| self.check(arg, call.func.name));
                labels.flatten().collect()
            }
            Expr::Aggregate(AggregateExpr { expr, modifier, .. }) => {
                let labels = self.check(expr, "");
                if let Some(LabelModifier::Include(by)) = modifier {
                    for label in by.labels.iter().filter(|label| !labels.contains(*label)) {
                        self.mistakes.push(format!("no series is there that has a label {label}"));
                    }
                    return by.labels.iter().cloned().collect();
                }
                BTreeSet::new()
            }
            Expr::Binary(binary) => {
                if binary.op.to_string() == "or" && is_vector(&binary.rhs) {
                    self.mistakes.push("`or vector` hides that a metric is absent".into());
                }
                let mut labels = self.check(&binary.lhs, "");
                labels.extend(self.check(&binary.rhs, ""));
                labels
            }
            Expr::Paren(paren) => self.check(&paren.expr, function),
            Expr::Unary(unary) => self.check(&unary.expr, function),
            Expr::Subquery(subquery) => self.check(&subquery.expr, function),
            _ => BTreeSet::new(),
        }
    }

    fn selector(&mut self, selector: &VectorSelector, function: &str) -> BTreeSet<String> {
        let name = selector.name.clone().unwrap_or_default();
        if name.starts_with(OF_RULES) {
            return BTreeSet::from(["namespace".to_owned()]);
        }
        let Some((kind, labels)) = self.metrics.get(&name) else {
            self.mistakes.push(format!("nothing exports {name}"));
            return BTreeSet::new();
        };
        if *kind == "counter"
            && !RATES.contains(&function)
            && !matches!(function, "absent" | "count")
        {
            self.mistakes.push(format!("the counter {name} is under none of {RATES:?}"));
        }
        if *kind != "counter" && RATES.contains(&function) {
            self.mistakes.push(format!("{name} is no counter"));
        }
        let matched: BTreeSet<_> =
            selector.matchers.matchers.iter().map(|matcher| matcher.name.as_str()).collect();
        for label in matched.iter().filter(|label| !labels.contains(**label)) {
            self.mistakes.push(format!("{name} has no label {label}"));
        }
        for label in self.required.iter().filter(|label| !matched.contains(*label)) {
            self.mistakes.push(format!("{name} is not matched by {label}"));
        }
        labels.clone()
    }
}

fn is_vector(expr: &Expr) -> bool {
    match expr {
        Expr::Call(call) => call.func.name == "vector",
        Expr::Paren(paren) => is_vector(&paren.expr),
        _ => false,
    }
}

/// What is wrong with the text of an expression.
fn mistakes(text: &str, required: &[&str]) -> Vec<String> {
    let text = text.replace("$__rate_interval", "5m");
    let metrics = metrics();
    let mut linter = Linter { metrics: &metrics, required, mistakes: Vec::new() };
    match parser::parse(&text) {
        Ok(expr) => _ = linter.check(&expr, ""),
        Err(error) => linter.mistakes.push(error),
    }
    linter.mistakes
}

fn boards() -> Vec<(String, Value)> {
    let directory = deploy().join("grafana/dashboards");
    let boards = ["fleet", "worker", "security", "tenants"].map(|name| {
        let text = read(&directory.join(format!("{name}.json")));
        (name.to_owned(), serde_json::from_str(&text).expect("JSON"))
    });
    assert_eq!(fs::read_dir(directory).expect("a directory").count(), boards.len());
    boards.into()
}

fn panels(board: &Value) -> Vec<&Value> {
    let panels = board["panels"].as_array().expect("panels").iter();
    panels.filter(|panel| panel["type"] != "row").collect()
}

#[test]
fn mistakes_in_expressions_are_found() {
    for (text, part) in [
        ("sum(rate(sandfleet_job_result_total[5m]))", "nothing exports"),
        ("sum by (colour) (rate(sandfleet_job_results_total[5m]))", "label colour"),
        ("sandfleet_job_results_total{colour=\"red\"}", "has no label colour"),
        ("sum(sandfleet_job_results_total)", "is under none of"),
        ("rate(sandfleet_worker_slots[5m])", "is no counter"),
        ("sandfleet_worker_slots or vector(0)", "or vector"),
        ("sum(", "unclosed"),
    ] {
        let found = mistakes(text, &[]);
        assert!(found.iter().any(|mistake| mistake.contains(part)), "{text}: {found:?}");
    }
    assert_eq!(mistakes("sandfleet_worker_slots", &["namespace"]).len(), 1);
    assert_eq!(mistakes("sandfleet_worker_slots{namespace=\"a\"}", &["namespace"]), [""; 0]);
}

#[test]
fn every_panel_has_a_title_a_unit_advice_and_sound_queries() {
    let mut wrong = Vec::new();
    for (name, board) in boards() {
        let mut titles = BTreeSet::new();
        for panel in panels(&board) {
            let title = panel["title"].as_str().unwrap_or_default();
            let mut note = |what: String| wrong.push(format!("{name}, {title:?}: {what}"));
            if title.is_empty() || !titles.insert(title.to_owned()) {
                note("has no title of its own".into());
            }
            if panel["description"].as_str().is_none_or(|text| text.len() < 20) {
                note("doesn't say what to do when it looks bad".into());
            }
            if panel["fieldConfig"]["defaults"]["unit"].as_str().is_none_or(str::is_empty) {
                note("has no unit".into());
            }
            if panel["datasource"]["uid"] != "${datasource}" {
                note("has a data source of its own".into());
            }
            let targets = panel["targets"].as_array().map(Vec::as_slice).unwrap_or_default();
            if targets.is_empty() {
                note("asks nothing".into());
            }
            let mut ids = BTreeSet::new();
            for target in targets {
                let text = target["expr"].as_str().expect("a query");
                mistakes(text, &["namespace"])
                    .into_iter()
                    .for_each(|what| note(format!("{what}: {text}")));
                if text.contains('[')
                    && !text.contains("[$__rate_interval]")
                    && !text.contains("[1h]")
                {
                    note(format!("has a fixed range: {text}"));
                }
                if !ids.insert(target["refId"].to_string()) {
                    note("has two queries of one name".into());
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_board_has_its_variables_and_leads_to_the_others_and_to_a_jobs_log_and_trace() {
    let boards = boards();
    let uids: BTreeSet<&str> = boards.iter().filter_map(|(_, it)| it["uid"].as_str()).collect();
    assert_eq!(uids.len(), boards.len());
    for (name, board) in &boards {
        let variables = board["templating"]["list"].as_array().expect("variables");
        let named = |wanted: &str| {
            let found = variables.iter().find(|variable| variable["name"] == wanted);
            found.unwrap_or_else(|| panic!("{name}: no variable {wanted}"))
        };
        assert_eq!(named("datasource")["query"], "prometheus", "{name}");
        for variable in ["namespace", "job", "worker", "language"] {
            let variable = named(variable);
            assert_eq!(variable["multi"], true, "{name}: {variable}");
            assert_eq!(variable["allValue"], ".*", "{name}: {variable}");
            assert_eq!(variable["datasource"]["uid"], "${datasource}", "{name}: {variable}");
            let query = variable["query"].as_str().expect("a query");
            let inner = query.strip_prefix("label_values(").and_then(|it| it.strip_suffix(')'));
            let (selector, label) = inner.expect("its form").rsplit_once(", ").expect("a label");
            let metrics = metrics();
            let metric = selector.split('{').next().expect("a name");
            assert!(metrics[metric].1.contains(label), "{name}: {query}");
        }
        assert_eq!(named("job_id")["type"], "textbox", "{name}");
        let links = board["links"].as_array().expect("links");
        let urls: Vec<&str> = links.iter().filter_map(|link| link["url"].as_str()).collect();
        for other in uids.iter().filter(|uid| board["uid"] != **uid) {
            assert!(urls.contains(&format!("/d/{other}").as_str()), "{name}: no link to {other}");
        }
        for source in ["${loki}", "${tempo}"] {
            let is_it = |url: &&str| url.starts_with("/explore") && url.contains(source);
            let url = urls.iter().find(|url| is_it(url)).expect("a link");
            assert!(url.contains("${job_id}"), "{name}: {url}");
        }
    }
}

#[test]
fn every_metric_is_on_a_board() {
    let shown: String = boards().iter().map(|(_, board)| board.to_string()).collect();
    let rules = read(&deploy().join("prometheus/rules.yaml"));
    // Of use in an expression of one's own only.
    let aside = [
        "sandfleet_fleet_queue_consumers",
        "sandfleet_fleet_service_answered_timestamp_seconds",
        "sandfleet_fleet_poll_errors_total",
        "sandfleet_fleet_build_info",
        "sandfleet_fleet_store_replication_lag_bytes",
    ];
    let missing: Vec<_> = described()
        .into_iter()
        .flatten()
        .map(|metric| metric.name)
        .filter(|name| !shown.contains(name) && !rules.contains(name) && !aside.contains(name))
        .collect();
    assert_eq!(missing, [""; 0]);
}

/// The alerts and recording rules, each with its lines.
fn rules() -> Vec<(String, String)> {
    let text = read(&deploy().join("prometheus/rules.yaml"));
    let mut rules: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        let trimmed = line.trim_start();
        match trimmed.strip_prefix("- alert: ").or_else(|| trimmed.strip_prefix("- record: ")) {
            Some(name) => rules.push((name.into(), format!("{line}\n"))),
            None => {
                if let Some((_, lines)) = rules.last_mut() {
                    lines.push_str(line);
                    lines.push('\n');
                }
            }
        }
    }
    rules
}

/// The expression of a rule: the lines after `expr: |`.
fn expression(lines: &str) -> String {
    let (_, rest) = lines.split_once("expr: |\n").expect("an expression");
    rest.lines().take_while(|line| line.starts_with("          ")).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_alert_says_how_urgent_it_is_where_to_look_and_what_to_do() {
    let uids: Vec<String> = boards()
        .iter()
        .map(|(_, board)| board["uid"].as_str().unwrap_or_default().into())
        .collect();
    let runbooks = read(&deploy().join("../docs/runbooks.md"));
    let [tests, slow] = ["rules_test.yaml", "rules_slow_test.yaml"]
        .map(|name| read(&deploy().join("prometheus").join(name)));
    let rules = rules();
    let alerts: Vec<_> = rules.iter().filter(|(name, _)| name.starts_with("Sandfleet")).collect();
    assert!(alerts.len() >= 16, "{} alerts", alerts.len());
    for (name, lines) in &rules {
        let found = mistakes(&expression(lines), &[]);
        assert!(found.is_empty(), "{name}: {found:?}");
    }
    for (name, lines) in alerts {
        let value = |key: &str| {
            let line = lines.lines().find_map(|line| line.trim().strip_prefix(&format!("{key}: ")));
            line.unwrap_or_else(|| panic!("{name} has no {key}")).trim_matches('"').to_owned()
        };
        assert!(["page", "ticket"].contains(&value("severity").as_str()), "{name}");
        assert!(value("summary").len() > 10 && value("description").len() > 10, "{name}");
        let uid = value("dashboard").strip_prefix("/d/").map(str::to_owned);
        assert!(uid.is_some_and(|uid| uids.contains(&uid)), "{name}");
        let url = value("runbook_url");
        let (page, anchor) = url.split_once('#').expect("an anchor");
        assert!(
            page.ends_with("docs/runbooks.md") && anchor == name.to_lowercase(),
            "{name}: {url}"
        );
        assert!(runbooks.contains(&format!("\n## {name}\n")), "{name} has no runbook");
        let cases = [&tests, &slow].map(|text| text.matches(&format!("\"{name}\"")).count());
        assert_eq!(cases.iter().sum::<usize>(), 3, "{name}: fires, is quiet, is absent");
    }
}

/// Only where the SDK that the boards are typed with is installed: SANDFLEET_TEST_GRAFANA_PYTHON names its python.
#[test]
fn the_boards_are_what_the_code_makes() {
    let Ok(python) = std::env::var("SANDFLEET_TEST_GRAFANA_PYTHON") else { return };
    let made = tempfile::tempdir().expect("room");
    let generate = deploy().join("grafana/generate");
    let mut command = Command::new(python);
    command.arg(generate).arg(made.path()).env("PYTHONDONTWRITEBYTECODE", "1");
    let output = command.output().expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for (name, _) in boards() {
        let file = format!("{name}.json");
        let committed = read(&deploy().join("grafana/dashboards").join(&file));
        assert!(
            committed == read(&made.path().join(&file)),
            "{file} is stale: deploy/grafana/generate"
        );
    }
}
