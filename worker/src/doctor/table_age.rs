//! How old a table of known vulnerabilities is, which nothing else shows.

use jiff::{Timestamp, civil::Date, tz::TimeZone};

use super::finding::{Finding, State};

/// From this age on, what was found since is likelier than not to matter.
const OLD_DAYS: i32 = 180;

/// The current day, in UTC.
pub(super) fn today() -> Date {
    Timestamp::now().to_zoned(TimeZone::UTC).date()
}

/// The age on `today` of the table `name`, which has what was known on the day `as_of`.
pub(super) fn finding(area: &'static str, name: &str, as_of: Date, today: Date) -> Finding {
    let days = today.duration_since(as_of).as_hours() / 24;
    let detail = match days {
        1 => format!("table as of {as_of}, 1 day old"),
        _ => format!("table as of {as_of}, {days} days old"),
    };
    if days < 0 {
        let detail = format!("table as of {as_of}, and this host's clock says {today}");
        return Finding::bad(area, name, State::Warning, detail, "set this host's clock");
    }
    if days < i64::from(OLD_DAYS) {
        return Finding::ok(area, name, detail);
    }
    let fix =
        "update sandfleet: later vulnerabilities are not in this table, and doctor can't name them";
    Finding::bad(area, name, State::Warning, detail, fix)
}

#[cfg(test)]
mod tests {
    use jiff::{ToSpan, civil::date};

    use super::*;

    fn after(days: i64) -> Finding {
        let as_of = date(2026, 11, 23);
        finding("docker", "known vulnerabilities", as_of, as_of + days.days())
    }

    #[test]
    fn the_age_of_a_table_is_told_and_from_half_a_year_on_there_is_something_to_do() {
        for (days, age) in [(0, "0 days"), (1, "1 day "), (5, "5 days"), (179, "179 days")] {
            let finding = after(days);
            assert_eq!((finding.state, finding.fix), (State::Ok, None), "{days}");
            assert!(finding.detail.contains("2026-11-23"), "{}", finding.detail);
            assert!(finding.detail.contains(age), "{}", finding.detail);
        }
        for days in [180, 181, 4000] {
            let finding = after(days);
            assert_eq!(finding.state, State::Warning, "{days}");
            assert!(finding.detail.contains(&format!("{days} days old")), "{}", finding.detail);
            assert!(finding.fix.is_some_and(|fix| fix.contains("update sandfleet")), "{days}");
        }
    }

    #[test]
    fn a_clock_before_the_tables_day_is_told() {
        let finding = after(-1);
        assert_eq!(finding.state, State::Warning);
        assert!(finding.detail.contains("2026-11-22"), "{}", finding.detail);
    }
}
