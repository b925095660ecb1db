//! The kinds of values that settings take.

use std::{
    fmt::Debug,
    net::SocketAddr,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    str::FromStr,
};

use url::Url;

use super::address::{self, ServiceUrl};

/// What values a setting takes.
pub(super) enum Kind {
    Integer {
        min: u64,
        max: u64,
    },
    Decimal {
        min: f64,
        max: f64,
    },
    Boolean,
    Choice(&'static [&'static str]),
    Text(&'static Form),
    /// A text that may hold a password.
    Secret(&'static Form),
}

/// A text of a certain form.
pub(super) struct Form {
    /// The form in words, after "use".
    pub(super) allowed: &'static str,
    /// What is wrong with a text, after "it".
    pub(super) check: fn(&str) -> Result<(), String>,
}

impl Kind {
    /// What is allowed, after "use".
    pub(super) fn allowed(&self) -> String {
        match self {
            Kind::Integer { min, max } => format!("a whole number from {min} to {max}"),
            Kind::Decimal { min, max } => format!("a number from {min} to {max}"),
            Kind::Boolean => "true or false".into(),
            Kind::Choice(choices) => choices.join(" or "),
            Kind::Text(form) | Kind::Secret(form) => form.allowed.into(),
        }
    }

    /// Checks `text` and gives it in its normal form, or says what is wrong with it.
    pub(super) fn check(&self, text: &str) -> Result<String, String> {
        match self {
            Kind::Integer { min, max } => check_number(text, min..=max),
            Kind::Decimal { min, max } => check_number(text, min..=max),
            Kind::Boolean => match text {
                "true" | "false" => Ok(text.into()),
                _ => Err("is neither true nor false".into()),
            },
            Kind::Choice(choices) if choices.contains(&text) => Ok(text.into()),
            Kind::Choice(_) => Err("is not one of the choices".into()),
            Kind::Text(form) | Kind::Secret(form) => (form.check)(text).map(|()| text.to_owned()),
        }
    }

    /// `text` for showing.
    pub(super) fn show(&self, text: &str) -> String {
        match self {
            Kind::Secret(_) if !text.is_empty() => address::mask(text),
            _ => text.to_owned(),
        }
    }
}

fn check_number<T>(text: &str, range: RangeInclusive<&T>) -> Result<String, String>
where
    T: FromStr + PartialOrd + Debug,
{
    match text.parse::<T>() {
        // `Debug` keeps the point of `1.0`.
        Ok(number) if range.contains(&&number) => Ok(format!("{number:?}")),
        Ok(_) => Err("is out of range".into()),
        Err(_) if text.parse::<i128>().is_ok() => Err("is out of range".into()),
        Err(_) => Err("is no number of that kind".into()),
    }
}

/// A type that settings have, read from a text that its kind has checked.
pub(super) trait Typed: Sized {
    fn typed(text: &str) -> Option<Self>;
}

macro_rules! typed_by_parsing {
    ($($type:ty),+) => { $(impl Typed for $type {
        fn typed(text: &str) -> Option<Self> { text.parse().ok() }
    })+ };
}
typed_by_parsing!(u32, u64, usize, f64, bool, String, PathBuf, BackendChoice, LogFormat);

impl Typed for ServiceUrl {
    fn typed(text: &str) -> Option<Self> {
        Some(ServiceUrl::new(text))
    }
}

/// A list of host names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostNames(pub Vec<String>);

impl Typed for HostNames {
    fn typed(text: &str) -> Option<Self> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.' || c == '_';
        let names: Vec<_> = text
            .split(',')
            .map(|name| name.trim().to_owned())
            .filter(|it| !it.is_empty())
            .collect();
        names.iter().all(|name| name.len() <= 253 && name.chars().all(plain)).then_some(Self(names))
    }
}

impl Typed for Option<ServiceUrl> {
    fn typed(text: &str) -> Option<Self> {
        Some((!text.is_empty()).then(|| ServiceUrl::new(text)))
    }
}

impl Typed for Option<PathBuf> {
    fn typed(text: &str) -> Option<Self> {
        Some((!text.is_empty()).then(|| PathBuf::from(text)))
    }
}

impl Typed for Option<String> {
    fn typed(text: &str) -> Option<Self> {
        Some((!text.is_empty()).then(|| text.to_owned()))
    }
}

impl Typed for SocketAddr {
    fn typed(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Typed for Option<SocketAddr> {
    fn typed(text: &str) -> Option<Self> {
        match text {
            "off" => Some(None),
            address => address.parse().ok().map(Some),
        }
    }
}

macro_rules! choice {
    ($(#[doc = $doc:literal])+ $type:ident {
        $($(#[doc = $value_doc:literal])+ $value:ident = $text:literal,)+
    }) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $type { $($(#[doc = $value_doc])+ $value,)+ }

        impl $type {
            pub(super) const CHOICES: Kind = Kind::Choice(&[$($text),+]);
        }

        impl FromStr for $type {
            type Err = ();

            fn from_str(text: &str) -> Result<Self, ()> {
                match text { $($text => Ok($type::$value),)+ _ => Err(()) }
            }
        }
    };
}

choice! {
    /// What runs the jobs, as it is configured.
    BackendChoice {
        /// Native where its barriers can be installed, else Docker.
        Auto = "auto",
        /// Namespaces and cgroups made by the worker itself.
        Native = "native",
        /// A Docker daemon.
        Docker = "docker",
    }
}

/// What runs the jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// Namespaces and cgroups made by the worker itself.
    Native,
    /// A Docker daemon.
    Docker,
}

impl From<Backend> for BackendChoice {
    fn from(backend: Backend) -> Self {
        match backend {
            Backend::Native => BackendChoice::Native,
            Backend::Docker => BackendChoice::Docker,
        }
    }
}

choice! {
    /// How log lines look.
    LogFormat {
        /// For people.
        Text = "text",
        /// One JSON object a line, for machines.
        Json = "json",
    }
}

/// A name that goes into queue names, keys, paths and log lines without being escaped.
pub(super) const NAME: Form = Form {
    allowed: "1 to 128 characters of A-Z a-z 0-9 . _ -",
    check: |text| {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        match text.chars().find(|c| !plain(*c)) {
            Some(bad) => Err(format!("holds {bad:?}")),
            None if text.is_empty() => Err("is empty".into()),
            None if text.len() > 128 => Err("is too long".into()),
            None => Ok(()),
        }
    },
};

pub(super) const NAME_OR_NONE: Form = Form {
    allowed: "1 to 128 characters of A-Z a-z 0-9 . _ -, or nothing",
    check: |text| if text.is_empty() { Ok(()) } else { (NAME.check)(text) },
};

pub(super) const IMAGE: Form = Form {
    allowed: "an image's name such as sandfleet/sandbox:latest or sandfleet/{image}:latest",
    check: |text| match text {
        "" => Err("is empty".into()),
        _ if text.contains(|c: char| !c.is_ascii_graphic()) => {
            Err("holds a space or another character that no image's name has".into())
        }
        _ => Ok(()),
    },
};

pub(super) const PATH_OR_NONE: Form = Form {
    allowed: "an absolute path without `..`, or nothing",
    check: |text| {
        let path = Path::new(text);
        if text.is_empty() {
            return Ok(());
        }
        if !path.is_absolute() {
            return Err("is not absolute".into());
        }
        if path.components().any(|part| part == std::path::Component::ParentDir) {
            return Err("holds `..`".into());
        }
        Ok(())
    },
};

pub(super) const PATH: Form = Form {
    allowed: "an absolute path without `..`",
    check: |text| if text.is_empty() { Err("is empty".into()) } else { (PATH_OR_NONE.check)(text) },
};

pub(super) const MIRROR: Form = Form {
    allowed: "the address of an archive of Debian's, such as http://deb.debian.org/debian",
    check: |text| {
        let url = Url::parse(text).map_err(|error| format!("is no address: {error}"))?;
        let is_web = matches!(url.scheme(), "http" | "https") && url.has_host();
        let is_plain = text.chars().all(|letter| letter.is_ascii_graphic());
        if is_web && is_plain { Ok(()) } else { Err("is no address that apt takes".into()) }
    },
};

pub(super) const DOCKER_HOST: Form = Form {
    allowed: "unix:///path/of/the/socket or tcp://host:port",
    check: |text| {
        let url = Url::parse(text).map_err(|error| format!("is no address: {error}"))?;
        match url.scheme() {
            "unix" if url.path().len() > 1 && !url.has_host() => Ok(()),
            "tcp" if url.has_host() && url.port().is_some() => Ok(()),
            _ => Err("is no address of a Docker daemon".into()),
        }
    },
};

pub(super) const ADDRESS: Form = Form {
    allowed: "an IP address and a port such as 127.0.0.1:9465",
    check: |text| match SocketAddr::typed(text) {
        Some(_) => Ok(()),
        None => Err("is no such address".into()),
    },
};

pub(super) const ADDRESS_OR_OFF: Form = Form {
    allowed: "an IP address and a port such as 127.0.0.1:9464, or off",
    check: |text| match <Option<SocketAddr>>::typed(text) {
        Some(_) => Ok(()),
        None => Err("is no such address".into()),
    },
};

pub(super) const HOSTS_OR_NONE: Form = Form {
    allowed: "host names without ports, separated by commas, such as worker-1.example,worker-1",
    check: |text| match HostNames::typed(text) {
        Some(_) => Ok(()),
        None => Err("is no list of host names".into()),
    },
};

pub(super) const AMQP_URL: Form = Form {
    allowed: "amqp://user:password@host:5672/vhost, or amqps:// for TLS, special characters in the password escaped \
              as %xx, or the password in queue.password_file",
    check: address::check_amqp,
};

pub(super) const REDIS_URL: Form = Form {
    allowed: "redis://user:password@host:6379/database, or rediss:// for TLS, special \
              characters in the password escaped as %xx, or the password in store.password_file",
    check: address::check_redis,
};

pub(super) const LOG_FILTER: Form = Form {
    allowed: "off, error, warn, info, debug or trace, or a list of them by module such as \
              info,sandfleet_worker=debug",
    check: |text| {
        const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
        tracing_subscriber::EnvFilter::try_new(text)
            .map_err(|error| format!("is no filter: {error}"))?;
        // The filter takes a misspelt level for the name of a module, and logs all of that.
        let misspelt = |part: &&str| !part.contains(['=', '[', ':']) && !LEVELS.contains(part);
        match text.split(',').find(misspelt) {
            Some(part) => Err(format!("names the unknown level {part:?}")),
            None => Ok(()),
        }
    },
};
