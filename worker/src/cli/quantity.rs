//! Sizes and durations as people write them: `512M`, `2s`.

use std::time::Duration;

const SIZES: [(&str, u64); 9] = [
    ("", 1),
    ("K", 1 << 10),
    ("KiB", 1 << 10),
    ("M", 1 << 20),
    ("MiB", 1 << 20),
    ("G", 1 << 30),
    ("GiB", 1 << 30),
    ("T", 1 << 40),
    ("TiB", 1 << 40),
];
const DURATIONS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];

/// The number for a limit or field called `name`: its ending says what it counts.
pub(super) fn of_name(name: &str, text: &str) -> Result<u64, String> {
    if name.ends_with("_bytes") {
        return bytes(text);
    }
    if name.ends_with("_ms") {
        return milliseconds(text);
    }
    text.parse().map_err(|_| format!("{text:?} is no whole number; use one such as 64"))
}

/// A number of bytes; `K`, `M`, `G` and `T` are powers of 1024.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    scaled(text, &SIZES).ok_or_else(|| {
        format!("{text:?} is no size; use bytes, or a whole number with K, M, G or T, such as 512M")
    })
}

/// Milliseconds; a number without a unit is one of them.
pub(super) fn milliseconds(text: &str) -> Result<u64, String> {
    text.parse().ok().or_else(|| scaled(text, &DURATIONS)).ok_or_else(|| {
        format!("{text:?} is no duration; use milliseconds, or a whole number with ms, s, m or h, such as 2s")
    })
}

/// A duration; a number without a unit is seconds.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let bare = text.parse().ok().map(Duration::from_secs);
    bare.or_else(|| scaled(text, &DURATIONS).map(Duration::from_millis)).ok_or_else(|| {
        format!("{text:?} is no duration; use seconds, or a whole number with ms, s, m or h, such as 10m")
    })
}

/// A duration that isn't zero, with a unit.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    match scaled(text, &DURATIONS) {
        Some(0) => Err("0 is no time to work in".into()),
        Some(milliseconds) => Ok(Duration::from_millis(milliseconds)),
        None => Err("use a whole number and ms, s, m or h, such as 30m".into()),
    }
}

fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let (_, scale) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_follows_from_the_name() {
        for (name, text, number) in [
            ("memory_bytes", "512M", 512 << 20),
            ("memory_bytes", "3GiB", 3 << 30),
            ("output_bytes", "1000", 1000),
            ("scratch_bytes", "64K", 64 << 10),
            ("wall_time_ms", "2s", 2_000),
            ("cpu_time_ms", "250ms", 250),
            ("ttl_ms", "90", 90),
            ("wall_time_ms", "5m", 300_000),
            ("processes", "64", 64),
        ] {
            assert_eq!(of_name(name, text), Ok(number), "{name}={text}");
        }
        for (name, text) in [
            ("memory_bytes", "512X"),
            ("memory_bytes", "2s"),
            ("memory_bytes", "-1"),
            ("memory_bytes", "1.5G"),
            ("memory_bytes", "M"),
            ("memory_bytes", "99999999T"),
            ("wall_time_ms", "512M"),
            ("wall_time_ms", "soon"),
            ("wall_time_ms", ""),
            ("processes", "1K"),
        ] {
            let refused = of_name(name, text).expect_err(text);
            assert!(refused.starts_with(&format!("{text:?} is no ")), "{refused}");
            assert!(refused.contains("; use "), "{refused}");
        }
    }

    #[test]
    fn a_time_out_without_a_unit_is_seconds() {
        assert_eq!(seconds("600"), Ok(Duration::from_secs(600)));
        assert_eq!(seconds("250ms"), Ok(Duration::from_millis(250)));
        assert!(seconds("-1").is_err());
    }

    #[test]
    fn a_time_to_work_in_has_a_unit() {
        assert_eq!(duration("30m"), Ok(Duration::from_secs(1800)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        for wrong in ["", "30", "m", "-1s", "1.5h", "1d", "0s", "99999999999999999999h", "1 h"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
