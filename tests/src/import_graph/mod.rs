//! Which file of a crate imports which: `use` declarations and paths in code, followed through re-exports to the
//! file that declares the name.
//!
//! Two things are no imports: what is only in tests, and `pub use`, by which a module gives its children's names to
//! others.

mod source;
mod tokens;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;

use source::Scope;

/// The files of some crates and their imports.
#[derive(Debug, Default)]
pub struct ImportGraph {
    /// Of each file the files that it imports, each with a path that does.
    imports: BTreeMap<PathBuf, BTreeMap<PathBuf, String>>,
}

/// A module of a crate.
struct Module {
    file: PathBuf,
    scope: Scope,
}

/// The modules of a crate by their paths from its root.
type Modules = BTreeMap<Vec<String>, Module>;

/// How many re-exports may lie between a name and its declaration.
const MOST_REEXPORTS: usize = 16;

impl ImportGraph {
    /// The graph of every crate below `top` that has a `src` directory.
    ///
    /// # Errors
    /// If a file can't be read or a module has none.
    pub fn of_workspace(top: &Path) -> anyhow::Result<Self> {
        let mut graph = Self::default();
        for root in crate_roots(top)? {
            graph.add_crate(top, &root)?;
        }
        Ok(graph)
    }

    /// Adds the modules below the crate root `root`.
    fn add_crate(&mut self, top: &Path, root: &Path) -> anyhow::Result<()> {
        let mut modules = Modules::new();
        let directory = root.parent().context("a directory")?;
        read_file(&mut modules, root, directory, &[])?;
        for (place, module) in &modules {
            let shown = |file: &Path| file.strip_prefix(top).unwrap_or(file).to_owned();
            let imported = self.imports.entry(shown(&module.file)).or_default();
            let uses = module.scope.uses.iter().filter(|it| !it.is_public);
            let uses = uses.map(|it| match it.name.as_str() {
                "*" => [&it.path[..], &["*".to_owned()]].concat(),
                _ => it.path.clone(),
            });
            let paths = module.scope.paths.iter().map(|path| module.scope.expand(path));
            for path in uses.chain(paths) {
                let Some(file) = resolve(&modules, place, &path, MOST_REEXPORTS) else { continue };
                if file != module.file {
                    imported.entry(shown(file)).or_insert_with(|| path.join("::"));
                }
            }
        }
        Ok(())
    }

    /// How many files it has.
    pub fn files(&self) -> usize {
        self.imports.len()
    }

    /// The circles: for each group of files that import each other, directly or through others of the group, one
    /// line for each import inside the group.
    pub fn circles(&self) -> Vec<Vec<String>> {
        let reached: BTreeMap<&Path, BTreeSet<&Path>> =
            self.imports.keys().map(|file| (file.as_path(), self.reached_from(file))).collect();
        let mut circles = Vec::new();
        let mut seen = BTreeSet::new();
        for (file, others) in &reached {
            let is_in_group =
                |other: &&&Path| reached.get(**other).is_some_and(|it| it.contains(file));
            let group: BTreeSet<&Path> = others.iter().filter(is_in_group).copied().collect();
            if group.is_empty() || !seen.insert(group.clone()) {
                continue;
            }
            let lines = group.iter().flat_map(|from| {
                let inside =
                    self.imports[*from].iter().filter(|(to, _)| group.contains(to.as_path()));
                inside.map(|(to, path)| {
                    format!("{} imports {} ({path})", from.display(), to.display())
                })
            });
            circles.push(lines.collect());
        }
        circles
    }

    fn reached_from<'g>(&'g self, file: &'g Path) -> BTreeSet<&'g Path> {
        let mut reached = BTreeSet::new();
        let mut next = vec![file];
        while let Some(file) = next.pop() {
            let imported = self.imports.get(file).into_iter().flat_map(BTreeMap::keys);
            next.extend(imported.map(PathBuf::as_path).filter(|it| reached.insert(*it)));
        }
        reached
    }
}

/// The roots of libraries and binaries below `directory`.
fn crate_roots(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut roots = Vec::new();
    for entry in entries(directory)? {
        let name = entry.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = name.unwrap_or_default();
        if entry.is_dir() && name == "src" {
            roots.extend(["lib.rs", "main.rs"].map(|root| entry.join(root)));
            for binary in entries(&entry.join("bin"))? {
                roots.push(if binary.is_dir() { binary.join("main.rs") } else { binary });
            }
        } else if entry.is_dir() && name != "target" && !name.starts_with('.') {
            roots.append(&mut crate_roots(&entry)?);
        }
    }
    roots.retain(|root| root.is_file());
    Ok(roots)
}

/// The entries of a directory, none if there is no such directory.
fn entries(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !directory.is_dir() {
        return Ok(Vec::new());
    }
    let listed = fs::read_dir(directory).with_context(|| directory.display().to_string())?;
    Ok(listed.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?)
}

/// Reads the file of the module at `place` and of those below it, which are in `directory`.
fn read_file(
    modules: &mut Modules,
    file: &Path,
    directory: &Path,
    place: &[String],
) -> anyhow::Result<()> {
    let source = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    for scope in source::scopes(&source) {
        let inner = [place, &scope.path].concat();
        let below = scope.path.iter().fold(directory.to_owned(), |path, name| path.join(name));
        for (name, path) in &scope.files {
            let (file, directory) = match path {
                // From the directory of this file, and so are the modules of that one.
                Some(path) => {
                    let file = file.parent().context("a directory")?.join(path);
                    let directory = file.parent().context("a directory")?.to_owned();
                    (file, directory)
                }
                None => {
                    let plain = below.join(format!("{name}.rs"));
                    let file =
                        if plain.is_file() { plain } else { below.join(name).join("mod.rs") };
                    (file, below.join(name))
                }
            };
            read_file(modules, &file, &directory, &child(&inner, name))?;
        }
        modules.insert(inner, Module { file: file.to_owned(), scope });
    }
    Ok(())
}

/// The file that declares what `path` names in the module at `place`; `None` if that isn't in this crate.
fn resolve<'m>(
    modules: &'m Modules,
    place: &[String],
    path: &[String],
    reexports: usize,
) -> Option<&'m Path> {
    let (mut at, rest) = start(modules, place, path)?;
    let mut rest = rest;
    while let Some((name, after)) = rest.split_first() {
        let below = child(&at, name);
        if !modules.contains_key(&below) {
            break;
        }
        (at, rest) = (below, after);
    }
    let module = modules.get(&at)?;
    let Some((name, after)) = rest.split_first() else { return Some(&module.file) };
    if name == "*" || module.scope.declared.contains(name) || reexports == 0 {
        return Some(&module.file);
    }
    // The name may be imported there, as itself or with all others of a module.
    let named = module.scope.uses.iter().filter(|it| it.name == *name);
    let named = named.map(|it| [&it.path[..], after].concat());
    let globs = module.scope.uses.iter().filter(|it| it.name == "*");
    let globs = globs.map(|it| [&it.path[..], rest].concat());
    let from_globs = globs.filter(|path| declares(modules, &at, path, reexports - 1));
    let found = named.chain(from_globs).find(|path| *path != [&at[..], rest].concat());
    match found {
        // From another crate: then the module that has it is what is imported.
        Some(path) => resolve(modules, &at, &path, reexports - 1).or(Some(&module.file)),
        None => Some(&module.file),
    }
}

/// Whether the module that `path` leads to has its last name.
fn declares(modules: &Modules, place: &[String], path: &[String], reexports: usize) -> bool {
    let Some((mut at, rest)) = start(modules, place, path) else { return false };
    for name in rest {
        let below = child(&at, name);
        if !modules.contains_key(&below) {
            let scope = &modules[&at].scope;
            let is_named = |it: &source::Use| it.name == *name && reexports > 0;
            return scope.declared.contains(name) || scope.uses.iter().any(is_named);
        }
        at = below;
    }
    true
}

fn child(place: &[String], name: &str) -> Vec<String> {
    let mut child = place.to_vec();
    child.push(name.to_owned());
    child
}

/// The module where `path` begins, as its path from the root, and the names after that.
fn start<'p>(
    modules: &Modules,
    place: &[String],
    path: &'p [String],
) -> Option<(Vec<String>, &'p [String])> {
    let (first, mut rest) = path.split_first()?;
    let mut at = match first.as_str() {
        "crate" => Vec::new(),
        "self" => place.to_vec(),
        "super" => place.split_last()?.1.to_vec(),
        name => {
            // A module in scope; anything else is another crate's, or a type that a `use` names.
            let below = child(place, name);
            return modules.contains_key(&below).then_some((below, rest));
        }
    };
    while let Some(("super", after)) =
        rest.split_first().map(|(name, after)| (name.as_str(), after))
    {
        at.pop()?;
        rest = after;
    }
    Some((at, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The circles of a crate with these files below `src`.
    fn circles(files: &[(&str, &str)]) -> Vec<Vec<String>> {
        let top = tempfile::tempdir().expect("room");
        for (name, text) in files {
            let file = top.path().join("src").join(name);
            fs::create_dir_all(file.parent().expect("a directory")).expect("room");
            fs::write(file, text).expect("room");
        }
        let graph = ImportGraph::of_workspace(top.path()).expect("a crate");
        assert_eq!(graph.files(), files.len(), "every file is reached");
        graph.circles()
    }

    const A_AND_B: (&str, &str) = ("lib.rs", "mod a; mod b; pub use a::A;");

    #[test]
    fn two_files_that_import_each_other_are_a_circle_and_named_with_both_paths() {
        let found = circles(&[
            A_AND_B,
            ("a.rs", "use crate::b::{self, B as C}; pub struct A;"),
            ("b.rs", "pub struct B; fn f(a: super::a::A) {}"),
        ]);
        let expected =
            ["src/a.rs imports src/b.rs (crate::b)", "src/b.rs imports src/a.rs (super::a::A)"];
        assert_eq!(found, [expected]);
    }

    #[test]
    fn one_direction_tests_and_text_are_no_circle() {
        for b in [
            "pub struct B;",
            "// use crate::a::A;\npub struct B; const T: &str = \"crate::a::A\";",
            "pub struct B; #[cfg(test)] mod tests { use crate::a::A; use super::super::a; }",
            "pub struct B; #[cfg(test)] use crate::a::A;",
            "pub struct B; mod inner { use super::*; }",
            "pub struct B; use std::a::A; fn f() { other::a::A }",
        ] {
            let a = ("a.rs", "use super::b::B; pub struct A;");
            assert!(circles(&[A_AND_B, a, ("b.rs", b)]).is_empty(), "{b}");
        }
    }

    #[test]
    fn a_longer_circle_is_one() {
        let found = circles(&[
            ("lib.rs", "mod a; mod b; mod c;"),
            ("a.rs", "use crate::b::B; pub struct A;"),
            ("b.rs", "use crate::c::C; pub struct B;"),
            ("c.rs", "pub struct C; fn f() { crate::a::A; }"),
        ]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].len(), 3, "{found:?}");
    }

    #[test]
    fn a_parent_that_uses_its_child_is_a_circle_only_if_the_child_uses_the_parents_own() {
        let parent = "mod b; mod c; pub use b::B; use c::C; pub struct A;";
        let child = |text| {
            let files = [
                ("lib.rs", "mod a;"),
                ("a/mod.rs", parent),
                ("a/b.rs", text),
                ("a/c.rs", "pub struct C;"),
            ];
            circles(&files).len()
        };
        assert_eq!(child("pub struct B; use super::A;"), 0, "`pub use` and `mod` are no imports");
        assert_eq!(child("pub struct B; use super::C;"), 0, "which is another child's");
        let parent = "mod b; pub use b::B; fn f() { b::g() } pub struct A; pub(super) use b::*;";
        for (b, count) in [
            ("pub struct B; use super::A;", 1),
            ("pub struct B; use super::*;", 1),
            ("pub struct B; use std::A;", 0),
        ] {
            let files = [("lib.rs", "mod a;"), ("a.rs", parent), ("a/b.rs", b)];
            assert_eq!(circles(&files).len(), count, "{b}");
        }
    }

    #[test]
    fn a_reexport_hides_no_circle() {
        for reexport in
            ["pub use b::B;", "pub use b::*;", "pub use b::B as C; pub use self::C as B;"]
        {
            let root = format!("mod a; mod b; {reexport}");
            let found = circles(&[
                ("lib.rs", &root),
                ("a.rs", "use crate::B; pub struct A;"),
                ("b.rs", "use crate::a::A; pub struct B;"),
            ]);
            assert_eq!(found.len(), 1, "{reexport}");
        }
    }

    #[test]
    fn a_module_with_a_file_of_another_name_is_followed() {
        let found = circles(&[
            ("lib.rs", "#[path = \"other/x.rs\"] mod a; mod b { mod c; }"),
            ("other/x.rs", "use crate::b::c::C; pub struct A;"),
            ("b/c.rs", "use super::super::a::A; pub struct C;"),
        ]);
        assert_eq!(found.len(), 1);
    }
}
