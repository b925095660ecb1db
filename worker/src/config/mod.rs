//! The settings of the worker and of the client commands. Nothing else reads the environment or a
//! configuration file, and everything that is wrong is said at once, before anything connects.
//!
//! `table` declares every setting once; the types, the checks, `docs/configuration.md` and
//! `sandfleet`'s error messages follow from it.

mod address;
mod kind;
mod report;
mod source;
mod table;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that panics has failed")]
mod tests;

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use sandfleet_common::LimitName;

pub use address::ServiceUrl;
pub use kind::{Backend, HostNames, LogFormat};
pub use report::{ConfigErrors, reference};
pub use table::{
    AdminSettings, JobSettings, LimitSettings, LogSettings, QueueSettings, SandboxSettings,
    Settings, StoreSettings, WorkerSettings,
};

use report::Mistake;
use source::Values;
use table::{LIMITS_DEFAULT, LIMITS_MAX};

/// The file that is read when neither `--config` nor `SANDFLEET_CONFIG` names one, if it exists.
pub const DEFAULT_FILE: &str = "/etc/sandfleet/sandfleet.toml";

/// The environment variable that names the file.
pub const FILE_VARIABLE: &str = "SANDFLEET_CONFIG";

impl Settings {
    /// The settings from the file at `path` (or the one `SANDFLEET_CONFIG` names, or
    /// [`DEFAULT_FILE`]), overridden by the `SANDFLEET_*` variables in `environment`, which is
    /// [`std::env::vars_os`] outside tests.
    ///
    /// # Errors
    /// Every mistake in all of them.
    pub fn load(
        path: Option<&Path>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigErrors> {
        load_with_default(path, environment, Path::new(DEFAULT_FILE))
    }

    /// The settings in force as TOML, the source of each beside it, passwords masked.
    pub fn effective(&self) -> String {
        report::effective(&self.values)
    }
}

fn load_with_default(
    path: Option<&Path>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    default_file: &Path,
) -> Result<Settings, ConfigErrors> {
    let environment: Vec<_> = environment.into_iter().collect();
    let mut values = Values::default();
    let mut mistakes = Vec::new();

    let named = path.map(Path::to_owned).or_else(|| file_variable(&environment));
    let file = named.as_deref().unwrap_or(default_file);
    let mut file_is_readable = true;
    match fs::read_to_string(file) {
        Ok(text) => file_is_readable = values.read_file(file, &text, &mut mistakes),
        Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_none() => {}
        Err(error) => {
            file_is_readable = false;
            mistakes.push(Mistake::of_file(file, None, &format!("cannot be read: {error}")));
        }
    }
    values.read_environment(environment, &mut mistakes);
    insert_password(&mut values, "queue", &mut mistakes);
    insert_password(&mut values, "store", &mut mistakes);
    // Against defaults that the unreadable file may have replaced, the rest could be blamed wrongly.
    if file_is_readable {
        mistakes.extend(contradictions(&values));
    }
    if mistakes.is_empty() { Ok(table::build(values)) } else { Err(ConfigErrors::new(mistakes)) }
}

fn file_variable(environment: &[(OsString, OsString)]) -> Option<PathBuf> {
    let (_, value) = environment.iter().find(|(name, _)| name == FILE_VARIABLE)?;
    // Compose files pass variables on as empty strings when nobody has set them.
    (!value.is_empty()).then(|| PathBuf::from(value))
}

/// Puts the content of `<area>.password_file`, if there is one, into `<area>.url`.
fn insert_password(values: &mut Values, area: &'static str, mistakes: &mut Vec<Mistake>) {
    let Some(path) = values.sound(area, "password_file").filter(|path| !path.is_empty()) else {
        return;
    };
    match read_password(Path::new(path)) {
        Ok(password) => values.replace(area, "url", |url| address::with_password(url, &password)),
        Err(problem) => mistakes.push(values.mistake(
            area,
            "password_file",
            &problem,
            "name a file that holds the password on one line",
        )),
    }
}

fn read_password(path: &Path) -> Result<String, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))?;
    // Editors and `echo` end the line; the password ends before that.
    let password = text.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err("the file is empty".into());
    }
    if password.contains(char::is_control) {
        return Err("the file holds more than one line of text".into());
    }
    Ok(password.to_owned())
}

/// Certificates that nothing looks at give a false sense of safety.
fn needless_certificates(values: &Values, area: &str, scheme: &str) -> Option<Mistake> {
    let url = values.sound(area, "url")?;
    let set = |name: &&str| values.sound(area, name).is_some_and(|path| !path.is_empty());
    let name = ["ca_file", "certificate_file", "key_file"].into_iter().find(set)?;
    (!url.starts_with(scheme)).then(|| {
        let problem = format!("is of no use: {} has no TLS", values.describe(area, "url"));
        values.mistake(area, name, &problem, &format!("begin the address with {scheme}"))
    })
}

/// What is wrong between settings that are each right.
fn contradictions(values: &Values) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    for limit in LimitName::ALL.iter().map(|limit| limit.as_str()) {
        if let (Some(default), Some(cap)) =
            (values.typed::<u64>(LIMITS_DEFAULT, limit), values.typed::<u64>(LIMITS_MAX, limit))
            && default > cap
        {
            mistakes.push(values.mistake(
                LIMITS_DEFAULT,
                limit,
                &format!("is above {}", values.describe(LIMITS_MAX, limit)),
                "lower the default or raise the maximum",
            ));
        }
    }
    if let (Some(Some(address)), Some(None)) = (
        values.typed::<Option<std::net::SocketAddr>>("admin", "address"),
        values.typed::<Option<PathBuf>>("admin", "token_file"),
    ) && !address.ip().is_loopback()
    {
        mistakes.push(values.mistake(
            "admin",
            "address",
            "can be reached from other machines, and nothing tells who may ask",
            "use 127.0.0.1, or name a file with a token in admin.token_file",
        ));
    }
    if let (Some(wall), Some(timeout)) = (
        values.typed::<u64>(LIMITS_MAX, "wall_time_ms"),
        values.typed::<u64>("queue", "consumer_timeout_ms"),
    ) && wall > timeout / 3
    {
        mistakes.push(values.mistake(
            LIMITS_MAX,
            "wall_time_ms",
            &format!("is above a third of {}", values.describe("queue", "consumer_timeout_ms")),
            "lower it, or raise consumer_timeout in rabbitmq.conf and say so in \
             queue.consumer_timeout_ms",
        ));
    }
    if let (Some(wait), Some(dedup)) =
        (values.typed::<u64>("queue", "max_wait_ms"), values.typed::<u64>("store", "dedup_ttl_ms"))
        && dedup < wait
    {
        mistakes.push(values.mistake(
            "store",
            "dedup_ttl_ms",
            &format!("is below {}", values.describe("queue", "max_wait_ms")),
            "raise it, or lower queue.max_wait_ms: a job that waited longer than it is remembered \
             could run twice",
        ));
    }
    for (area, scheme) in [("queue", "amqps://"), ("store", "rediss://")] {
        mistakes.extend(needless_certificates(values, area, scheme));
    }
    mistakes
}
