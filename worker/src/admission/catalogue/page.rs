//! The page `docs/languages.md`, made from the built-in languages.

use super::index::Catalogue;

/// The text of the page.
pub fn reference() -> String {
    let mut page = "\
<!-- Made by `sandfleet docs languages`; edit deploy/languages instead. -->

# Languages

Each is a file in [deploy/languages](../deploy/languages). Those of the directory `jobs.languages_directory` come on top, and before
one of the same name. A worker announces those whose programs are in its sandbox; `sandfleet languages` lists them with their
versions and says how to get the others, and with `--check` it runs a program of each.

Each names an image, which both sandboxes use where it is there ([images.md](images.md)). Without it the native sandbox has
the host's programs, of these Debian packages; Docker has no such language then. Where a command needs them, `{file}` is the
program's file, `{args}` the job's arguments, `{memory_bytes}` and `{cpus}` what its container gives; a compiler's are those of
`limits.compile`.

| language | also | files end in | image | Debian packages of the host |
|---|---|---|---|---|
"
    .to_owned();
    let quoted = |words: &[String]| {
        words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
    };
    let catalogue = Catalogue::embedded();
    for (name, language) in catalogue.languages() {
        let [aliases, endings, packages] =
            [&language.aliases, &language.endings, &language.packages].map(|words| quoted(words));
        let image = &language.image;
        page.push_str(&format!("| `{name}` | {aliases} | {endings} | `{image}` | {packages} |\n"));
    }
    page.push_str("\n## How they are started\n");
    for (name, language) in catalogue.languages() {
        page.push_str(&format!("\n**{name}**\n\n```\n"));
        if let Some(compile) = &language.compile {
            page.push_str(&format!("{}\n", compile.command.join(" ")));
        }
        page.push_str(&format!("{}\n```\n", language.command.join(" ")));
    }
    page
}
