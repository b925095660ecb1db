//! Switches of an operator: they hold jobs back, or end those that run, in the whole fleet at once.
//!
//! A switch is a field of one hash in Redis without a time to live, so it outlives every restart. Claims and renewals look
//! at it in the scripts that they are.

use std::{collections::HashMap, fmt, str::FromStr, sync::LazyLock};

use jiff::Timestamp;
use redis::Script;
use sandfleet_common::{PrintableText, names, validate_tenant};

use super::{audit::noting_script, redis::RedisStore};
use crate::{
    StoreError,
    audit::{Act, Event},
};

static THROW: LazyLock<Script> = LazyLock::new(|| noting_script(include_str!("throw.lua")));
static RELEASE_HOLD: LazyLock<Script> =
    LazyLock::new(|| noting_script(include_str!("release_hold.lua")));

/// The longest name of a language or an image in a switch.
const MAX_NAME_BYTES: usize = 255;

/// Which jobs a switch is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// All of them.
    All,
    /// Those of a tenant.
    Tenant(String),
    /// Those in a language.
    Language(String),
    /// Those that would run in an image with this digest.
    Image(String),
}

impl Scope {
    /// The tenant, if it is one's jobs.
    fn tenant(&self) -> Option<&str> {
        match self {
            Scope::Tenant(name) => Some(name),
            Scope::All | Scope::Language(_) | Scope::Image(_) => None,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::All => f.write_str("all"),
            Scope::Tenant(name) => write!(f, "tenant:{name}"),
            Scope::Language(name) => write!(f, "language:{name}"),
            Scope::Image(digest) => write!(f, "image:{digest}"),
        }
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |name: &str| {
            let is_plain = name.chars().all(|c| c.is_ascii_graphic());
            (is_plain && (1..=MAX_NAME_BYTES).contains(&name.len())).then(|| name.to_owned())
        };
        let wrong = || format!("{text:?}: use all, tenant:NAME, language:NAME or image:DIGEST");
        match text.split_once(':') {
            None if text == "all" => Ok(Scope::All),
            Some(("tenant", name)) => {
                validate_tenant(name).map(|()| Scope::Tenant(name.to_owned()))
            }
            Some(("language", name)) => plain(name).map(Scope::Language).ok_or_else(wrong),
            Some(("image", digest)) => plain(digest).map(Scope::Image).ok_or_else(wrong),
            _ => Err(wrong()),
        }
    }
}

/// What a switch does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// Jobs wait.
    Hold,
    /// What ran when it was thrown ends as cancelled.
    Kill,
}

impl Action {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Hold => "hold",
            Action::Kill => "kill",
        }
    }

    /// The field of a switch that does this.
    pub(super) fn field(self, scope: &Scope) -> String {
        format!("{} {scope}", self.as_str())
    }
}

/// A switch that was thrown.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Switch {
    /// What it does.
    pub action: Action,
    /// To which jobs.
    pub scope: Scope,
    /// Since when, by the store's clock.
    pub at: Timestamp,
    /// By whom.
    pub by: PrintableText,
}

impl Switch {
    fn read(field: &str, value: &str) -> Option<Self> {
        let (action, scope) = field.split_once(' ')?;
        let action = [Action::Hold, Action::Kill].into_iter().find(|it| it.as_str() == action)?;
        let (at, by) = value.split_once(' ')?;
        let at = Timestamp::from_millisecond(at.parse().ok()?).ok()?;
        Some(Self { action, scope: scope.parse().ok()?, at, by: by.into() })
    }

    /// Whether it holds jobs with one of these scopes back.
    pub fn holds(&self, scopes: &[Scope]) -> bool {
        self.action == Action::Hold && scopes.contains(&self.scope)
    }
}

impl fmt::Display for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { action, scope, at, by } = self;
        write!(f, "{} {scope} since {at:.0} by {by}", action.as_str())
    }
}

impl RedisStore {
    /// Throws a switch on behalf of `by`, and tells all workers, with `throw.lua`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn throw(&self, action: Action, scope: &Scope, by: &str) -> Result<(), StoreError> {
        let mut script = THROW.prepare_invoke();
        script
            .key(names::switches_key(&self.prefix))
            .arg(names::cancel_channel(&self.prefix))
            .arg(by)
            .arg(action.field(scope));
        let event = Event::of(Act::SwitchThrown, action.field(scope)).of_tenant(scope.tenant());
        self.audit.prepare(&event, &mut script);
        let what = || format!("throw the switch {} {scope}", action.as_str());
        let unnoted: String = self.invoke(what, &script).await?;
        self.audit.conclude(event, &unnoted);
        Ok(())
    }

    /// Takes a hold back; says whether there was one. Jobs that wait for it come back within seconds.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn release_hold(&self, scope: &Scope) -> Result<bool, StoreError> {
        let mut script = RELEASE_HOLD.prepare_invoke();
        let field = Action::Hold.field(scope);
        script
            .key(names::switches_key(&self.prefix))
            .arg(names::cancel_channel(&self.prefix))
            .arg(&field);
        let event = Event::of(Act::SwitchReleased, field).of_tenant(scope.tenant());
        self.audit.prepare(&event, &mut script);
        let what = || format!("release the switch hold {scope}");
        let (removed, unnoted): (u64, String) = self.invoke(what, &script).await?;
        if removed > 0 {
            self.audit.conclude(event, &unnoted);
        }
        Ok(removed > 0)
    }

    /// The switches that are thrown. One that a newer version threw is left out.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn switches(&self) -> Result<Vec<Switch>, StoreError> {
        let key = &names::switches_key(&self.prefix);
        let fields: HashMap<String, String> = self
            .run(
                || "read the switches".to_owned(),
                |mut connection| async move {
                    redis::cmd("HGETALL").arg(key).query_async(&mut connection).await
                },
            )
            .await?;
        let mut switches: Vec<_> =
            fields.iter().filter_map(|(field, value)| Switch::read(field, value)).collect();
        switches.sort();
        Ok(switches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switch_is_read_as_it_was_thrown() {
        for text in ["all", "tenant:acme", "language:python", "image:sha256:ab12"] {
            let scope: Scope = text.parse().expect(text);
            assert_eq!(scope.to_string(), text);
            let field = Action::Hold.field(&scope);
            let read = Switch::read(&field, "1500 me on host").expect("a switch");
            assert_eq!((&read.scope, read.by.as_str()), (&scope, "me on host"));
            assert!(read.holds(&[scope]) && !read.holds(&[]));
        }
        for wrong in ["", "every", "tenant:", "tenant:a b", "language:", "host:x"] {
            assert!(wrong.parse::<Scope>().is_err(), "{wrong}");
        }
        assert_eq!(Switch::read("pause all", "1 me"), None);
    }
}
