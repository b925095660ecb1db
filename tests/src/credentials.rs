//! The users of broker and store that `deploy/credentials/make` makes: a role each.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The users in one directory.
#[derive(Debug, Clone)]
pub struct Credentials {
    directory: PathBuf,
}

/// The addresses of broker and store, with the login of one user.
#[derive(Debug, Clone)]
pub struct Login {
    /// The broker.
    pub amqp_url: String,
    /// The store.
    pub redis_url: String,
}

impl Credentials {
    /// Those in a directory that the script has made.
    pub fn at(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// Where they are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Runs the script on the directory; gives what it says.
    ///
    /// # Panics
    /// If it fails.
    pub fn make(&self, arguments: &[&str]) -> String {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/credentials/make");
        let made = Command::new(script).arg(&self.directory).args(arguments).output();
        let made = made.expect("the script runs");
        let said = String::from_utf8_lossy(&made.stdout).into_owned();
        assert!(made.status.success(), "{said}{}", String::from_utf8_lossy(&made.stderr));
        said
    }

    /// How the user called `name` in the directory logs in.
    ///
    /// # Panics
    /// If there is none.
    pub fn login(&self, name: &str) -> Login {
        let read = |path: &Path| {
            fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        };
        let settings = read(&self.directory.join(format!("{name}.env")));
        let value = |setting: &str| {
            let found =
                settings.lines().find_map(|line| line.strip_prefix(setting)?.strip_prefix('='));
            found.unwrap_or_else(|| panic!("{setting} is missing in {settings}")).to_owned()
        };
        let url = |service: &str| {
            let password = read(Path::new(&value(&format!("SANDFLEET_{service}_PASSWORD_FILE"))));
            let url = value(&format!("SANDFLEET_{service}_URL"));
            url.replacen('@', &format!(":{}@", password.trim()), 1)
        };
        Login { amqp_url: url("QUEUE"), redis_url: url("STORE") }
    }
}
