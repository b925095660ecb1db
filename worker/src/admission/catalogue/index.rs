//! All languages, by name.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use serde::Deserialize;

use super::{
    language::Language,
    load::{self, Fault},
    warm::{Shared, WarmStart},
};

/// All languages, by name.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct Catalogue(BTreeMap<String, Language>);

/// How alike a name has to be to one that there is, to be taken for a slip of the pen: 1 is the same.
const ALIKE: f64 = 0.6;

impl Catalogue {
    /// The name of the language that `name` is or is another name of, and that language.
    ///
    /// # Errors
    /// Says which languages there are, the nearest first, or that the sandbox doesn't have this one.
    pub fn find(&self, name: &str) -> Result<(&str, &Language), String> {
        let found = self.0.get_key_value(name).or_else(|| {
            self.0.iter().find(|(_, language)| language.aliases.iter().any(|alias| alias == name))
        });
        match found {
            Some((name, language)) if language.is_installed => Ok((name, language)),
            Some((name, language)) => Err(format!(
                "language: {name:?} is not installed in this sandbox: it needs the image {} (`sandfleet images build \
                 {0}`), or on a host without it {1}",
                language.image,
                language.packages.join(", ")
            )),
            None => Err(self.unknown(name)),
        }
    }

    fn unknown(&self, name: &str) -> String {
        let shown: String = name.chars().take(40).collect();
        let likeness =
            |known: &str| strsim::normalized_damerau_levenshtein(known, &shown.to_lowercase());
        let near = self.all_names().filter(|known| likeness(known) >= ALIKE);
        let nearest = near.max_by(|one, other| likeness(one).total_cmp(&likeness(other)));
        let meant = nearest.map_or_else(String::new, |near| format!("did you mean {near:?}? "));
        format!("language: {shown:?} is not offered; {meant}use one of {}", self.names().join(", "))
    }

    /// The name of the language whose files end like `file`.
    pub fn guess(&self, file: &str) -> Option<&str> {
        let (_, ending) = file.rsplit_once('.')?;
        let matches = |(_, language): &(&String, &Language)| {
            language.endings.iter().any(|known| known == ending)
        };
        self.0.iter().find(matches).map(|(name, _)| name.as_str())
    }

    /// All interpreters that may be started ahead.
    pub fn warm_starts(&self) -> Vec<WarmStart> {
        let installed = self.0.iter().filter(|(_, language)| language.is_installed);
        installed.flat_map(|(name, language)| language.warm_starts(name)).collect()
    }

    /// The names of the languages that can be run, without their other names.
    pub fn names(&self) -> Vec<&str> {
        let installed = self.0.iter().filter(|(_, language)| language.is_installed);
        installed.map(|(name, _)| name.as_str()).collect()
    }

    /// Each language that can be run by every name that a job may use.
    pub fn all_names(&self) -> impl Iterator<Item = &str> {
        let installed = self.0.iter().filter(|(_, language)| language.is_installed);
        installed.flat_map(|(name, language)| {
            std::iter::once(name.as_str()).chain(language.aliases.iter().map(String::as_str))
        })
    }

    /// All languages that are known, installed or not.
    pub fn languages(&self) -> impl Iterator<Item = (&str, &Language)> {
        self.0.iter().map(|(name, language)| (name.as_str(), language))
    }

    /// The images that languages are in.
    pub fn images(&self) -> BTreeSet<&str> {
        self.0.values().map(|language| language.image.as_str()).collect()
    }

    /// The programs and other files that the languages of `image` can't do without, by absolute paths.
    pub fn files(&self, image: &str) -> BTreeSet<&str> {
        let languages = self.0.values().filter(|language| language.image == image);
        languages.flat_map(Language::files).collect()
    }

    /// Takes those languages for installed that are in an image all of whose files `has`.
    #[must_use]
    pub fn with_files(mut self, has: impl Fn(&str, &str) -> bool) -> Self {
        for language in self.0.values_mut() {
            let has_all = language.files().all(|file| has(&language.image, file));
            language.is_installed = has_all;
        }
        self
    }

    /// The built-in catalogue.
    ///
    /// # Panics
    /// Never: a test reads the same text.
    pub fn embedded() -> Self {
        let mut catalogue = Self(load::built_in());
        catalogue.share_warm().expect("built-in languages name each other");
        catalogue
    }

    /// The built-in catalogue with the languages of `directory`, which come before built-in ones of the same name.
    ///
    /// # Errors
    /// Every fault in every file.
    pub fn load(directory: &Path) -> Result<Self, Vec<Fault>> {
        let (languages, mut faults) = load::with_directory(directory);
        let mut catalogue = Self(languages);
        let mut problems = catalogue.ambiguities();
        problems.extend(catalogue.share_warm().err());
        let of_directory = |problem| Fault { path: directory.to_owned(), line: None, problem };
        faults.extend(problems.into_iter().map(of_directory));
        if faults.is_empty() { Ok(catalogue) } else { Err(faults) }
    }

    /// What a name or an ending would mean twice.
    fn ambiguities(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let (mut names, mut endings) = (BTreeMap::new(), BTreeMap::new());
        for (name, language) in &self.0 {
            for known in std::iter::once(name).chain(&language.aliases) {
                if let Some(other) = names.insert(known, name) {
                    faults.push(format!("{known:?} is a name of {other} and of {name}"));
                }
            }
            for ending in &language.endings {
                if let Some(other) = endings.insert(ending, name) {
                    faults.push(format!("the ending {ending:?} is that of {other} and of {name}"));
                }
            }
        }
        faults
    }

    /// Lets the languages that say so start from the interpreters of another one.
    ///
    /// # Errors
    /// If there is no such language, or it has none of its own.
    pub(super) fn share_warm(&mut self) -> Result<(), String> {
        let owners: BTreeMap<String, Shared> = self
            .0
            .iter()
            .filter(|(_, language)| !language.warm.is_empty())
            .map(|(name, language)| (name.clone(), language.shared_as(name)))
            .collect();
        for (name, language) in &mut self.0 {
            let owner = language.warm_like.as_ref().unwrap_or(name);
            language.shared = owners.get(owner).cloned();
            if language.shared.is_none() && language.warm_like.is_some() {
                return Err(format!("{name}: warm_like: {owner:?} has no warm interpreters"));
            }
        }
        Ok(())
    }
}
