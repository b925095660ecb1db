//! Errors as people read them.

use std::error::Error;

/// An error with all its causes, in one line.
pub(crate) fn in_one_line(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // Some errors repeat their cause.
        if !line.contains(&next) {
            line = format!("{line}: {next}");
        }
        cause = error.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Outer {
        text: &'static str,
        source: io::Error,
    }

    #[test]
    fn a_cause_is_said_once() {
        let cause = || io::Error::other("connection refused");
        let quiet = Outer { text: "can't connect", source: cause() };
        assert_eq!(in_one_line(&quiet), "can't connect: connection refused");
        let repeats = Outer { text: "IO error: connection refused", source: cause() };
        assert_eq!(in_one_line(&repeats), "IO error: connection refused");
    }
}
