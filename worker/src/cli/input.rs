//! Reads what a person names, and no more of it than a job may hold.

use std::{fmt, fs::File, io::Read, path::Path};

use tokio::io::{AsyncBufRead, AsyncBufReadExt, BufReader};

use super::exit::{Exit, Failure};

/// How much is read at most, and why.
#[derive(Debug, Clone, Copy)]
pub(super) enum Bound {
    /// What a message may hold: this setting of the client and of the workers.
    Message(usize),
    /// What a program on this machine may hold: its limit `memory_bytes`.
    Memory(u64),
    /// What a report of `doctor` may hold: it is some hundred KiB.
    Report,
}

impl Bound {
    fn bytes(self) -> u64 {
        match self {
            Bound::Message(bytes) => bytes as u64,
            Bound::Memory(bytes) => bytes,
            Bound::Report => 16 << 20,
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bound::Message(bytes) => {
                write!(f, "jobs.max_bytes = {bytes}; raise it here and for the workers")
            }
            Bound::Memory(bytes) => {
                write!(f, "memory_bytes = {bytes}; raise it with --limit memory_bytes=NUMBER")
            }
            Bound::Report => write!(f, "any report: {} bytes", self.bytes()),
        }
    }
}

/// The bytes of the file at `path`.
pub(super) fn read_file(path: &Path, bound: Bound) -> Result<Vec<u8>, Failure> {
    read(open(path)?, &path.display().to_string(), bound)
}

/// Whether a person names this command's stdin.
pub(super) fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

/// The bytes of the file at `path`, or of this command's stdin, which is called `name`.
pub(super) fn read_file_or_stdin(
    path: &Path,
    name: &str,
    bound: Bound,
) -> Result<Vec<u8>, Failure> {
    match is_stdin(path) {
        true => read(std::io::stdin(), name, bound),
        false => read_file(path, bound),
    }
}

/// Opens what a person names as a file.
pub(super) fn open(path: &Path) -> Result<File, Failure> {
    let refuse = |why: String| Exit::Usage.with(format!("{}: {why}", path.display()));
    let failed = |error: std::io::Error| refuse(error.to_string());
    let file = File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.is_dir() {
        return Err(refuse("is a directory; name a file".into()));
    }
    Ok(file)
}

/// All that `from` has, which is called `name`.
fn read(from: impl Read, name: &str, bound: Bound) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    from.take(bound.bytes().saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|error| Exit::Usage.with(format!("{name}: {error}")))?;
    if bytes.len() as u64 > bound.bytes() {
        return Err(Exit::Usage.with(format!("{name}: longer than {bound}")));
    }
    Ok(bytes)
}

/// Opens what a person names as a file of lines, - for this command's stdin.
pub(super) fn open_lines(path: &Path) -> Result<Box<dyn AsyncBufRead + Send + Unpin>, Failure> {
    if is_stdin(path) {
        return Ok(Box::new(BufReader::new(tokio::io::stdin())));
    }
    Ok(Box::new(BufReader::new(tokio::fs::File::from_std(open(path)?))))
}

/// A line of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// The line, without its end.
    Whole(Vec<u8>),
    /// A line of so many bytes, which were passed over.
    TooLong(u64),
}

/// The next line of `input`, if there is one. Of a longer line than `max_bytes` nothing is kept.
pub(super) async fn next_line(
    input: &mut (impl AsyncBufRead + Unpin),
    max_bytes: usize,
) -> std::io::Result<Option<Line>> {
    let mut line = Vec::new();
    let mut length = 0_u64;
    loop {
        let piece = input.fill_buf().await?;
        let end = piece.iter().position(|byte| *byte == b'\n');
        let taken = &piece[..end.unwrap_or(piece.len())];
        let is_over = piece.is_empty() || end.is_some();
        length += taken.len() as u64;
        if length <= max_bytes as u64 {
            line.extend_from_slice(taken);
        } else {
            line = Vec::new();
        }
        let consumed = taken.len() + usize::from(end.is_some());
        input.consume(consumed);
        if is_over {
            return Ok(match length {
                0 if end.is_none() => None,
                length if length > max_bytes as u64 => Some(Line::TooLong(length)),
                _ => Some(Line::Whole(line)),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_line_that_is_too_long_is_passed_over_and_counted() {
        let text = format!("one\n\n{}\nfour\r\n{}", "x".repeat(9), "y".repeat(8));
        for capacity in [1, 3, 8, 64] {
            let mut input = tokio::io::BufReader::with_capacity(capacity, text.as_bytes());
            let mut lines = Vec::new();
            while let Some(line) = next_line(&mut input, 8).await.expect("readable") {
                lines.push(line);
            }
            let whole = |text: &str| Line::Whole(text.into());
            let expected =
                [whole("one"), whole(""), Line::TooLong(9), whole("four\r"), whole("yyyyyyyy")];
            assert_eq!(lines, expected, "pieces of {capacity}");
        }
    }

    #[test]
    fn a_file_without_an_end_is_refused() {
        for (bound, why) in [
            (Bound::Message(1000), "jobs.max_bytes = 1000; raise it here and for the workers"),
            (Bound::Memory(1000), "memory_bytes = 1000; raise it with --limit memory_bytes=NUMBER"),
        ] {
            let refused = read_file(Path::new("/dev/zero"), bound).expect_err("it never ends");
            assert_eq!(refused.error.to_string(), format!("/dev/zero: longer than {why}"));
        }
    }
}
