//! Claims about the configuration.

use std::{
    ffi::OsString,
    fs,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

use super::{kind::Kind, table::TABLE, values::Origin, *};

/// A directory of this test, gone at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sandfleet-{test}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn load(path: Option<&Path>, environment: &[(&str, &str)]) -> Result<Settings, ConfigErrors> {
    let environment = environment.iter().map(|(name, value)| (name.into(), value.into()));
    // Not the machine's own file.
    load_with_default(path, environment, Path::new("/nonexistent/sandfleet.toml"))
}

fn mistakes(path: Option<&Path>, environment: &[(&str, &str)]) -> Vec<String> {
    load(path, environment).expect_err("a mistake").messages().collect()
}

#[test]
fn nothing_set_gives_the_defaults() {
    let settings = load(None, &[]).unwrap();
    assert!((1..=1024).contains(&settings.worker.slots));
    assert!(settings.worker.id.ends_with(&std::process::id().to_string()));
    assert_eq!(settings.queue.url.reveal(), "amqp://guest:guest@127.0.0.1:5672/%2f");
    assert_eq!(settings.queue.password_file, None);
    assert_eq!(settings.sandbox.backend, BackendChoice::Auto);
    assert_eq!(settings.admin.address, Some("127.0.0.1:9464".parse().unwrap()));
    assert_eq!(settings.limits.default, sandfleet_common::Limits::default());
    assert_eq!(settings.limits.max.memory_bytes, 2 << 30);
    assert_eq!(settings.log.format, LogFormat::Text);
}

#[test]
fn every_default_passes_its_own_check() {
    for setting in TABLE.iter() {
        let text = setting.default_text();
        assert_eq!(setting.kind.check(&text), Ok(text), "{}", setting.key());
    }
}

#[test]
fn both_ends_of_every_range_fit_their_type() {
    for end in 0..2 {
        let environment: Vec<(OsString, OsString)> = TABLE
            .iter()
            .filter_map(|setting| match setting.kind {
                Kind::Integer { min, max } => Some((setting, [min, max][end].to_string())),
                Kind::Decimal { min, max } => Some((setting, [min, max][end].to_string())),
                _ => None,
            })
            .map(|(setting, number)| (setting.variable().into(), number.into()))
            .collect();
        let loaded = load_with_default(None, environment, Path::new("/nonexistent"));
        assert!(loaded.is_ok(), "{}", loaded.unwrap_err());
    }
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_defaults() {
    let scratch = Scratch::new("precedence");
    let file = scratch.file("a.toml", "[worker]\nslots = 0x10\ngrace_ms = 1_000\n");
    let settings = load(Some(&file), &[("SANDFLEET_WORKER_SLOTS", "3")]).unwrap();
    assert_eq!((settings.worker.slots, settings.worker.grace_ms), (3, 1000));
    assert_eq!(settings.worker.lease_ms, 15_000);

    let effective = settings.effective();
    let place = format!("grace_ms = 1000 # {}:3\n", file.display());
    for line in ["slots = 3 # SANDFLEET_WORKER_SLOTS\n", &place, "lease_ms = 15000 # default\n"] {
        assert!(effective.contains(line), "{line:?} is missing in {effective}");
    }
}

#[test]
fn the_file_is_the_argument_or_the_variable_or_the_default() {
    let scratch = Scratch::new("which-file");
    let files = ["11", "12", "13"].map(|slots| {
        scratch.file(&format!("{slots}.toml"), &format!("worker = {{ slots = {slots} }}"))
    });
    let variable = (FILE_VARIABLE.into(), files[1].clone().into_os_string());
    let slots = |argument: Option<&Path>, environment: Vec<(OsString, OsString)>| {
        load_with_default(argument, environment, &files[2]).unwrap().worker.slots
    };
    assert_eq!(slots(Some(&files[0]), vec![variable.clone()]), 11);
    assert_eq!(slots(None, vec![variable]), 12);
    assert_eq!(slots(None, vec![(FILE_VARIABLE.into(), "".into())]), 13);
}

#[test]
fn every_mistake_is_reported_at_once() {
    let scratch = Scratch::new("all-mistakes");
    let file = scratch.file(
        "a.toml",
        "[worker]\nslots = \"4\"\nsolts = 4\nmax_attempts = 0\n[wroker]\nid = 1\n\
         [sandbox]\ncpus = nan\nimage = 7\nbackend = \"podman\"\n\
         [limits.max]\nwall_time_ms = 900_000_000\nmemory_bytes = 134217728\n",
    );
    let found = mistakes(
        Some(&file),
        &[
            ("SANDFLEET_SLOTS", "2"),
            ("SANDFLEET_LOG_LEVEL", "inof"),
            ("SANDFLEET_ADMIN_ADDRESS", "0.0.0.0:9464"),
            ("SANDFLEET_ADMIN_PORT", "9464"),
            ("SANDFLEET_QUEUE_URL", "http://u:hunter2@h/"),
            ("SANDFLEET_STORE_PASSWORD_FILE", "/nonexistent/password"),
            ("SANDFLEET_JOBS_MAX_BYTES", "8MiB"),
        ],
    );
    let file = file.display();
    let expected = [
        format!("worker.slots = \"4\" ({file}:2) is text in quotes; use a whole number from 1"),
        format!("worker.solts ({file}:3) is no setting; did you mean worker.slots?"),
        format!("worker.max_attempts = 0 ({file}:4) is out of range; use a whole number from 1"),
        format!("[wroker] ({file}:5) is no setting; did you mean [worker]?"),
        format!("sandbox.cpus = nan ({file}:8) is out of range; use a number from 0.01 to 1024"),
        format!("sandbox.image = 7 ({file}:9) is not text in quotes; use an image's name"),
        format!("sandbox.backend = podman ({file}:10) is not one of the choices; use auto or"),
        format!(
            "limits.max.wall_time_ms = 900000000 ({file}:12) is out of range; use a whole number from"
        ),
        format!(
            "limits.default.memory_bytes = 268435456 (default) is above limits.max.memory_bytes = 134217728 \
             ({file}:13); lower the default or raise the maximum"
        ),
        "SANDFLEET_SLOTS (environment) is no setting; did you mean SANDFLEET_WORKER_SLOTS?".into(),
        "log.level = inof (SANDFLEET_LOG_LEVEL) names the unknown level \"inof\"; use off".into(),
        "admin.address = 0.0.0.0:9464 (SANDFLEET_ADMIN_ADDRESS) can be reached from other".into(),
        "SANDFLEET_ADMIN_PORT (environment) is no setting; ".into(),
        "queue.url = http://u:***@h/ (SANDFLEET_QUEUE_URL) begins neither with amqp://".into(),
        "store.password_file = /nonexistent/password (SANDFLEET_STORE_PASSWORD_FILE) cannot be \
         read: "
            .into(),
        "jobs.max_bytes = 8MiB (SANDFLEET_JOBS_MAX_BYTES) is no number of that kind; use a whole"
            .into(),
    ];
    for start in &expected {
        let matching = found.iter().filter(|mistake| mistake.starts_with(start)).count();
        assert_eq!(matching, 1, "{start:?} in {found:#?}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    assert!(
        found.iter().any(|mistake| mistake.contains("queue.consumer_timeout_ms")),
        "the wall time's cap says why: {found:#?}"
    );
}

#[test]
fn a_file_that_is_not_toml_hides_no_other_mistake_and_invents_none() {
    let scratch = Scratch::new("not-toml");
    let file = scratch.file("a.toml", "[worker]\nslots = \nid = a b\n[limits.max]\nfiles = 16\n");
    let found = mistakes(Some(&file), &[("SANDFLEET_WORKER_GRACE_MS", "-1")]);
    assert!(found.iter().any(|mistake| mistake.starts_with("worker.grace_ms = -1")), "{found:#?}");
    for line in [2, 3] {
        let start = format!("{}:{line} is not TOML: ", file.display());
        assert!(found.iter().any(|mistake| mistake.starts_with(&start)), "{found:#?}");
    }
    assert!(!found.iter().any(|mistake| mistake.contains("limits.max.open_files")), "{found:#?}");
    assert!(mistakes(Some(Path::new("/nonexistent/x.toml")), &[])[0].contains("cannot be read"));
}

#[test]
fn a_variable_of_others_is_no_mistake() {
    let harmless = [
        ("SANDFLEET_TEST_BROKER", "x"),
        ("SANDFLEET_CONFIG", ""),
        ("SANDFLEETS", "x"),
        ("PATH", "/bin"),
        ("SANDFLEET_SERVICE_HOST", "10.0.0.1"),
        ("SANDFLEET_SERVICE_PORT_HTTP", "9464"),
        ("SANDFLEET_PORT", "tcp://10.0.0.1:9464"),
        ("SANDFLEET_WORKER_PORT_9464_TCP_ADDR", "10.0.0.1"),
    ];
    assert!(load(None, &harmless).is_ok());
    let bytes = OsString::from_vec(vec![b'/', 0xff]);
    let environment = [("SANDFLEET_SANDBOX_IMAGE".into(), bytes)];
    let errors = load_with_default(None, environment, Path::new("/nonexistent")).unwrap_err();
    assert!(errors.to_string().contains("is not UTF-8"), "{errors}");
}

#[test]
fn a_password_file_replaces_the_address_s_password() {
    let scratch = Scratch::new("password-file");
    // Every character that could end a password early, and one that is escaped already.
    let password = "a/b:c@d#e?f%41 ü";
    let file = scratch.file("password", &format!("{password}\n"));
    let file = file.to_str().unwrap();
    let settings = load(
        None,
        &[
            ("SANDFLEET_QUEUE_URL", "amqp://me:old@broker/%2f"),
            ("SANDFLEET_QUEUE_PASSWORD_FILE", file),
            ("SANDFLEET_STORE_PASSWORD_FILE", file),
        ],
    )
    .unwrap();
    let amqp: lapin::uri::AMQPUri = settings.queue.url.reveal().parse().unwrap();
    assert_eq!(amqp.authority.userinfo.username, "me");
    assert_eq!(amqp.authority.userinfo.password, password);
    assert_eq!(amqp.vhost, "/");
    let redis =
        redis::IntoConnectionInfo::into_connection_info(settings.store.url.reveal()).unwrap();
    assert_eq!(redis.redis_settings().password(), Some(password));

    for (content, problem) in [("\n", "is empty"), ("a\nb\n", "more than one line")] {
        let file = scratch.file("wrong", content);
        let variable = ("SANDFLEET_QUEUE_PASSWORD_FILE", file.to_str().unwrap());
        assert!(mistakes(None, &[variable])[0].contains(problem));
    }
}

#[test]
fn secrets_never_show() {
    const SECRET: &str = "hunter2";
    let scratch = Scratch::new("secrets");
    let password = scratch.file("password", SECRET);
    let settings = load(
        None,
        &[
            ("SANDFLEET_QUEUE_URL", "amqp://me:hunter2@broker/%2f"),
            ("SANDFLEET_STORE_PASSWORD_FILE", password.to_str().unwrap()),
        ],
    )
    .unwrap();
    for shown in [
        settings.effective(),
        format!("{settings:?}"),
        settings.queue.url.to_string(),
        settings.store.url.to_string(),
    ] {
        assert!(!shown.contains(SECRET), "{shown}");
    }
    assert!(settings.effective().contains("url = \"amqp://me:***@broker/%2f\" # SANDFLEET_QUEUE"));
    assert!(settings.store.url.reveal().contains(SECRET));

    for url in [
        "hunter2",
        "guest:hunter2@host",
        "amqps://me:hunter2@host",
        "amqp://me:1/hunter2@host",
        "amqp://me:12@hunter2@host:x",
        "amqp://hunter2@host:x",
        "amqp://?password=hunter2",
        "amqp:///hunter2@",
        "{password = hunter2://}",
    ] {
        let file = scratch.file("a.toml", &format!("[queue]\nurl = [\"{url}\"]\nulr = \"{url}\""));
        let found = load(Some(&file), &[("SANDFLEET_QUEUE_URL", url), ("SANDFLEET_URL", url)]);
        let text = found.map_err(|errors| format!("{errors} {errors:?}")).unwrap_err();
        assert!(!text.contains(SECRET), "{url}: {text}");
    }
}

#[test]
fn the_effective_settings_are_a_file_that_gives_the_same_settings() {
    let scratch = Scratch::new("effective");
    let first = load(
        None,
        &[
            ("SANDFLEET_QUEUE_URL", "amqp://broker/%2f"),
            ("SANDFLEET_ADMIN_ADDRESS", "off"),
            ("SANDFLEET_SANDBOX_CPUS", ".5"),
            ("SANDFLEET_SANDBOX_CGROUP_PARENT", "/a \"quoted\"\\ path"),
            ("SANDFLEET_LIMITS_MAX_OPEN_FILES", "+2000"),
        ],
    )
    .unwrap();
    let file = scratch.file("a.toml", &first.effective());
    let second = load(Some(&file), &[]).unwrap();
    assert_eq!(first.queue, second.queue);
    assert_eq!(first.sandbox, second.sandbox);
    assert_eq!((first.admin.address, first.limits.max), (second.admin.address, second.limits.max));
    let files =
        second.values.shown().find(|(setting, ..)| setting.key() == "limits.max.open_files");
    assert!(matches!(files, Some((_, _, Origin::File(_)))));
}

#[test]
fn a_remote_address_needs_a_token() {
    let remote = ("SANDFLEET_ADMIN_ADDRESS", "[::]:9464");
    let refusal = &mistakes(None, &[remote])[..];
    assert!(matches!(refusal, [one] if one.contains("admin.token_file")), "{refusal:?}");
    assert!(load(None, &[remote, ("SANDFLEET_ADMIN_TOKEN_FILE", "/etc/token")]).is_ok());
    assert!(load(None, &[("SANDFLEET_ADMIN_ADDRESS", "[::1]:0")]).is_ok());
}

#[test]
fn addresses_are_what_their_clients_understand() {
    let accepted = |name, value| load(None, &[(name, value)]).is_ok();
    for (url, good) in [
        ("amqp://host", true),
        ("amqp://u:p@host:5672/vhost?heartbeat=10", true),
        ("amqp://", false),
        ("amqp://host:port", false),
        ("amqps://u:p@host:5671/vhost", true),
        ("redis://host", false),
        ("amqpss://host", false),
    ] {
        assert_eq!(accepted("SANDFLEET_QUEUE_URL", url), good, "{url}");
    }
    for (url, good) in
        [("redis://host/3", true), ("redis://host/x", false), ("rediss://host", true)]
    {
        assert_eq!(accepted("SANDFLEET_STORE_URL", url), good, "{url}");
    }
    for (host, good) in [
        ("unix:///var/run/docker.sock", true),
        ("tcp://127.0.0.1:2375", true),
        ("tcp://127.0.0.1", false),
        ("unix://relative", false),
        ("/var/run/docker.sock", false),
    ] {
        assert_eq!(accepted("SANDFLEET_SANDBOX_DOCKER_HOST", host), good, "{host}");
    }
}

#[test]
fn a_job_may_run_for_a_third_of_the_consumer_timeout() {
    let wall = ("SANDFLEET_LIMITS_MAX_WALL_TIME_MS", "600001");
    let refusal = &mistakes(None, &[wall])[..];
    let says = |one: &String| one.contains("a third of queue.consumer_timeout_ms = 1800000");
    assert!(matches!(refusal, [one] if says(one)), "{refusal:?}");
    let timeout = ("SANDFLEET_QUEUE_CONSUMER_TIMEOUT_MS", "1800003");
    assert!(load(None, &[wall, timeout]).is_ok());
    let all = ("SANDFLEET_JOBS_JOB_WALL_TIME_MS", "600001");
    let refusal = &mistakes(None, &[all])[..];
    let says = |one: &String| one.starts_with("jobs.job_wall_time_ms") && says(one);
    assert!(matches!(refusal, [one] if says(one)), "{refusal:?}");
    assert!(load(None, &[all, timeout]).is_ok());
}

#[test]
fn a_job_is_remembered_for_as_long_as_it_may_wait() {
    let wait = ("SANDFLEET_QUEUE_MAX_WAIT_MS", "604800001");
    let refusal = &mistakes(None, &[wait])[..];
    let says = |one: &String| one.contains("is below queue.max_wait_ms = 604800001");
    assert!(matches!(refusal, [one] if says(one)), "{refusal:?}");
    assert!(load(None, &[wait, ("SANDFLEET_STORE_DEDUP_TTL_MS", "604800001")]).is_ok());
}

#[test]
fn an_area_of_areas_is_read_and_its_mistakes_are_named() {
    let scratch = Scratch::new("areas");
    let file =
        scratch.file("a.toml", "[limits]\nmin = 1\n[limits.max]\nfiles = 20\n[limits.mox]\n");
    let found = mistakes(Some(&file), &[]);
    let expected = ["limits.min (", "limits.max.files (", "[limits.mox] ("];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected) && found.contains("is no setting"), "{found}");
    }
    let file = scratch.file("b.toml", "[limits.max]\nopen_files = 400\n");
    assert_eq!(load(Some(&file), &[]).unwrap().limits.max.open_files, 400);
}

#[test]
fn certificates_that_nothing_looks_at_are_a_mistake() {
    let ca = ("SANDFLEET_STORE_CA_FILE", "/etc/ca.pem");
    let refusal = &mistakes(None, &[ca])[..];
    assert!(matches!(refusal, [one] if one.contains("rediss://")), "{refusal:?}");
    assert!(load(None, &[ca, ("SANDFLEET_STORE_URL", "rediss://host")]).is_ok());
}

#[test]
fn the_reference_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
    assert!(
        fs::read_to_string(path).ok() == Some(reference()),
        "docs/configuration.md differs from the settings; regenerate it with\n  \
         cargo run --bin sandfleet -- docs configuration > docs/configuration.md"
    );
}
