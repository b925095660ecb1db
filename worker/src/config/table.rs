//! Every setting, declared once: name, type, default, what is allowed, what it means.

use std::{net::SocketAddr, path::PathBuf, sync::LazyLock};

use sandfleet_common::{LimitName, Limits};

use super::{
    address::ServiceUrl,
    budgets::{BUDGETS, Budgets},
    collector::{COLLECTOR, HEADERS, SecretHeaders},
    kind::{
        ADDRESS, ADDRESS_OR_OFF, AMQP_URL, BackendChoice, DOCKER_HOST, HOSTS_OR_NONE, HostNames,
        IMAGE, Kind, LOG_FILTER, LogFormat, MIRROR, NAME, NAME_OR_NONE, PATH, PATH_OR_NONE,
        REDIS_URL,
    },
    setting::{Area, Preset, Setting},
    tenants::{TENANT_USERS, TenantUsers, USER_NAMES, UserNames},
    values::Values,
};
use crate::admission::catalogue::Catalogue;

macro_rules! settings {
    ($($(#[doc = $area_doc:literal])+ $area:ident: $type:ident {
        $($(#[doc = $doc:literal])+ $name:ident: $value:ty = $default:expr, $kind:expr;)+
    })+) => {
        $(
            $(#[doc = $area_doc])+
            #[derive(Debug, Clone, PartialEq)]
            pub struct $type { $($(#[doc = $doc])+ pub $name: $value,)+ }
        )+

        /// Everything that can be set, checked.
        #[derive(Debug, Clone)]
        pub struct Settings {
            $($(#[doc = $area_doc])+ pub $area: $type,)+
            /// What jobs may use.
            pub limits: LimitSettings,
            /// The languages, the operator's among them.
            pub catalogue: Catalogue,
            pub(super) values: Values,
        }

        /// What jobs may use.
        #[derive(Debug, Clone, PartialEq)]
        pub struct LimitSettings {
            /// The limits of a job that asks for none.
            pub default: Limits,
            /// The most that a job gets, whatever it asks for.
            pub max: Limits,
            /// What compiling gets, whatever its job asks for.
            pub compile: Limits,
        }

        /// The settings that `values` hold.
        ///
        /// # Panics
        /// If a value was never checked.
        pub(super) fn build(values: Values, catalogue: Catalogue) -> Settings {
            const CHECKED: &str = "only sound values are built from";
            let limits = |area| {
                let mut limits = Limits::default();
                for name in LimitName::ALL {
                    limits.set(*name, values.typed(area, name.as_str()).expect(CHECKED));
                }
                limits
            };
            Settings {
                $($area: $type {
                    $($name: values.typed(stringify!($area), stringify!($name)).expect(CHECKED),)+
                },)+
                limits: LimitSettings {
                    default: limits(LIMITS_DEFAULT),
                    max: limits(LIMITS_MAX),
                    compile: limits(LIMITS_COMPILE),
                },
                catalogue,
                values,
            }
        }

        fn declared_areas() -> Vec<Area> {
            vec![$(Area { name: stringify!($area), doc: concat!($($area_doc),+) },)+]
        }

        fn declared_settings() -> Vec<Setting> {
            vec![$($(Setting {
                area: stringify!($area),
                name: stringify!($name),
                kind: $kind,
                default: $default.into(),
                doc: concat!($($doc),+).into(),
            },)+)+]
        }
    };
}

settings! {
    /// The worker process.
    worker: WorkerSettings {
        /// The worker's name in results, leases and logs; no two workers may share one.
        id: String = Preset::Computed { described: "host name and process id", compute: own_id },
            Kind::Text(&NAME);
        /// How many jobs run at a time, which is also how many deliveries are taken ahead.
        slots: usize = Preset::Computed { described: "number of CPUs", compute: cpus },
            Kind::Integer { min: 1, max: 1024 };
        /// How long running jobs may go on when the worker is told to stop, in milliseconds;
        /// those that need longer go back into the queue.
        grace_ms: u64 = "30000", Kind::Integer { min: 0, max: 3_600_000 };
        /// How often a job is started before it ends in status `error`, the first time included.
        max_attempts: u32 = "3", Kind::Integer { min: 1, max: 100 };
        /// How long a claim on a job outlives a worker that died, in milliseconds; a living
        /// worker renews its claims.
        lease_ms: u64 = "15000", Kind::Integer { min: 1_000, max: 600_000 };
        /// How long, at a worker's start, its broker or store may refuse it for a reason that no waiting heals (login,
        /// rights, virtual host, database, TLS) before it exits with code 76, 77 or 78, in milliseconds; later it
        /// goes on trying.
        refusal_timeout_ms: u64 = "60000", Kind::Integer { min: 0, max: 3_600_000 };
        /// No job is taken while the host of the sandbox has less memory available than this, in
        /// bytes (MemAvailable in /proc/meminfo); 0 to take them always. Not looked at where the
        /// Docker daemon is on another machine.
        min_available_bytes: u64 = "268435456", Kind::Integer { min: 0, max: 1 << 50 };
        /// Whether the worker refuses to start where less memory is available than its slots may
        /// hold at limits.max.memory_bytes; without it that is a warning.
        require_memory: bool = "false", Kind::Boolean;
    }

    /// The RabbitMQ broker that jobs come from.
    queue: QueueSettings {
        /// The broker's address.
        url: ServiceUrl = "amqp://guest:guest@127.0.0.1:5672/%2f", Kind::Secret(&AMQP_URL);
        /// A file whose content replaces the address's password.
        password_file: Option<PathBuf> = "", Kind::Text(&PATH_OR_NONE);
        /// With amqps://, a PEM file of the authorities that may vouch for the broker, instead of
        /// the system's.
        ca_file: Option<PathBuf> = "", Kind::Text(&PATH_OR_NONE);
        /// With amqps://, a PEM file of the certificate by which the broker knows us, if it wants
        /// one.
        certificate_file: Option<PathBuf> = "", Kind::Text(&PATH_OR_NONE);
        /// The private key of that certificate, a PEM file.
        key_file: Option<PathBuf> = "", Kind::Text(&PATH_OR_NONE);
        /// The broker's consumer timeout, in milliseconds, which AMQP doesn't tell: how long a
        /// delivery may stay unsettled before the broker takes it back. limits.max.wall_time_ms may be a
        /// third of it, which leaves time for waiting, collecting and storing.
        consumer_timeout_ms: u64 = "1800000", Kind::Integer { min: 60_000, max: 604_800_000 };
        /// The broker users of the fleet's other workers, where they differ from this one's, as while passwords are
        /// rotated: what they note of a message that they publish again is believed.
        worker_users: UserNames = "", Kind::Text(&USER_NAMES);
        /// What the names of all queues and exchanges begin with; fleets that share a broker
        /// differ in it.
        prefix: String = "sandfleet", Kind::Text(&NAME);
        /// How long a job may wait for its first start, in milliseconds, whatever it asks for.
        max_wait_ms: u64 = "604800000", Kind::Integer { min: 1_000, max: 31_536_000_000 };
        /// How many jobs may wait in one queue before it refuses more; 0 for any number. All
        /// workers and producers of a fleet have to agree.
        max_jobs: u32 = "1000000", Kind::Integer { min: 0, max: 2_000_000_000 };
        /// How many bytes of jobs may wait in one queue before it refuses more; 0 for any number.
        /// All workers and producers of a fleet have to agree.
        max_bytes: u64 = "8589934592", Kind::Integer { min: 0, max: 1 << 50 };
    }

    /// The Redis server that results go to.
    store: StoreSettings {
        /// The server's address.
        url: ServiceUrl = "redis://127.0.0.1:6379/", Kind::Secret(&REDIS_URL);
        /// A file whose content replaces the address's password.
        password_file: Option<PathBuf> = "", Kind::Text(&PATH_OR_NONE);
        /// With rediss://, a PEM file of the authorities that may vouch for the server, instead of
        /// the system's.
        ca_file: Option<PathBuf> = "", Kind::Text(&PATH_OR_NONE);
        /// With rediss://, a PEM file of the certificate by which the server knows us, if it wants
        /// one.
        certificate_file: Option<PathBuf> = "", Kind::Text(&PATH_OR_NONE);
        /// The private key of that certificate, a PEM file.
        key_file: Option<PathBuf> = "", Kind::Text(&PATH_OR_NONE);
        /// What the names of all keys begin with; fleets that share a server differ in it.
        prefix: String = "sandfleet", Kind::Text(&NAME);
        /// How long a result is kept, in milliseconds, unless its job asks for less.
        result_ttl_ms: u64 = "86400000", Kind::Integer { min: 1_000, max: 31_536_000_000 };
        /// How long a job is remembered after its end, in milliseconds, so that a late copy of its
        /// message is never run again; at least queue.max_wait_ms.
        dedup_ttl_ms: u64 = "604800000", Kind::Integer { min: 1_000, max: 31_536_000_000 };
        /// How many of the jobs that ended last `sandfleet jobs` lists, of all workers together; 0 for none. An entry
        /// takes about 600 bytes.
        history_jobs: u64 = "10000", Kind::Integer { min: 0, max: 10_000_000 };
        /// How long it is kept what tenants used in a day, in milliseconds.
        usage_ttl_ms: u64 = "34560000000", Kind::Integer { min: 172_800_000, max: 315_360_000_000 };
    }

    /// What jobs run in.
    sandbox: SandboxSettings {
        /// What runs the jobs: namespaces that the worker makes itself, or a Docker daemon. `auto` is native where
        /// all barriers of it can be installed, else Docker, and never an engine with known vulnerabilities, whatever
        /// sandbox.allow_outdated_engine says; it is resolved once at the start and logged with its reason.
        backend: BackendChoice = "auto", BackendChoice::CHOICES;
        /// The address of the Docker daemon.
        docker_host: String = "unix:///var/run/docker.sock", Kind::Text(&DOCKER_HOST);
        /// The OCI runtime, as the Docker daemon calls it.
        runtime: String = "runc", Kind::Text(&NAME);
        /// Whether a Docker engine or runtime with known vulnerabilities, or of an unknown version, may be
        /// used; `sandfleet doctor` names them.
        allow_outdated_engine: bool = "false", Kind::Boolean;
        /// The AppArmor profile that the Docker engine puts around programs, loaded on its host;
        /// without one it is the engine's own, where that host has AppArmor.
        apparmor_profile: Option<String> = "", Kind::Text(&NAME_OR_NONE);
        /// The image of Docker's containers; `{image}` is the name that a language gives its image. Without `{image}` all
        /// languages are in one.
        image: String = "sandfleet/{image}:latest", Kind::Text(&IMAGE);
        /// How many containers of Docker's may wait for jobs, started ahead; 0 for none. As many
        /// wait as were used lately, for jobs with the same limits; each takes about 5 MiB of memory.
        docker_pool_size: usize = "8", Kind::Integer { min: 0, max: 1024 };
        /// The cgroup below which the native backend makes those of its jobs; without one it is
        /// the worker's own.
        cgroup_parent: Option<PathBuf> = "", Kind::Text(&PATH_OR_NONE);
        /// The first of the user ids that jobs run as; nothing else on the host may use ids from here on.
        uid_base: u32 = "200000", Kind::Integer { min: 65_536, max: 2_000_000_000 };
        /// How many CPUs a job may keep busy.
        cpus: f64 = "1.0", Kind::Decimal { min: 0.01, max: 1024.0 };
        /// Whether programs may start from interpreters that the native backend has started ahead; it
        /// takes root.
        warm: bool = "true", Kind::Boolean;
        /// Whether the container of a program that starts from such an interpreter begins in the memory of
        /// the process that it is copied from, as after vfork(2), so that the interpreter is copied once for
        /// each program; if not, it is copied twice, which POSIX defines and takes longer.
        warm_vfork: bool = "true", Kind::Boolean;
    }

    /// The root trees that programs see, which `sandfleet images` builds.
    images: ImagesSettings {
        /// Where they are kept, and what they are made of. Only root may be able to write there.
        directory: PathBuf = "/var/lib/sandfleet/images", Kind::Text(&PATH);
        /// A directory with a file NAME.toml for each image that there is besides the built-in ones, or in the place of
        /// one; `deploy/images` has those, as models.
        definitions_directory: Option<PathBuf> = "", Kind::Text(&PATH_OR_NONE);
        /// Where Debian's packages come from.
        debian_mirror: String = "http://deb.debian.org/debian", Kind::Text(&MIRROR);
        /// Where its security updates come from.
        security_mirror: String = "http://deb.debian.org/debian-security", Kind::Text(&MIRROR);
    }

    /// What is accepted as a job.
    jobs: JobSettings {
        /// The longest job message, in bytes; longer ones are rejected. RabbitMQ has a bound of
        /// its own: 128 MiB, and 16 MiB from version 4 on.
        max_bytes: usize = "8388608", Kind::Integer { min: 1_024, max: 134_217_728 };
        /// How many bytes of programs a worker keeps that it has compiled, so that the same code of one proven tenant
        /// (jobs.tenant_users) is compiled once in ten minutes; 0 for none.
        compile_cache_bytes: usize = "67108864", Kind::Integer { min: 0, max: 17_179_869_184 };
        /// How many tests a job may have.
        max_tests: usize = "1000", Kind::Integer { min: 1, max: 10_000 };
        /// How long compiling and all tests of a job may take together, by the sum of their `wall_time_ms`, in
        /// milliseconds; a job with more is rejected. 0 for a third of queue.consumer_timeout_ms, which is the most: all
        /// of it happens within one delivery.
        job_wall_time_ms: u64 = "0", Kind::Integer { min: 0, max: 201_600_000 };
        /// How many jobs of one tenant run at a time in the whole fleet; 0 for any number. The
        /// workers of a fleet should agree.
        max_running_per_tenant: u32 = "0", Kind::Integer { min: 0, max: 1_000_000 };
        /// A directory with a file NAME.toml for each language that is offered besides the built-in
        /// ones, or in the place of one; `deploy/languages` has those, as models.
        languages_directory: Option<PathBuf> = "", Kind::Text(&PATH_OR_NONE);
        /// Which broker users may speak for which tenants. The tenant of a job is proven if the broker vouches for such
        /// a user; results say so in `tenant_proven`.
        tenant_users: TenantUsers = "", Kind::Text(&TENANT_USERS);
        /// What a tenant may use in a day (UTC) before no more of its jobs is started; they end in status `rejected`.
        /// TENANT is `*` for each that has no budget of its own, `(none)` for jobs without a tenant, `(unproven)` for all whose
        /// tenant is not proven, where jobs.tenant_users is set. The workers of a fleet should agree.
        budgets: Budgets = "", Kind::Text(&BUDGETS);
    }

    /// The HTTP endpoint with metrics and health.
    admin: AdminSettings {
        /// Where it listens.
        address: Option<SocketAddr> = "127.0.0.1:9464", Kind::Text(&ADDRESS_OR_OFF);
        /// A file that holds a token. With it, `/metrics` and the reasons in `/readyz` need
        /// `Authorization: Bearer TOKEN`; without it the endpoint may listen only
        /// where no other machine can reach it.
        token_file: Option<PathBuf> = "", Kind::Text(&PATH_OR_NONE);
        /// Host names by which it may be asked for, besides `localhost` and IP addresses. A request that
        /// names another host is refused: a web page could have made its reader's browser send it.
        hosts: HostNames = "", Kind::Text(&HOSTS_OR_NONE);
        /// How many tenants have series of their own in the metrics, the first that come; all others count as `other`.
        /// Each takes seven series. 0 for no metrics by tenant.
        metrics_tenants: usize = "0", Kind::Integer { min: 0, max: 100 };
    }

    /// The exporter, which shows what no worker can. Its token and host names are those of `admin`.
    exporter: ExporterSettings {
        /// Where it listens.
        address: SocketAddr = "127.0.0.1:9465", Kind::Text(&ADDRESS);
        /// How often it asks the broker and the store, in milliseconds; scrapes in between show the last answers.
        interval_ms: u64 = "5000", Kind::Integer { min: 100, max: 300_000 };
    }

    /// The export of spans to an OpenTelemetry collector.
    tracing: TracingSettings {
        /// Where spans are sent, as OTLP over HTTP in protobuf; without it none are made.
        endpoint: Option<ServiceUrl> = "", Kind::Secret(&COLLECTOR);
        /// Which share of the jobs has its spans exported whose producer begins no trace; what a producer says of its own
        /// trace holds.
        sampling_ratio: f64 = "1.0", Kind::Decimal { min: 0.0, max: 1.0 };
        /// What traces call these processes.
        service_name: String = "sandfleet", Kind::Text(&NAME);
        /// Headers of the requests, as a collector may want them for access.
        headers: SecretHeaders = "", Kind::Secret(&HEADERS);
        /// With https://, a PEM file of the authorities that may vouch for the collector, instead of
        /// the system's.
        ca_file: Option<PathBuf> = "", Kind::Text(&PATH_OR_NONE);
        /// With https://, a PEM file of the certificate by which the collector knows us, if it wants
        /// one.
        certificate_file: Option<PathBuf> = "", Kind::Text(&PATH_OR_NONE);
        /// The private key of that certificate, a PEM file.
        key_file: Option<PathBuf> = "", Kind::Text(&PATH_OR_NONE);
    }

    /// What is noted of who did what, for `sandfleet audit`.
    audit: AuditSettings {
        /// About how many events the store keeps of each of its users; 0 for none. An event takes about 300 bytes.
        entries: u32 = "100000", Kind::Integer { min: 0, max: 100_000_000 };
        /// A file that gets each event of this process as a line of JSON too.
        file: Option<PathBuf> = "", Kind::Text(&PATH_OR_NONE);
    }

    /// What is logged, on standard error.
    log: LogSettings {
        /// How log lines look.
        format: LogFormat = "text", LogFormat::CHOICES;
        /// What is worth a line.
        level: String = "info", Kind::Text(&LOG_FILTER);
    }
}

/// The areas of the limits: what a job gets that asks for nothing, the most that any job gets, and what compiling
/// gets.
pub(super) const LIMITS_DEFAULT: &str = "limits.default";
pub(super) const LIMITS_MAX: &str = "limits.max";
pub(super) const LIMITS_COMPILE: &str = "limits.compile";

/// What the table says about a limit, which has a setting in each area.
struct LimitRow {
    cap: u64,
    /// What a compiler gets.
    compile: u64,
    /// The largest cap.
    max: u64,
    /// What it limits.
    doc: &'static str,
    /// Why the cap can't be larger.
    because: &'static str,
}

fn limit_row(name: LimitName) -> LimitRow {
    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;
    const ONE_VALUE: &str = "A result is one Redis value, and these hold 512 MB.";
    let (cap, compile, max, doc, because) = match name {
        LimitName::WallTimeMs => (
            60_000,
            30_000,
            86_400_000,
            "Real time from the program's start, in milliseconds",
            "At most a third of queue.consumer_timeout_ms: RabbitMQ takes a job away from a \
             worker that hasn't acknowledged it by then.",
        ),
        LimitName::CpuTimeMs => (
            60_000,
            30_000,
            86_400_000,
            "CPU time of all the job's processes together, in milliseconds",
            "",
        ),
        LimitName::MemoryBytes => (
            2 * GIB,
            512 * MIB,
            1024 * GIB,
            "Memory of all the job's processes and of its scratch space, in bytes",
            "",
        ),
        LimitName::Processes => (256, 64, 32_768, "Processes and threads alive at a time", ""),
        LimitName::OutputBytes => {
            (16 * MIB, 64 << 10, 64 * MIB, "Bytes kept of stdout, and as many of stderr", ONE_VALUE)
        }
        LimitName::ScratchBytes => (
            GIB,
            256 * MIB,
            1024 * GIB,
            "Bytes that fit into the working directory, and as many into /tmp",
            "",
        ),
        LimitName::OpenFiles => {
            (1024, 256, 1_048_576, "Files a process may have open at a time", "")
        }
        LimitName::ArtifactBytes => {
            (64 * MIB, 64 * MIB, 128 * MIB, "Bytes of all artifacts together", ONE_VALUE)
        }
        LimitName::ArtifactCount => {
            (1024, 256, 10_000, "Artifacts that are brought back", ONE_VALUE)
        }
    };
    LimitRow { cap, compile, max, doc, because }
}

fn limit_settings(
    area: &'static str,
    default_and_reason: fn(LimitName, &LimitRow) -> (u64, &'static str),
) -> Vec<Setting> {
    let setting = |name: &LimitName| {
        let row = limit_row(*name);
        let (default, reason) = default_and_reason(*name, &row);
        Setting {
            area,
            name: name.as_str(),
            kind: Kind::Integer { min: name.minimum(), max: row.max },
            default: Preset::Fixed(default.to_string().into()),
            doc: format!("{}. {reason}", row.doc).into(),
        }
    };
    LimitName::ALL.iter().map(setting).collect()
}

/// Every area, in the order of the documentation.
pub(super) static AREAS: LazyLock<Vec<Area>> = LazyLock::new(|| {
    let mut areas = declared_areas();
    areas.push(Area { name: LIMITS_DEFAULT, doc: " The limits of a job that asks for none." });
    areas.push(Area {
        name: LIMITS_MAX,
        doc: " The most that a job gets, whatever it asks for; no default may be above it.",
    });
    areas.push(Area {
        name: LIMITS_COMPILE,
        doc: " What compiling a program gets, in a container of its own, whatever its job asks for.",
    });
    areas
});

/// Every setting, in the order of the documentation.
pub(super) static TABLE: LazyLock<Vec<Setting>> = LazyLock::new(|| {
    let mut settings = declared_settings();
    settings.extend(limit_settings(LIMITS_DEFAULT, |name, _| (Limits::default().get(name), "")));
    settings.extend(limit_settings(LIMITS_MAX, |_, row| (row.cap, row.because)));
    settings.extend(limit_settings(LIMITS_COMPILE, |_, row| (row.compile, "")));
    settings
});

fn own_id() -> String {
    let name = rustix::system::uname();
    let host: String = name
        .nodename()
        .to_string_lossy()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' })
        .take(64)
        .collect();
    format!("{host}-{}", std::process::id())
}

fn cpus() -> String {
    std::thread::available_parallelism().map_or(1, |count| count.get().min(1024)).to_string()
}
