use std::collections::{BTreeMap, BTreeSet};

use super::{Bounds, Catalogue, load::BUILT_IN};

const BOUNDS: Bounds = Bounds { memory_bytes: 64 << 20, cpus: 2 };

#[test]
fn every_language_can_be_found_and_started() {
    let catalogue = Catalogue::embedded();
    for name in catalogue.names() {
        let (_, language) = catalogue.find(name).expect("its own name");
        if !language.endings.is_empty() {
            assert_eq!(catalogue.guess(&language.file), Some(name));
        }
        let command = language.command("-c", &["x y".into()], BOUNDS);
        assert!(command[0].starts_with('/'), "{command:?}");
        let last = language.takes_arguments().then_some("x y");
        assert!(last.is_none_or(|last| command.last().is_some_and(|it| it == last)), "{command:?}");
        let compile = language.compile.as_ref();
        let reads_file =
            compile.map_or(command, |_| language.compiler("-c", BOUNDS).unwrap().command);
        assert!(reads_file[0].starts_with('/') && reads_file.contains(&"./-c".into()));
        assert!(compile.is_none_or(|compile| !compile.made.is_empty()));
    }
    assert!(catalogue.find("Python\0").expect_err("unknown").contains("python"));
}

#[test]
fn what_is_looked_at_before_the_copy_makes_a_cold_start() {
    let catalogue = Catalogue::embedded();
    let (_, python) = catalogue.find("python").expect("built in");
    let start = |text: &[u8], brought: &str| {
        let files = [("main.py".to_owned(), text.to_vec()), (brought.to_owned(), Vec::new())];
        python.warm_start("main.py", &files, &BTreeMap::new())
    };
    assert_eq!(start(b"import pandas", "in.txt").as_deref(), Some("python/data"));
    assert_eq!(start(b"print()", "mine.so").as_deref(), Some("python/plain"));
    for module in ["mine.py", "mine.pyc", "mine.abi3.so", "a/mine.py", "matplotlibrc"] {
        assert_eq!(start(b"import pandas", module).as_deref(), Some("python/plain"));
    }
    for place in [".local/lib/a", ".fonts/a.ttf", ".config/a"] {
        assert_eq!(start(b"print()", place), None, "{place}");
    }
    for text in [&b"PK\x05\x06"[..], b"\xa7\x0d\x0d\x0a"] {
        assert_eq!(start(text, "in.txt"), None, "{text:?}");
    }
}

#[test]
fn a_job_can_replace_a_variable_but_not_lose_one() {
    let catalogue = Catalogue::embedded();
    let (_, python) = catalogue.find("python").expect("built in");
    let environment = python.environment(&[("LANG".into(), "de".into())].into(), BOUNDS);
    assert!(environment.contains(&("LANG".into(), "de".into())));
    assert!(environment.contains(&("HOME".into(), "/box".into())));
}

#[test]
fn a_language_has_other_names_and_a_slip_of_the_pen_is_understood() {
    let catalogue = Catalogue::embedded();
    for (alias, name) in [("py", "python"), ("c++", "cpp"), ("node", "javascript"), ("rs", "rust")]
    {
        assert_eq!(catalogue.find(alias).unwrap().0, name);
    }
    for (slip, meant) in [("pyhton", "python"), ("javscript", "javascript"), ("Java", "java")] {
        let why = catalogue.find(slip).unwrap_err();
        assert!(why.contains(&format!("did you mean {meant:?}?")), "{why}");
    }
    assert!(!catalogue.find("cobol").unwrap_err().contains("did you mean"));
}

#[test]
fn what_is_not_installed_is_refused_by_name_and_says_what_it_needs() {
    let found = BTreeSet::from(["/usr/bin/python3".to_owned(), "/usr/bin/java".to_owned()]);
    let catalogue = Catalogue::embedded().with_files(|_, file| found.contains(file));
    assert!(catalogue.find("python").is_ok());
    // Its compiler isn't there.
    let why = catalogue.find("java").unwrap_err();
    assert!(why.contains("openjdk-17-jdk-headless") && why.contains("images build jvm"), "{why}");
    assert_eq!(catalogue.names(), ["python"]);
    assert!(catalogue.all_names().any(|name| name == "py"));
}

#[test]
fn what_depends_on_the_limits_follows_from_them_and_no_argument_does() {
    let catalogue = Catalogue::embedded();
    let (_, java) = catalogue.find("java").unwrap();
    let command = java.command("Main.java", &["{memory_bytes}".into()], BOUNDS);
    assert!(command.contains(&"-XX:MaxRAM=67108864".into()), "{command:?}");
    assert!(command.contains(&"-XX:ActiveProcessorCount=2".into()), "{command:?}");
    assert_eq!(command.last().unwrap(), "{memory_bytes}");
    let (_, go) = catalogue.find("go").unwrap();
    let environment = go.environment(&[("A".into(), "{cpus}".into())].into(), BOUNDS);
    assert!(environment.contains(&("GOMEMLIMIT".into(), "67108864".into())));
    assert!(environment.contains(&("A".into(), "{cpus}".into())));
}

#[test]
fn languages_that_share_interpreters_start_from_the_same_one_and_agree_on_modules() {
    let catalogue = Catalogue::embedded();
    let (_, data) = catalogue.find("python-data").unwrap();
    let start = |brought: &str| {
        let files =
            [("main.py".to_owned(), b"import pandas".to_vec()), (brought.to_owned(), Vec::new())];
        data.warm_start("main.py", &files, &BTreeMap::new())
    };
    assert_eq!(start("in.csv").as_deref(), Some("python/data"));
    assert_eq!(start("mine.py").as_deref(), Some("python/plain"));
    let names = |start: &super::WarmStart| start.name.clone();
    let starts: Vec<_> = catalogue.warm_starts().iter().map(names).collect();
    assert_eq!(starts, ["python/data", "python/plain"]);
}

#[test]
fn every_built_in_file_is_a_language_of_the_directory_beside_the_readme() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/languages");
    let mut files: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    let mut built_in = BUILT_IN.map(|(name, _)| format!("{name}.toml"));
    built_in.sort();
    assert_eq!(files, built_in);
    let catalogue = Catalogue::load(directory.as_ref()).unwrap();
    assert_eq!(catalogue, Catalogue::embedded());
    for (name, language) in catalogue.languages() {
        assert!(!language.hello.is_empty() && !language.version.is_empty(), "{name}");
        assert!(!language.packages.is_empty(), "{name}");
    }
}

#[test]
fn the_page_of_languages_says_what_the_files_do() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/languages.md");
    assert!(
        std::fs::read_to_string(path).unwrap_or_default() == super::reference(),
        "docs/languages.md is stale; run: cargo run -- docs languages > docs/languages.md"
    );
}

#[test]
fn an_operators_files_add_and_replace_and_every_mistake_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    let plain = "endings = [\"awk\"]\nfile = \"main.awk\"\ncommand = [\"/usr/bin/awk\", \"-f\", \"{file}\", \"{args}\"]\n";
    write("awk.toml", plain);
    write("notes.txt", "no language");
    write("bash.toml", &plain.replace("awk", "sh"));
    let catalogue = Catalogue::load(directory.path()).unwrap();
    assert_eq!(catalogue.guess("a.awk"), Some("awk"));
    assert_eq!(catalogue.find("bash").unwrap().1.endings, ["sh"]);

    write("awk.toml", &plain.replace("/usr/bin/awk", "awk"));
    write("bash.toml", &plain.replace("\"awk\"", "\"py\""));
    write("Upper.toml", plain);
    write("zsh.toml", "endings = []\nfiel = 1\n");
    let faults = Catalogue::load(directory.path()).unwrap_err();
    let told: Vec<_> = faults
        .iter()
        .map(|fault| format!("{}:{:?} {}", fault.path.display(), fault.line, fault.problem))
        .collect();
    let has = |part: &str| told.iter().any(|line| line.contains(part));
    assert!(has("awk.toml:None command: begins with the absolute path"), "{told:#?}");
    assert!(has("Upper.toml:None \"Upper\" is no name of a language"), "{told:#?}");
    assert!(has("zsh.toml:Some(2) unknown field `fiel`"), "{told:#?}");
    assert!(has("the ending \"py\" is that of bash and of python"), "{told:#?}");
}
