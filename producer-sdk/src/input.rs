//! Input files of a job, from files of this machine.

use std::{fs, io, path::Path};

use sandfleet_common::InputFile;

/// The file at `path` under its own name; set `name` of what is returned for another one.
///
/// # Errors
/// If it can't be read, or its name isn't UTF-8. The message names it.
pub fn input_file(path: impl AsRef<Path>) -> io::Result<InputFile> {
    let path = path.as_ref();
    let failed = |kind, why: String| io::Error::new(kind, format!("{}: {why}", path.display()));
    let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| {
        failed(
            io::ErrorKind::InvalidInput,
            "has no name in UTF-8; use InputFile::from_bytes".into(),
        )
    })?;
    let bytes = fs::read(path).map_err(|error| failed(error.kind(), error.to_string()))?;
    Ok(InputFile::from_bytes(name, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_with_its_name_and_a_failure_names_it() {
        let file =
            input_file(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).expect("it is there");
        assert_eq!(file.name, "Cargo.toml");
        assert!(file.content.contains("sandfleet-sdk"));
        for path in ["/nowhere/data.csv", "/", "/nowhere/.."] {
            assert!(
                input_file(path).expect_err(path).to_string().starts_with(&format!("{path}: "))
            );
        }
    }
}
