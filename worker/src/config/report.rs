//! Settings as text: the values in force, and the reference page.

use super::{
    kind::Kind,
    setting::{DEFAULT_FILE, FILE_VARIABLE, Preset, Setting},
    table::{AREAS, TABLE},
    values::Values,
};

/// See [`super::Settings::effective`].
pub(super) fn effective(values: &Values) -> String {
    let mut text = String::new();
    let mut area = "";
    for (setting, value, origin) in values.shown() {
        if setting.area != area {
            area = setting.area;
            text += &format!("{}[{area}]\n", if text.is_empty() { "" } else { "\n" });
        }
        let value = match setting.kind {
            Kind::Integer { .. } | Kind::Decimal { .. } | Kind::Boolean => value,
            Kind::Choice(_) | Kind::Text(_) | Kind::Secret(_) => {
                toml::Value::String(value).to_string()
            }
        };
        text += &format!("{} = {value} # {origin}\n", setting.name);
    }
    text
}

/// The page `docs/configuration.md`, made from the table of settings.
pub fn reference() -> String {
    let mut text = format!(
        "<!-- Made by `sandfleet docs configuration`; edit worker/src/config/table.rs instead. -->

# Configuration

The worker and the client commands read one TOML file and the environment; the environment wins.

- **File**: the one that `--config` names, else `{FILE_VARIABLE}`, else `{DEFAULT_FILE}` if it exists. Each section below
  is a table in it: `slots` of the section `worker` is `slots` below `[worker]`.
- **Environment**: `SANDFLEET_<AREA>_<NAME>`, so `worker.slots` is `SANDFLEET_WORKER_SLOTS`. A variable with this prefix that
  is no setting is a mistake, except `SANDFLEET_TEST_*` and what Kubernetes sets for services (`…_SERVICE_HOST`, `…_PORT`).

All mistakes are reported at once, before anything connects, and the process ends with exit code 64.
"
    );
    for area in AREAS.iter() {
        text += &format!(
            "\n## {}\n\n{}\n\n| Setting | Default | Allowed | Meaning |\n|---|---|---|---|\n",
            area.name,
            area.doc.trim()
        );
        for setting in TABLE.iter().filter(|setting| setting.area == area.name) {
            text += &row(setting);
        }
    }
    text
}

fn row(setting: &Setting) -> String {
    let default = match &setting.default {
        Preset::Fixed(text) if text.is_empty() => "none".into(),
        Preset::Fixed(text) => format!("`{text}`"),
        Preset::Computed { described, .. } => (*described).into(),
    };
    format!(
        "| `{}` | {default} | {} | {} |\n",
        setting.key(),
        setting.kind.allowed(),
        setting.doc.trim()
    )
}
