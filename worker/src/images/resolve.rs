//! Which files an image is made of at present: what apt, pip and npm would install, by version and SHA-256.

use std::{fs, path::Path, process::Command};

use serde::Deserialize;

use super::{
    command::{online, output, require},
    config::ImagesConfig,
    definition::Definition,
    error::ImageError,
    lock::{Entry, Kind, Lock},
    tree::sha256_of,
};

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Asks the archives what `definition` comes to; `work` is an empty directory.
///
/// # Errors
/// If one can't be asked, or has no such package.
pub(super) fn resolve(
    definition: &Definition,
    architecture: &str,
    config: &ImagesConfig,
    work: &Path,
) -> Result<Lock, ImageError> {
    let mut lock = Lock {
        definition: definition.digest(),
        release: definition.release.clone(),
        architecture: architecture.to_owned(),
        as_of: jiff::Timestamp::now().strftime("%F").to_string(),
        entries: debian(definition, architecture, config, work)?,
    };
    if !definition.python.is_empty() {
        let wheels = wheels(definition, &lock)?;
        lock.entries.extend(wheels);
    }
    for name in &definition.npm {
        lock.entries.push(npm(&placed(name, architecture), work)?);
    }
    lock.entries.sort();
    Ok(lock)
}

/// `text` with what npm calls the architecture.
pub(super) fn placed(text: &str, architecture: &str) -> String {
    let name = if architecture == "amd64" { "x64" } else { architecture };
    text.replace("{npm_architecture}", name)
}

/// The name that Debian has for this machine's architecture.
pub(super) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn debian(
    definition: &Definition,
    architecture: &str,
    config: &ImagesConfig,
    work: &Path,
) -> Result<Vec<Entry>, ImageError> {
    require("apt-get")?;
    if !Path::new(KEYRING).is_file() {
        let fix = "apt-get install debian-archive-keyring";
        return Err(ImageError::with_fix(format!("{KEYRING} is missing"), fix));
    }
    let settings = apt_settings(&definition.release, architecture, config, work)?;
    let apt = |arguments: &[&str]| -> Command {
        let mut command = online("apt-get");
        command.env("APT_CONFIG", &settings).env("LC_ALL", "C.UTF-8").args(arguments);
        command
    };
    output("reading Debian's lists of packages", &mut apt(&["-qq", "update", "--error-on=any"]))?;
    let mut install = apt(&["-qq", "-y", "--no-install-recommends", "--print-uris", "install"]);
    install.args(definition.all_packages());
    let printed = output("resolving Debian packages", &mut install)?;
    printed.lines().filter(|line| line.starts_with('\'')).map(|line| deb(line, config)).collect()
}

/// Settings under which apt knows another release than this machine's, and nothing as installed.
fn apt_settings(
    release: &str,
    architecture: &str,
    config: &ImagesConfig,
    work: &Path,
) -> Result<std::path::PathBuf, ImageError> {
    let directory = work.join("apt");
    let write = |name: &str, text: String| {
        let path = directory.join(name);
        fs::write(&path, text).map_err(|error| ImageError::of(&path, error))
    };
    for name in ["lists/partial", "cache/archives/partial", "preferences.d"] {
        let path = directory.join(name);
        fs::create_dir_all(&path).map_err(|error| ImageError::of(&path, error))?;
    }
    let signed = format!("deb [signed-by={KEYRING}]");
    let (debian, security) = (&config.debian_mirror, &config.security_mirror);
    write(
        "sources.list",
        format!(
            "{signed} {debian} {release} main\n{signed} {debian} {release}-updates main\n\
             {signed} {security} {release}-security main\n"
        ),
    )?;
    write("status", String::new())?;
    let at = directory.display();
    write(
        "apt.conf",
        format!(
            "Dir::State \"{at}\";\nDir::State::lists \"{at}/lists\";\nDir::State::status \"{at}/status\";\n\
             Dir::Cache \"{at}/cache\";\nDir::Etc::sourcelist \"{at}/sources.list\";\n\
             Dir::Etc::sourceparts \"/dev/null\";\nDir::Etc::preferencesparts \"{at}/preferences.d\";\n\
             Dir::Etc::preferences \"/dev/null\";\nAPT::Architecture \"{architecture}\";\n\
             APT::Architectures {{ \"{architecture}\"; }};\nAcquire::ForceHash \"SHA256\";\n\
             Acquire::Languages \"none\";\nAPT::Sandbox::User \"root\";\n"
        ),
    )?;
    Ok(directory.join("apt.conf"))
}

/// A line of `--print-uris`: 'URL' FILE SIZE SHA256:DIGEST.
fn deb(line: &str, config: &ImagesConfig) -> Result<Entry, ImageError> {
    let unknown = || ImageError::new(format!("apt-get printed {line:?}, which names no package"));
    let fields: Vec<&str> = line.split(' ').collect();
    let [url, file, _, digest] = fields[..] else { return Err(unknown()) };
    let url = url.trim_matches('\'');
    let mirrors =
        [(Kind::Security, &config.security_mirror), (Kind::Debian, &config.debian_mirror)];
    let (kind, path) = mirrors
        .into_iter()
        .find_map(|(kind, mirror)| {
            Some((kind, url.strip_prefix(mirror.trim_end_matches('/'))?.strip_prefix('/')?))
        })
        .ok_or_else(unknown)?;
    let (name, rest) = file.split_once('_').ok_or_else(unknown)?;
    let (version, _) = rest.rsplit_once('_').ok_or_else(unknown)?;
    let sha256 = digest.strip_prefix("SHA256:").ok_or_else(unknown)?;
    Ok(Entry {
        kind,
        name: name.to_owned(),
        version: version.replace("%3a", ":"),
        sha256: sha256.to_owned(),
        path: path.to_owned(),
    })
}

/// What `pip install --report` says.
#[derive(Deserialize)]
struct Report {
    install: Vec<Installed>,
}

#[derive(Deserialize)]
struct Installed {
    metadata: Metadata,
    download_info: Download,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    version: String,
}

#[derive(Deserialize)]
struct Download {
    url: String,
    archive_info: Archive,
}

#[derive(Deserialize)]
struct Archive {
    hashes: std::collections::BTreeMap<String, String>,
}

fn wheels(definition: &Definition, lock: &Lock) -> Result<Vec<Entry>, ImageError> {
    let mut pip = online("python3");
    pip.args(["-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"])
        .args(["--disable-pip-version-check", "--report", "-", "--target", "/nonexistent"])
        .args(python_target(lock)?)
        .args(&definition.python);
    let said = output("resolving packages of PyPI", &mut pip)?;
    let report: Report = serde_json::from_str(&said)
        .map_err(|error| ImageError::new(format!("pip's report can't be read: {error}")))?;
    let entry = |it: Installed| {
        let Download { url, archive_info } = it.download_info;
        let (name, sha256) = (url.rsplit('/').next(), archive_info.hashes.get("sha256"));
        match (name, sha256) {
            (Some(path), Some(sha256)) => Ok(Entry {
                kind: Kind::Wheel,
                name: it.metadata.name,
                version: it.metadata.version,
                sha256: sha256.clone(),
                path: path.to_owned(),
            }),
            _ => Err(ImageError::new(format!("pip says no SHA-256 of {url}"))),
        }
    };
    report.install.into_iter().map(entry).collect()
}

/// Options by which pip takes wheels for the image's Python and C library, and not for this machine's.
pub(super) fn python_target(lock: &Lock) -> Result<Vec<String>, ImageError> {
    let version = |package: &str| {
        let found = lock.entries.iter().find(|entry| entry.is_deb() && entry.name == package);
        let version = found
            .map(|entry| entry.version.split_once(':').map_or(entry.version.as_str(), |it| it.1));
        let mut parts = version.unwrap_or_default().split(['.', '-', '+', '~']);
        let numbers = (parts.next()?.parse::<u32>().ok()?, parts.next()?.parse::<u32>().ok()?);
        Some(numbers)
    };
    let needs = |package: &str| {
        ImageError::new(format!("python: needs the Debian package {package} in the image"))
    };
    let (major, minor) = version("python3").ok_or_else(|| needs("python3"))?;
    let (_, libc) = version("libc6").ok_or_else(|| needs("libc6"))?;
    let machine = if lock.architecture == "amd64" { "x86_64" } else { "aarch64" };
    let mut options = vec![
        "--only-binary=:all:".to_owned(),
        format!("--python-version={major}.{minor}"),
        "--implementation=cp".into(),
        format!("--abi=cp{major}{minor}"),
        "--abi=abi3".into(),
        "--abi=none".into(),
    ];
    // The first that C libraries were told apart by.
    options.extend((17..=libc).rev().map(|it| format!("--platform=manylinux_2_{it}_{machine}")));
    options.push(format!("--platform=manylinux2014_{machine}"));
    Ok(options)
}

/// What `npm pack --json` says.
#[derive(Deserialize)]
struct Packed {
    name: String,
    version: String,
    filename: String,
}

fn npm(name: &str, work: &Path) -> Result<Entry, ImageError> {
    let (packed, directory) = pack(name, work)?;
    let path = directory.join(&packed.filename);
    Ok(Entry {
        kind: Kind::Npm,
        name: packed.name,
        version: packed.version,
        sha256: sha256_of(&path)?,
        path: packed.filename,
    })
}

/// Has npm fetch the package `name`, or `name@version`, into `work`.
fn pack<'a>(name: &str, work: &'a Path) -> Result<(Packed, &'a Path), ImageError> {
    let mut npm = online("npm");
    npm.args(["pack", "--json", "--silent", "--pack-destination"]).arg(work).arg(name);
    // It writes into its working directory if it can't write elsewhere.
    npm.current_dir(work);
    let said = output("fetching a package of npm", &mut npm)?;
    let packed = serde_json::from_str::<Vec<Packed>>(&said)
        .map_err(|error| error.to_string())
        .and_then(|mut packed| packed.pop().ok_or_else(|| "it is empty".into()));
    let packed = packed.map_err(|why| {
        ImageError::new(format!("npm pack {name}: its answer can't be read: {why}"))
    })?;
    Ok((packed, work))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> ImagesConfig {
        ImagesConfig {
            directory: "/nowhere".into(),
            definitions: None,
            debian_mirror: "http://deb.debian.org/debian".into(),
            security_mirror: "http://deb.debian.org/debian-security/".into(),
        }
    }

    #[test]
    fn a_package_is_known_by_its_archive_its_version_and_its_digest() {
        let line = "'http://deb.debian.org/debian/pool/main/g/go/golang-go_1.24%7e2_amd64.deb' \
                    golang-go_2%3a1.24~2_amd64.deb 44 SHA256:ab";
        let entry = deb(line, &config()).expect("a package");
        assert_eq!((entry.kind, entry.name.as_str()), (Kind::Debian, "golang-go"));
        assert_eq!((entry.version.as_str(), entry.sha256.as_str()), ("2:1.24~2", "ab"));
        assert_eq!(entry.path, "pool/main/g/go/golang-go_1.24%7e2_amd64.deb");
        let line =
            "'http://deb.debian.org/debian-security/pool/a_1_all.deb' a_1_all.deb 4 SHA256:ab";
        assert_eq!(deb(line, &config()).expect("a package").kind, Kind::Security);
        for bad in [
            "'http://elsewhere.example/pool/a_1_all.deb' a_1_all.deb 4 SHA256:ab",
            "'http://deb.debian.org/debian/pool/a_1_all.deb' a_1_all.deb 4 MD5Sum:ab",
        ] {
            assert!(deb(bad, &config()).is_err(), "{bad}");
        }
    }

    #[test]
    fn wheels_are_for_the_python_and_the_libc_of_the_image() {
        let entry = |name: &str, version: &str| Entry {
            kind: Kind::Debian,
            name: name.into(),
            version: version.into(),
            sha256: String::new(),
            path: String::new(),
        };
        let lock = Lock {
            definition: String::new(),
            release: "trixie".into(),
            architecture: "amd64".into(),
            as_of: String::new(),
            entries: vec![entry("python3", "3.13.5-1"), entry("libc6", "2.41-12+deb13u3")],
        };
        let options = python_target(&lock).expect("both are there");
        for expected in ["--python-version=3.13", "--abi=cp313", "--platform=manylinux_2_41_x86_64"]
        {
            assert!(options.contains(&expected.to_owned()), "{options:?}");
        }
        let without = Lock { entries: Vec::new(), ..lock };
        assert!(python_target(&without).expect_err("none").to_string().contains("python3"));
    }
}
