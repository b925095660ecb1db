//! What an image consists of: a file of `deploy/images`, or of the operator's `images.definitions_directory`.

use std::{collections::BTreeMap, fs, path::Path};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::error::ImageError;

macro_rules! built_in {
    ($($name:literal)+) => {
        [$(($name, include_str!(concat!("../../../deploy/images/", $name, ".toml")))),+]
    };
}

/// The images that are built in, by the names of their files.
pub(super) const BUILT_IN: [(&str, &str); 7] = built_in! {
    "base" "jvm" "native" "node" "python" "python-data" "r"
};

/// The packages that every image has.
const EVERY_IMAGE: &str = include_str!("../../../deploy/images/every-image.txt");

/// The longest name of an image.
const MAX_NAME: usize = 64;

/// One image.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// The release of Debian that its packages are of, by its code name.
    #[serde(default = "release")]
    pub release: String,
    /// Debian packages, besides those of every image; what they depend on comes by itself.
    pub packages: Vec<String>,
    /// Packages of PyPI; what they depend on comes by itself.
    #[serde(default)]
    pub python: Vec<String>,
    /// Packages of npm, without what they depend on.
    #[serde(default)]
    pub npm: Vec<String>,
    /// Files by their absolute paths, with their text.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// Symbolic links by their absolute paths, with what they lead to.
    #[serde(default)]
    pub links: BTreeMap<String, String>,
}

fn release() -> String {
    "trixie".to_owned()
}

/// Whether `name` can name an image: a part of a path, and of a name of Docker's.
pub fn is_name(name: &str) -> bool {
    let plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    let inner = |letter: char| plain(letter) || letter == '-';
    name.len() <= MAX_NAME
        && name.starts_with(plain)
        && name.ends_with(plain)
        && name.chars().all(inner)
}

/// All images, the operator's in `directory` among them.
///
/// # Errors
/// The first file that can't be read or is no image.
pub fn all(directory: Option<&Path>) -> Result<BTreeMap<String, Definition>, ImageError> {
    let mut all = BTreeMap::new();
    for (name, text) in BUILT_IN {
        let read = read(text).map_err(|why| ImageError::new(format!("image {name}: {why}")))?;
        all.insert(name.to_owned(), read);
    }
    let Some(directory) = directory else { return Ok(all) };
    let of = |path: &Path, why: String| {
        ImageError::new(format!("images.definitions_directory: {}: {why}", path.display()))
    };
    let unreadable = |error| of(directory, format!("cannot be read: {error}"));
    for entry in fs::read_dir(directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_none_or(|ending| ending != "toml") {
            continue;
        }
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        if !is_name(name) {
            let why = format!("{name:?} is no name of an image: 1 to {MAX_NAME} of a-z 0-9 -");
            return Err(of(&path, why));
        }
        let text = fs::read_to_string(&path).map_err(|error| of(&path, error.to_string()))?;
        all.insert(name.to_owned(), read(&text).map_err(|why| of(&path, why))?);
    }
    Ok(all)
}

fn read(text: &str) -> Result<Definition, String> {
    let definition: Definition =
        toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
    definition.check()?;
    Ok(definition)
}

impl Definition {
    /// What a type can't say: nothing in here becomes an option of a command, or a path outside of the tree.
    fn check(&self) -> Result<(), String> {
        let is_word = |word: &str, more: &str| {
            let plain = |letter: char| letter.is_ascii_alphanumeric() || more.contains(letter);
            !word.is_empty() && !word.starts_with('-') && word.chars().all(plain)
        };
        if !is_word(&self.release, "") {
            return Err(format!("release: {:?} is no code name of Debian", self.release));
        }
        let lists = [
            ("packages", &self.packages, "+-.:"),
            ("python", &self.python, "+-._=<>![],"),
            ("npm", &self.npm, "+-._@/{}"),
        ];
        for (field, names, more) in lists {
            if let Some(bad) = names.iter().find(|name| !is_word(name, more)) {
                return Err(format!("{field}: {bad:?} is no package's name"));
            }
        }
        if self.packages.is_empty() {
            return Err("packages: names at least one".into());
        }
        let is_inside =
            |path: &str| path.starts_with('/') && !path.split('/').any(|part| part == "..");
        let paths = self.files.keys().chain(self.links.keys());
        match paths.into_iter().find(|path| !is_inside(path)) {
            Some(bad) => Err(format!("files, links: {bad:?} is no absolute path without `..`")),
            None => Ok(()),
        }
    }

    /// The Debian packages to install, without what they depend on.
    pub fn all_packages(&self) -> Vec<&str> {
        let every = EVERY_IMAGE.lines().map(|line| line.split('#').next().unwrap_or_default());
        let every = every.map(str::trim).filter(|name| !name.is_empty());
        every.chain(self.packages.iter().map(String::as_str)).collect()
    }

    /// SHA-256 of all that it says, in hexadecimal: what was locked for another text is not this image's.
    pub fn digest(&self) -> String {
        let Self { release, packages: _, python, npm, files, links } = self;
        let text =
            format!("{release:?}{:?}{python:?}{npm:?}{files:?}{links:?}", self.all_packages());
        sandfleet_common::hexadecimal(&Sha256::digest(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_images_are_valid() {
        let all = all(None).expect("valid");
        assert_eq!(all.len(), BUILT_IN.len());
        assert!(all.keys().all(|name| is_name(name)));
        assert!(all["python-data"].all_packages().contains(&"bash"));
    }

    #[test]
    fn nothing_becomes_an_option_or_a_path_outside_of_the_tree() {
        for (text, named) in [
            ("packages = []", "packages"),
            ("packages = [\"--force\"]", "packages: \"--force\""),
            ("packages = [\"a b\"]", "\"a b\""),
            ("packages = [\"a\"]\npython = [\"-r/etc/passwd\"]", "python"),
            ("packages = [\"a\"]\n[files]\n\"/../etc/passwd\" = \"\"", "/../etc/passwd"),
            ("packages = [\"a\"]\n[links]\n\"etc/x\" = \"\"", "etc/x"),
            ("packages = [\"a\"]\nsize = 1", "size"),
        ] {
            let why = read(text).expect_err(text);
            assert!(why.contains(named), "{text}: {why}");
        }
        for bad in ["", "-a", "a-", "A", "a/b", "..", "a_b"] {
            assert!(!is_name(bad), "{bad}");
        }
    }

    #[test]
    fn a_change_is_another_digest() {
        let one = read("packages = [\"a\"]").expect("valid");
        let other = read("packages = [\"a\"]\nnpm = [\"b\"]").expect("valid");
        assert_ne!(one.digest(), other.digest());
        assert_eq!(one.digest(), one.clone().digest());
    }
}
