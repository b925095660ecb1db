//! What an image was made of: version and SHA-256 of every file, a line each, so that a change is one to be read.

use super::{definition::is_name, error::ImageError};

/// Lock files of the images that are built in, for the architectures that there are some for.
const BUILT_IN: [(&str, &str); 7] = [
    ("base.amd64", include_str!("../../../deploy/images/base.amd64.lock")),
    ("jvm.amd64", include_str!("../../../deploy/images/jvm.amd64.lock")),
    ("native.amd64", include_str!("../../../deploy/images/native.amd64.lock")),
    ("node.amd64", include_str!("../../../deploy/images/node.amd64.lock")),
    ("python.amd64", include_str!("../../../deploy/images/python.amd64.lock")),
    ("python-data.amd64", include_str!("../../../deploy/images/python-data.amd64.lock")),
    ("r.amd64", include_str!("../../../deploy/images/r.amd64.lock")),
];

const HEAD: &str =
    "# Made by `sandfleet images build --update`: every file that the image is made of.\n";

/// Where a file comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// A package of the Debian archive.
    Debian,
    /// One of its security archive.
    Security,
    /// A wheel of PyPI.
    Wheel,
    /// A package of npm.
    Npm,
}

impl Kind {
    const ALL: [(Self, &str); 4] = [
        (Self::Debian, "debian"),
        (Self::Security, "security"),
        (Self::Wheel, "wheel"),
        (Self::Npm, "npm"),
    ];

    fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) version: String,
    /// In hexadecimal.
    pub(super) sha256: String,
    /// A path in the archive, or the file's name.
    pub(super) path: String,
}

impl Entry {
    /// The file's own name.
    pub(super) fn file_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// Whether it is a Debian package.
    pub(super) fn is_deb(&self) -> bool {
        matches!(self.kind, Kind::Debian | Kind::Security)
    }
}

/// All files of one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lock {
    /// The definition's digest.
    pub(super) definition: String,
    pub(super) release: String,
    pub(super) architecture: String,
    /// The day on which its files were the newest.
    pub(super) as_of: String,
    pub(super) entries: Vec<Entry>,
}

impl Lock {
    /// The lock of the built-in image `name`.
    pub(super) fn built_in(name: &str, architecture: &str) -> Option<&'static str> {
        let key = format!("{name}.{architecture}");
        let found = BUILT_IN.iter().find(|(known, text)| *known == key && !text.is_empty());
        found.map(|(_, text)| *text)
    }

    /// Its text.
    pub(super) fn text(&self) -> String {
        let Self { definition, release, architecture, as_of, entries } = self;
        let mut text = format!(
            "{HEAD}definition {definition}\nrelease {release}\narchitecture {architecture}\nas-of {as_of}\n"
        );
        for Entry { kind, name, version, sha256, path } in entries {
            text.push_str(&format!("{} {name} {version} {sha256} {path}\n", kind.as_str()));
        }
        text
    }

    /// Reads the lock that `place` has.
    ///
    /// # Errors
    /// The line that is none.
    pub(super) fn read(place: &str, text: &str) -> Result<Self, ImageError> {
        let mut lines = text.lines().enumerate().filter(|(_, line)| !line.starts_with('#'));
        let bad = |number: usize, why: &str| {
            let fix = "make it again with `sandfleet images build --update`";
            ImageError::with_fix(format!("{place}:{}: {why}", number + 1), fix)
        };
        let mut head = |field: &str| {
            let (number, line) = lines.next().ok_or_else(|| bad(0, "it ends too early"))?;
            let value = line.strip_prefix(field).and_then(|rest| rest.strip_prefix(' '));
            value.map(str::to_owned).ok_or_else(|| bad(number, &format!("needs {field}")))
        };
        let (definition, release) = (head("definition")?, head("release")?);
        let (architecture, as_of) = (head("architecture")?, head("as-of")?);
        if !is_name(&release) || !is_name(&architecture) {
            return Err(bad(0, "its release or architecture is none"));
        }
        let mut entries = Vec::new();
        for (number, line) in lines {
            entries.push(entry(line).ok_or_else(|| bad(number, "is no file of an image"))?);
        }
        Ok(Self { definition, release, architecture, as_of, entries })
    }
}

fn entry(line: &str) -> Option<Entry> {
    let fields: Vec<&str> = line.split(' ').collect();
    let [kind, name, version, sha256, path] = fields[..] else { return None };
    let (kind, _) = Kind::ALL.into_iter().find(|(_, known)| *known == kind)?;
    let is_digest = sha256.len() == 64 && sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_plain = |text: &str| {
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "+-._~:@/%!".contains(letter);
        !text.is_empty() && !text.starts_with(['-', '/']) && text.chars().all(plain)
    };
    let is_inside = path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    (is_digest && is_inside && [name, version, path].into_iter().all(is_plain)).then(|| Entry {
        kind,
        name: name.to_owned(),
        version: version.to_owned(),
        sha256: sha256.to_owned(),
        path: path.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let entry = Entry {
            kind: Kind::Security,
            name: "libc6".into(),
            version: "1:2.41-12".into(),
            sha256: "a".repeat(64),
            path: "pool/main/g/glibc/libc6_2.41-12_amd64.deb".into(),
        };
        let lock = Lock {
            definition: "d".into(),
            release: "trixie".into(),
            architecture: "amd64".into(),
            as_of: "2026-01-02".into(),
            entries: vec![entry],
        };
        assert_eq!(Lock::read("here", &lock.text()).expect("read"), lock);
    }

    #[test]
    fn a_line_that_names_a_path_outside_or_no_digest_is_refused() {
        let head = "definition d\nrelease trixie\narchitecture amd64\nas-of 2026-01-02\n";
        let digest = "a".repeat(64);
        for line in [
            format!("debian a 1 {digest} ../a.deb"),
            format!("debian a 1 {digest} /a.deb"),
            "debian a 1 aa a.deb".to_owned(),
            format!("tarball a 1 {digest} a.deb"),
            format!("debian -a 1 {digest} a.deb"),
        ] {
            let why = Lock::read("here", &format!("{head}{line}\n")).expect_err(&line).to_string();
            assert!(why.starts_with("here:5: ") && why.contains("--update"), "{why}");
        }
    }

    #[test]
    fn the_locks_that_are_built_in_are_those_of_the_built_in_images() {
        for (name, definition) in crate::images::definition::all(None).expect("valid") {
            let text = Lock::built_in(&name, "amd64").unwrap_or_else(|| panic!("{name}: no lock"));
            let lock = Lock::read(&name, text).expect("valid");
            assert_eq!(lock.definition, definition.digest(), "{name}: build --update");
            assert!(lock.entries.iter().any(|entry| entry.is_deb()));
        }
    }
}
