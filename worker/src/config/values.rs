//! The value of each setting, and where it comes from.

use super::{kind::Typed, mistake::Mistake, setting::Setting};

/// The value of every setting.
#[derive(Debug, Clone)]
pub(super) struct Values(Vec<Value>);

#[derive(Clone)]
struct Value {
    setting: &'static Setting,
    text: String,
    origin: Origin,
    /// Whether nothing is wrong with it, in any source.
    sound: bool,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    Default,
    /// A line of the file.
    File(String),
    /// The variable of that name.
    Environment(String),
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File(place) => f.write_str(place),
            Origin::Environment(variable) => f.write_str(variable),
        }
    }
}

/// Texts may be passwords.
impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Value").field("origin", &self.origin).finish_non_exhaustive()
    }
}

impl Values {
    /// The defaults of all settings of the `table`.
    pub(super) fn defaults(table: &'static [Setting]) -> Self {
        let value = |setting: &'static Setting| Value {
            setting,
            text: setting.default_text(),
            origin: Origin::Default,
            sound: true,
        };
        Self(table.iter().map(value).collect())
    }

    /// The position of `area.name` among all settings.
    pub(super) fn position(&self, area: &str, name: &str) -> Option<usize> {
        self.0.iter().position(|value| value.setting.area == area && value.setting.name == name)
    }

    /// Every setting with its value for showing and where that comes from.
    pub(super) fn shown(&self) -> impl Iterator<Item = (&'static Setting, String, &Origin)> {
        let shown = |value: &Value| value.setting.kind.show(&value.text);
        self.0.iter().map(move |value| (value.setting, shown(value), &value.origin))
    }

    /// The value of `area.name`, if nothing is wrong with it.
    pub(super) fn sound(&self, area: &str, name: &str) -> Option<&str> {
        let value = &self.0[self.position(area, name)?];
        value.sound.then_some(value.text.as_str())
    }

    /// The value of `area.name` in its type, if nothing is wrong with it.
    pub(super) fn typed<T: Typed>(&self, area: &str, name: &str) -> Option<T> {
        T::typed(self.sound(area, name)?)
    }

    /// Replaces the value of `area.name`, if nothing is wrong with it.
    pub(super) fn replace(&mut self, area: &str, name: &str, new: impl FnOnce(&str) -> String) {
        if let Some(value) = self.position(area, name).map(|at| &mut self.0[at])
            && value.sound
        {
            value.text = new(&value.text);
        }
    }

    /// `area.name = value (origin)`.
    pub(super) fn describe(&self, area: &str, name: &str) -> String {
        let found = self.shown().find(|(s, ..)| s.area == area && s.name == name);
        let shown = found.map(|(_, text, origin)| format!(" = {text} ({origin})"));
        format!("{area}.{name}{}", shown.unwrap_or_default())
    }

    /// What is wrong with the value of `area.name`.
    pub(super) fn mistake(&self, area: &str, name: &str, problem: &str, fix: &str) -> Mistake {
        Mistake::new(&self.describe(area, name), problem, fix)
    }

    /// Sets the setting at `at` to `text`, or notes what is wrong with it.
    pub(super) fn set(
        &mut self,
        at: usize,
        text: Result<String, (String, &str)>,
        origin: Origin,
        mistakes: &mut Vec<Mistake>,
    ) {
        let value = &mut self.0[at];
        let setting = value.setting;
        let checked = match &text {
            Ok(text) => setting.kind.check(text).map_err(|problem| (text.as_str(), problem)),
            Err((text, problem)) => Err((text.as_str(), problem.to_string())),
        };
        match checked {
            Ok(text) => (value.text, value.origin) = (text, origin),
            Err((text, problem)) => {
                value.sound = false;
                mistakes.push(Mistake::of_value(setting, text, &origin, &problem));
            }
        }
    }
}
