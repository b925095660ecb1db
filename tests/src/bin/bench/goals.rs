//! What the project promises, and whether these rows keep it.

use sandfleet_tests::median;
use serde::Serialize;

use super::{
    data, evaluation, fleet,
    lanes::{BARE, COLD, DOCKER, DOCKER_LIGHT, DOCKER_RUN, OFFERED, WARM},
    memory, printing,
    rounds::Row,
    workers,
};

/// A promise and how it stands.
#[derive(Debug, Serialize)]
pub(crate) struct Goal {
    pub(crate) what: String,
    pub(crate) goal: String,
    /// Nothing if it wasn't measured.
    pub(crate) measured: Option<f64>,
    pub(crate) met: Option<bool>,
    /// The same as a multiple of the bare process, for goals that are milliseconds or jobs a second.
    pub(crate) in_bare: Option<InBare>,
    /// Why there is no figure.
    pub(crate) problem: Option<String>,
}

/// Times and rates say something of a machine only; beside the bare process of each machine they can be
/// compared.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct InBare {
    /// On the machine on which the goals were set.
    pub(crate) goal: f64,
    /// Here.
    pub(crate) measured: f64,
}

/// What the bare process took there, in milliseconds.
const BARE_MS: f64 = 5.7;

/// Which figure of a row it is about.
#[derive(Clone, Copy)]
enum Figure<'a> {
    /// Jobs a second against another lane's of the same group, the median of the rounds.
    RateAgainst(&'a str),
    P50Against(&'a str),
    AddedP50,
    AddedP99,
    P50,
    Rate,
    /// The row's own ratio.
    Ratio,
}

#[derive(Clone, Copy)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Bound {
    fn holds(self, figure: f64) -> bool {
        match self {
            Bound::AtLeast(bound) => figure >= bound,
            Bound::AtMost(bound) => figure <= bound,
        }
    }

    fn figure(self) -> f64 {
        let (Bound::AtLeast(figure) | Bound::AtMost(figure)) = self;
        figure
    }

    fn text(self) -> String {
        match self {
            Bound::AtLeast(bound) => format!("≥ {bound}"),
            Bound::AtMost(bound) => format!("≤ {bound}"),
        }
    }
}

const ONE: &str = "print, 1 at a time";
const TWO: &str = "print, 2 at a time";

pub(crate) fn judge(rows: &[Row]) -> Vec<Goal> {
    use Bound::{AtLeast, AtMost};
    use Figure::{AddedP50, AddedP99, P50, P50Against, Rate, RateAgainst, Ratio};
    let four = workers::lane(4);
    let table: &[(&str, &str, &str, Figure<'_>, Bound)] = &[
        ("native, cold, throughput against bare", TWO, COLD, RateAgainst(BARE), AtLeast(0.75)),
        ("native, cold, added to p50, ms", ONE, COLD, AddedP50, AtMost(1.5)),
        ("native, cold, added to p99, ms", ONE, COLD, AddedP99, AtMost(5.0)),
        ("native, warm, throughput against bare", TWO, WARM, RateAgainst(BARE), AtLeast(1.4)),
        ("native, warm, p50 against bare's", ONE, WARM, P50Against(BARE), AtMost(1.0)),
        (
            "run --batch, cold, against the same bare process",
            fleet::THROUGHPUT,
            fleet::BATCH_COLD,
            RateAgainst(OFFERED),
            AtLeast(0.7),
        ),
        (
            "run --batch, warm, against bare",
            fleet::THROUGHPUT,
            fleet::BATCH_WARM,
            RateAgainst(BARE),
            AtLeast(1.2),
        ),
        (
            "fleet, cold, against the same bare process",
            fleet::THROUGHPUT,
            fleet::FLEET_COLD,
            RateAgainst(OFFERED),
            AtLeast(0.6),
        ),
        (
            "fleet, warm, against bare",
            fleet::THROUGHPUT,
            fleet::FLEET_WARM,
            RateAgainst(BARE),
            AtLeast(0.9),
        ),
        (
            "submit to result seen, idle, cold, beyond the same bare process, p50, ms",
            fleet::IDLE,
            fleet::FLEET_COLD,
            AddedP50,
            AtMost(4.0),
        ),
        (
            "CSV to PNG, warm, throughput against docker run",
            data::PLOT,
            data::WARM,
            RateAgainst(DOCKER_RUN),
            AtLeast(10.0),
        ),
        (
            "C++ submission, tests against bare processes",
            evaluation::CPP,
            evaluation::JOB,
            RateAgainst(evaluation::BARE),
            AtLeast(0.5),
        ),
        (
            "Python submission, warm, tests against bare processes",
            evaluation::PYTHON,
            evaluation::JOB,
            RateAgainst(evaluation::BARE),
            AtLeast(1.2),
        ),
        ("CSV and groupby, warm, p50, ms", data::GROUP_ONE, data::WARM, P50, AtMost(15.0)),
        ("CSV and groupby, warm, jobs/s at 2", data::GROUP, data::WARM, Rate, AtLeast(120.0)),
        (
            "docker backend, now and then, p50 against docker run",
            DOCKER_LIGHT,
            DOCKER,
            P50Against(DOCKER_RUN),
            AtMost(0.15),
        ),
        (
            "docker backend, throughput against docker run",
            "docker, 2 at a time",
            DOCKER,
            RateAgainst(DOCKER_RUN),
            AtLeast(1.7),
        ),
        (
            "printing, native, cold, CPU against a bare process",
            printing::GROUP,
            printing::COLD,
            Ratio,
            AtMost(1.3),
        ),
        (
            "printing, native, warm, CPU against a bare process",
            printing::GROUP,
            printing::WARM,
            Ratio,
            AtMost(1.3),
        ),
        (
            "printing, docker, CPU against a bare process",
            printing::GROUP,
            printing::DOCKER,
            Ratio,
            AtMost(1.3),
        ),
        ("4 workers against 4 times one", workers::GROUP, &four, Ratio, AtLeast(0.95)),
        ("idle worker, resident, MiB", memory::GROUP, memory::RSS, Rate, AtMost(30.0)),
        (
            "idle worker with a warm data interpreter, proportional, MiB",
            memory::GROUP,
            memory::WARM_PSS,
            Rate,
            AtMost(140.0),
        ),
    ];
    table
        .iter()
        .map(|&(what, group, lane, figure, bound)| {
            let looked = look(rows, group, lane, figure);
            let (measured, problem) = match looked {
                Ok(figure) => (Some(figure), None),
                Err(why) => (None, Some(why)),
            };
            Goal {
                what: what.into(),
                goal: bound.text(),
                measured,
                met: measured.map(|figure| bound.holds(figure)),
                in_bare: measured
                    .and_then(|measured| in_bare(rows, group, figure, bound, measured)),
                problem,
            }
        })
        .collect()
}

fn find<'a>(rows: &'a [Row], group: &str, lane: &str) -> Result<&'a Row, String> {
    let row = rows.iter().find(|row| row.group == group && row.lane == lane);
    let row = row.ok_or("not measured")?;
    row.problem.as_ref().map_or(Ok(row), |problem| Err(problem.clone()))
}

fn in_bare(
    rows: &[Row],
    group: &str,
    figure: Figure<'_>,
    bound: Bound,
    measured: f64,
) -> Option<InBare> {
    match figure {
        Figure::AddedP50 | Figure::AddedP99 | Figure::P50 => {
            let bare = find(rows, ONE, BARE).ok()?.p50_ms?;
            Some(InBare { goal: bound.figure() / BARE_MS, measured: measured / bare })
        }
        Figure::Rate if group == data::GROUP => {
            let bare = find(rows, TWO, BARE).ok()?.rate;
            let there = 2.0 * 1000.0 / BARE_MS;
            Some(InBare { goal: bound.figure() / there, measured: measured / bare })
        }
        _ => None,
    }
}

fn look(rows: &[Row], group: &str, lane: &str, figure: Figure<'_>) -> Result<f64, String> {
    let row = find(rows, group, lane)?;
    let figure = match figure {
        Figure::RateAgainst(other) => {
            // Both are shares of the same first lane in the same round.
            let other = find(rows, group, other)?;
            median(row.ratios.iter().zip(&other.ratios).map(|(its, base)| its / base).collect())
        }
        Figure::P50Against(other) => {
            row.p50_ms.zip(find(rows, group, other)?.p50_ms).map(|(its, base)| its / base)
        }
        Figure::AddedP50 => row.added_p50_ms,
        Figure::AddedP99 => row.added_p99_ms,
        Figure::P50 => row.p50_ms,
        Figure::Rate => Some(row.rate),
        Figure::Ratio => Some(row.ratio),
    };
    figure.ok_or_else(|| "no such figure".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(lane: &str, ratios: &[f64]) -> Row {
        let (group, lane) = (TWO.to_owned(), lane.to_owned());
        Row { group, lane, ratios: ratios.to_vec(), ..Row::default() }
    }

    #[test]
    fn a_goal_is_judged_by_the_rounds_of_both_lanes() {
        let rows = [row(BARE, &[1.0, 1.0, 1.0]), row(COLD, &[0.5, 0.8, 0.9])];
        let goals = judge(&rows);
        assert_eq!((goals[0].measured, goals[0].met), (Some(0.8), Some(true)));
        let rows = [row(BARE, &[1.0]), row(COLD, &[0.74])];
        assert_eq!(judge(&rows)[0].met, Some(false));
    }

    #[test]
    fn milliseconds_are_compared_by_the_bare_process() {
        let alone = |lane| Row { group: ONE.into(), ..row(lane, &[]) };
        let bare = Row { p50_ms: Some(11.4), ..alone(BARE) };
        let goals = judge(&[bare, Row { added_p50_ms: Some(3.0), ..alone(COLD) }]);
        let there = 1.5 / BARE_MS;
        assert_eq!(goals[1].met, Some(false));
        assert_eq!(goals[1].in_bare, Some(InBare { goal: there, measured: 3.0 / 11.4 }));
        assert_eq!(goals[0].in_bare, None);
    }

    #[test]
    fn what_is_not_warm_meets_no_goal_of_the_warm() {
        let cold = Row { problem: Some("NOT WARM".into()), ..row(WARM, &[9.0]) };
        let goals = judge(&[row(BARE, &[1.0]), cold]);
        assert_eq!((goals[3].met, goals[3].problem.as_deref()), (None, Some("NOT WARM")));
    }
}
