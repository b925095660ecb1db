//! Reads what a person names, and no more of it than a job may hold.

use std::{fs::File, io::Read, path::Path};

use tokio::io::{AsyncBufRead, AsyncBufReadExt, BufReader};

use super::exit::{Exit, Failure};

/// The bytes of the file at `path`.
pub(super) fn read_file(path: &Path, max_bytes: usize) -> Result<Vec<u8>, Failure> {
    read(open(path)?, &path.display().to_string(), max_bytes)
}

/// Whether a person names this command's stdin.
pub(super) fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

/// The bytes of the file at `path`, or of this command's stdin, which is called `name`.
pub(super) fn read_file_or_stdin(
    path: &Path,
    name: &str,
    max_bytes: usize,
) -> Result<Vec<u8>, Failure> {
    match is_stdin(path) {
        true => read(std::io::stdin(), name, max_bytes),
        false => read_file(path, max_bytes),
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
pub(super) fn read(from: impl Read, name: &str, max_bytes: usize) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    from.take(max_bytes as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Exit::Usage.with(format!("{name}: {error}")))?;
    if bytes.len() > max_bytes {
        let sentence = format!("{name}: longer than jobs.max_bytes = {max_bytes}; raise that");
        return Err(Exit::Usage.with(sentence));
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
        let refused = read_file(Path::new("/dev/zero"), 1000).expect_err("it never ends");
        let said = refused.error.to_string();
        assert_eq!(said, "/dev/zero: longer than jobs.max_bytes = 1000; raise that");
    }
}
