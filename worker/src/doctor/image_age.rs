//! How old the packages of the sandbox image are: Debian's later security updates are not in it.

use jiff::civil::Date;

use super::finding::{Finding, State};

/// From this age on, Debian has published security updates for some of the packages.
const OLD_DAYS: i64 = 30;

const NAME: &str = "packages of the image";
const BUILD_AGAIN: &str = "build it again: rm target/images/rootfs-*.tar, docker rmi the image sandfleet/rootfs, \
                           and run deploy/images/build";

/// The age on `today` of an image that says its packages are of the day `as_of`.
pub(super) fn finding(area: &'static str, as_of: Option<&str>, today: Date) -> Finding {
    let warning = |detail: String, fix: &str| Finding::bad(area, NAME, State::Warning, detail, fix);
    let Some(as_of) = as_of else {
        let detail = "the image doesn't say of which day they are, so what they lack isn't known";
        return warning(detail.into(), "build it with deploy/images/build, which labels it");
    };
    let Ok(day) = as_of.parse::<Date>() else {
        let detail = format!("the image says {as_of:?}, which is no date");
        return warning(detail, "build it with deploy/images/build, which labels it");
    };
    let days = today.duration_since(day).as_hours() / 24;
    if days < 0 {
        let detail = format!("of {day}, and this host's clock says {today}");
        return warning(detail, "set this host's clock");
    }
    let plural = if days == 1 { "" } else { "s" };
    let detail = format!("of {day}, {days} day{plural} old");
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
        let after = |days: i64| finding("docker", Some("2026-11-29"), day + days.days());
        for (days, age) in [(0, "0 days old"), (1, "1 day old"), (29, "29 days old")] {
            let finding = after(days);
            assert_eq!((finding.state, finding.fix), (State::Ok, None), "{days}");
            assert_eq!(finding.detail, format!("of 2026-11-29, {age}"));
        }
        for days in [30, 400] {
            let finding = after(days);
            assert_eq!(finding.state, State::Warning, "{days}");
            assert!(finding.detail.contains(&format!("{days} days old")), "{}", finding.detail);
            assert!(finding.fix.is_some_and(|fix| fix.contains("deploy/images/build")), "{days}");
        }
        assert!(after(-1).detail.contains("clock says 2026-11-28"), "{:?}", after(-1));
    }

    #[test]
    fn an_image_that_does_not_say_its_day_is_a_warning() {
        let today = date(2026, 11, 29);
        for as_of in [None, Some(""), Some("yesterday"), Some("2026-13-01")] {
            let finding = finding("docker", as_of, today);
            assert_eq!(finding.state, State::Warning, "{as_of:?}");
            assert!(finding.fix.is_some_and(|fix| fix.contains("deploy/images/build")));
        }
    }
}
