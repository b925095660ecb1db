//! How old the packages of the sandbox image are: Debian's later security updates are not in it.

use jiff::civil::Date;

use super::finding::{Finding, State};

/// From this age on, Debian has published security updates for some of the packages.
const OLD_DAYS: i64 = 30;

const NAME: &str = "packages of the image";
const BUILD: &str =
    "build it with `sandfleet images build` and `sandfleet images import`, which label it";
const BUILD_AGAIN: &str =
    "build it again: `sandfleet images build --update --all`, then `sandfleet images import --all`";

/// The age on `today` of an image that says its packages are of the day `as_of`.
pub(super) fn finding(
    area: &'static str,
    image: &str,
    as_of: Option<&str>,
    today: Date,
) -> Finding {
    let warning = |detail: String, fix: &str| Finding::bad(area, NAME, State::Warning, detail, fix);
    let Some(as_of) = as_of else {
        let detail = "it doesn't say of which day they are, so what they lack isn't known";
        return warning(format!("{image}: {detail}"), BUILD);
    };
    let Ok(day) = as_of.parse::<Date>() else {
        let detail = format!("{image}: it says {as_of:?}, which is no date");
        return warning(detail, BUILD);
    };
    let days = today.duration_since(day).as_hours() / 24;
    if days < 0 {
        let detail = format!("{image}: of {day}, and this host's clock says {today}");
        return warning(detail, "set this host's clock");
    }
    let plural = if days == 1 { "" } else { "s" };
    let detail = format!("{image}: of {day}, {days} day{plural} old");
    match days < OLD_DAYS {
        true => Finding::ok(area, NAME, detail),
        false => warning(detail + "; later security updates are not in them", BUILD_AGAIN),
    }
}

#[cfg(test)]
mod tests {
    use jiff::{ToSpan, civil::date};

    use super::*;

    #[test]
    fn the_age_of_an_image_is_told_and_from_a_month_on_there_is_something_to_do() {
        let day = date(2026, 11, 29);
        let after = |days: i64| finding("docker", "i", Some("2026-11-29"), day + days.days());
        for (days, age) in [(0, "0 days old"), (1, "1 day old"), (29, "29 days old")] {
            let finding = after(days);
            assert_eq!((finding.state, finding.fix), (State::Ok, None), "{days}");
            assert_eq!(finding.detail, format!("i: of 2026-11-29, {age}"));
        }
        for days in [30, 400] {
            let finding = after(days);
            assert_eq!(finding.state, State::Warning, "{days}");
            assert!(finding.detail.contains(&format!("{days} days old")), "{}", finding.detail);
            assert!(
                finding.fix.is_some_and(|fix| fix.contains("sandfleet images build")),
                "{days}"
            );
        }
        assert!(after(-1).detail.contains("clock says 2026-11-28"), "{:?}", after(-1));
    }

    #[test]
    fn an_image_that_does_not_say_its_day_is_a_warning() {
        let today = date(2026, 11, 29);
        for as_of in [None, Some(""), Some("yesterday"), Some("2026-13-01")] {
            let finding = finding("docker", "i", as_of, today);
            assert_eq!(finding.state, State::Warning, "{as_of:?}");
            assert!(finding.fix.is_some_and(|fix| fix.contains("sandfleet images build")));
        }
    }
}
