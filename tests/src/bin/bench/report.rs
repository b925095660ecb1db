//! What people and programs read: a page, JSON, a chart.

use std::{fs, path::Path};

use anyhow::Result;
use jiff::Timestamp;
use serde::Serialize;

use super::{
    chart,
    goals::{Goal, judge},
    machine::Machine,
    memory, printing,
    rounds::Row,
};

#[derive(Serialize)]
pub(crate) struct Report {
    at: Timestamp,
    quick: bool,
    machine: Machine,
    goals: Vec<Goal>,
    rows: Vec<Row>,
}

impl Report {
    pub(crate) fn of(machine: Machine, quick: bool, rows: Vec<Row>) -> Self {
        Self { at: Timestamp::now(), quick, machine, goals: judge(&rows), rows }
    }

    pub(crate) fn markdown(&self) -> String {
        let short = if self.quick { " A quick run: too few jobs to publish." } else { "" };
        let mut text = format!("{:.0}.{short} {}\n\n", self.at, self.machine.sentence());
        text += "| goal | bound | measured | met | in bare processes: bound, measured |\n";
        text += "|---|---|---|---|---|\n";
        for goal in &self.goals {
            let measured = goal.measured.map_or("–".into(), |figure| format!("{figure:.2}"));
            let met = match (goal.met, &goal.problem) {
                (Some(true), _) => "yes",
                (Some(false), _) => "**no**",
                (None, Some(problem)) => &one_line(problem),
                (None, None) => "–",
            };
            let in_bare = goal
                .in_bare
                .as_ref()
                .map_or(String::new(), |it| format!("{:.2}, {:.2}", it.goal, it.measured));
            text +=
                &format!("| {} | {} | {measured} | {met} | {in_bare} |\n", goal.what, goal.goal);
        }
        let mut group = "";
        for row in &self.rows {
            if row.group != group {
                group = &row.group;
                text += &heading(group);
            }
            text += &line(row);
        }
        text
    }

    pub(crate) fn save(&self, directory: &Path) -> Result<()> {
        fs::create_dir_all(directory)?;
        fs::write(directory.join("bench.json"), serde_json::to_vec_pretty(self)?)?;
        fs::write(directory.join("bench.md"), self.markdown())?;
        fs::write(directory.join("bench.svg"), chart::draw(&self.rows))?;
        Ok(())
    }
}

fn heading(group: &str) -> String {
    if group == memory::GROUP {
        return format!("\n**{group}**\n\n| | MiB |\n|---|---|\n");
    }
    if group == printing::GROUP {
        return format!("\n**{group}**\n\n| | ms | ratio (least–most) |\n|---|---|---|\n");
    }
    format!(
        "\n**{group}**\n\n| | jobs | jobs/s | ratio (least–most) | p50 ms | p99 ms | added p50 | \
         added p99 | CPU ms/job: own, machine |\n|---|---|---|---|---|---|---|---|---|\n"
    )
}

fn line(row: &Row) -> String {
    if let Some(problem) = &row.problem
        && row.rate == 0.0
    {
        return format!("| {} | {} |\n", row.lane, one_line(problem));
    }
    let lane = match &row.problem {
        Some(problem) => format!("{} ({})", row.lane, one_line(problem)),
        None => row.lane.clone(),
    };
    if row.group == memory::GROUP {
        return format!("| {lane} | {:.1} |\n", row.rate);
    }
    let figure = |figure: Option<f64>| figure.map_or("–".into(), |it| format!("{it:.2}"));
    let least = row.ratios.iter().copied().fold(f64::INFINITY, f64::min);
    let most = row.ratios.iter().copied().fold(0.0, f64::max);
    // Without any, the lane that it is compared with could not be measured.
    let ratio = match row.ratios.is_empty() {
        true => "–".to_owned(),
        false => format!("{:.3} ({least:.3}–{most:.3})", row.ratio),
    };
    if row.group == printing::GROUP {
        return format!("| {lane} | {:.0} | {ratio} |\n", row.rate);
    }
    let cpu = match row.machine_cpu_ms {
        0.0 => "–".to_owned(),
        machine => format!("{:.1}, {machine:.1}", row.cpu_ms),
    };
    format!(
        "| {lane} | {} | {:.1} | {ratio} | {} | {} | {} | {} | {cpu} |\n",
        row.jobs,
        row.rate,
        figure(row.p50_ms),
        figure(row.p99_ms),
        figure(row.added_p50_ms),
        figure(row.added_p99_ms),
    )
}

/// Fit for a cell of a table; the JSON has the whole of it.
fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").replace('|', "/").chars().take(200).collect()
}
