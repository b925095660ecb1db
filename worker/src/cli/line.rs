//! One line of a batch: the job on it, and what flags add to it.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use sandfleet_common::{JobId, json_fault};
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Value, value::RawValue};

/// What a line should look like.
const EXAMPLE: &str =
    r#"write one job a line, such as {"version":1,"language":"python","code":"print(1)"}"#;

/// What flags set for every job of a batch whose line doesn't.
#[derive(Debug, Default)]
pub(super) struct Defaults {
    /// Fields of the job: a line that has one keeps its own.
    pub(super) fields: BTreeMap<&'static str, Value>,
    /// Members of the objects `limits` and `env`: a line that has one keeps its own.
    pub(super) members: BTreeMap<&'static str, BTreeMap<String, Value>>,
    /// Files, by name: a line that has one of that name keeps its own.
    pub(super) files: BTreeMap<String, Value>,
}

/// The id that a line names, and the job on it as bytes, with `defaults`. A job without an id gets a new
/// one.
pub(super) fn identify(
    mut line: Vec<u8>,
    defaults: &Defaults,
) -> Result<(Option<JobId>, Vec<u8>), String> {
    let Some(brace) = line.iter().position(|byte| !byte.is_ascii_whitespace()) else {
        return Err(format!("empty; {EXAMPLE}"));
    };
    if line[brace] != b'{' {
        let text = String::from_utf8_lossy(&line[brace..]);
        let begin: String = text.chars().take(20).collect();
        return Err(format!("{begin:?} begins no JSON object; {EXAMPLE}"));
    }
    let (id, additions) = {
        let members: Members<'_> =
            serde_json::from_slice(&line).map_err(|error| json_fault(&error))?;
        let id = members.job_id()?;
        (id, additions(&line, brace, &members, defaults)?)
    };
    let named = id.is_some();
    let id = match id {
        Some(id) => id,
        None => JobId::generate(),
    };
    let mut additions = additions;
    if !named {
        additions.entry(brace + 1).or_default().push(format!("\"job_id\":\"{id}\""));
    }
    // Into the text: a value takes many times the memory of the line that it is read from.
    for (at, texts) in additions.into_iter().rev() {
        let next = line[at..].iter().find(|byte| !byte.is_ascii_whitespace());
        let comma = if matches!(next, Some(b'}' | b']')) { "" } else { "," };
        line.splice(at..at, (texts.join(",") + comma).into_bytes());
    }
    Ok((named.then_some(id), line))
}

/// What has to be put where in the line.
fn additions(
    line: &[u8],
    brace: usize,
    members: &Members<'_>,
    defaults: &Defaults,
) -> Result<BTreeMap<usize, Vec<String>>, String> {
    let mut additions: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    let top = brace + 1;
    for (name, value) in &defaults.fields {
        // Some belong together.
        let is_set = match *name {
            "stdin" | "stdin_encoding" => {
                ["stdin", "stdin_encoding"].iter().any(|it| members.0.contains_key(it))
            }
            "tests" | "test_groups" | "stop_at_first_failure" | "output_validator" => {
                members.0.contains_key("tests")
            }
            name => members.0.contains_key(name),
        };
        if !is_set {
            additions.entry(top).or_default().push(format!("\"{name}\":{value}"));
        }
    }
    // Where the value of a member begins, after its bracket.
    let inside = |value: &RawValue| value.get().as_ptr() as usize - line.as_ptr() as usize + 1;
    for (name, wanted) in &defaults.members {
        let entry =
            |(key, value): (&String, &Value)| format!("{}:{value}", Value::from(key.as_str()));
        match members.0.get(name) {
            None if wanted.is_empty() => {}
            None => {
                let object: Vec<String> = wanted.iter().map(entry).collect();
                let text = format!("\"{name}\":{{{}}}", object.join(","));
                additions.entry(top).or_default().push(text);
            }
            // Anything else than an object is refused with the job.
            Some(value) if value.get().starts_with('{') => {
                let mut missing: BTreeMap<&String, &Value> = wanted.iter().collect();
                for_each_key(value, |key| {
                    missing.remove(&key.to_owned());
                })
                .map_err(|error| format!("{name}: {}", json_fault(&error)))?;
                if !missing.is_empty() {
                    let texts = missing.into_iter().map(entry);
                    additions.entry(inside(value)).or_default().extend(texts);
                }
            }
            Some(_) => {}
        }
    }
    match members.0.get("files") {
        _ if defaults.files.is_empty() => {}
        None => {
            let files: Vec<String> = defaults.files.values().map(Value::to_string).collect();
            additions.entry(top).or_default().push(format!("\"files\":[{}]", files.join(",")));
        }
        Some(value) if value.get().starts_with('[') => {
            // Files that can't be read are refused with the job.
            let names: Vec<Named<'_>> = serde_json::from_str(value.get()).unwrap_or_default();
            let is_there = |name: &String| names.iter().any(|it| it.name == name.as_str());
            let missing: Vec<String> = defaults
                .files
                .iter()
                .filter(|(name, _)| !is_there(name))
                .map(|(_, file)| file.to_string())
                .collect();
            if !missing.is_empty() {
                additions.entry(inside(value)).or_default().extend(missing);
            }
        }
        Some(_) => {}
    }
    Ok(additions)
}

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
}

/// The members of a job that a batch looks at, as text.
struct Members<'a>(BTreeMap<&'static str, &'a RawValue>);

/// What is looked for; a second one on the same line is a mistake.
const LOOKED_AT: [&str; 18] = [
    "job_id",
    "language",
    "files",
    "args",
    "env",
    "stdin",
    "stdin_encoding",
    "limits",
    "line_buffered",
    "artifacts",
    "tenant",
    "ttl_ms",
    "priority",
    "isolation",
    "tests",
    "test_groups",
    "stop_at_first_failure",
    "output_validator",
];

impl Members<'_> {
    fn job_id(&self) -> Result<Option<JobId>, String> {
        let Some(raw) = self.0.get("job_id") else { return Ok(None) };
        let text: String = serde_json::from_str(raw.get())
            .map_err(|_| format!("job_id {raw} is no text; write it in quotes, or leave it out"))?;
        text.parse().map(Some).map_err(|error| format!("job_id {text:?}: {error}"))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a job")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let mut members = BTreeMap::new();
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            let Some(name) = LOOKED_AT.iter().find(|name| **name == key) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if members.insert(*name, map.next_value()?).is_some() {
                return Err(A::Error::duplicate_field(name));
            }
        }
        Ok(Members(members))
    }
}

/// Hands every key of an object over, without keeping them.
fn for_each_key(object: &RawValue, mut each: impl FnMut(&str)) -> Result<(), serde_json::Error> {
    struct Keys<'f>(&'f mut dyn FnMut(&str));

    impl<'de> Visitor<'de> for Keys<'_> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
            while let Some(key) = map.next_key::<Cow<'de, str>>()? {
                (self.0)(&key);
                map.next_value::<IgnoredAny>()?;
            }
            Ok(())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, _items: A) -> Result<(), A::Error> {
            Err(A::Error::custom("an array, not an object"))
        }
    }

    let mut json = serde_json::Deserializer::from_str(object.get());
    json.deserialize_map(Keys(&mut each))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn defaults() -> Defaults {
        let members = |value: Value| match value {
            Value::Object(map) => map.into_iter().collect(),
            _ => BTreeMap::new(),
        };
        Defaults {
            fields: [("language", json!("python")), ("stdin", json!("in \"quotes\""))].into(),
            members: [
                ("limits", members(json!({ "processes": 5, "wall_time_ms": 7 }))),
                ("env", members(json!({ "A": "1" }))),
            ]
            .into(),
            files: [("a".to_owned(), json!({ "name": "a", "content": "default" }))].into(),
        }
    }

    fn merged(line: &str) -> Value {
        let (id, bytes) = identify(line.into(), &defaults()).expect(line);
        let mut value: Value = serde_json::from_slice(&bytes).expect("JSON");
        let made = value.as_object_mut().expect("an object").remove("job_id").expect("an id");
        assert!(id.is_none_or(|id| made == id.as_str()));
        value
    }

    #[test]
    fn a_line_keeps_what_it_says_and_gets_the_rest() {
        let file = json!({ "name": "a", "content": "default" });
        let all = json!({
            "language": "python", "stdin": "in \"quotes\"", "env": { "A": "1" },
            "limits": { "processes": 5, "wall_time_ms": 7 }, "files": [file],
        });
        assert_eq!(merged("{}"), all);
        assert_eq!(merged(" { } "), all);
        let line = json!({
            "job_id": "x", "stdin": "own", "limits": { "wall_time_ms": 9, "memory_bytes": 1 },
            "env": {}, "files": [{ "name": "b", "content": "" }, { "content": "", "name": "a" }],
        });
        assert_eq!(
            merged(&line.to_string()),
            json!({
                "language": "python", "stdin": "own", "env": { "A": "1" },
                "limits": { "processes": 5, "wall_time_ms": 9, "memory_bytes": 1 },
                "files": line["files"],
            })
        );
        let line = json!({ "files": [{ "name": "b", "content": "" }], "limits": [1], "env": null });
        let merged = merged(&line.to_string());
        assert_eq!(merged["files"], json!([file, { "name": "b", "content": "" }]));
        assert_eq!((&merged["limits"], &merged["env"]), (&json!([1]), &Value::Null));
    }

    #[test]
    fn stdin_and_its_encoding_come_together() {
        let fields = [("stdin", json!("/w==")), ("stdin_encoding", json!("base64"))].into();
        let defaults = Defaults { fields, ..Defaults::default() };
        let merged = |line: &str| {
            let (_, bytes) = identify(line.into(), &defaults).expect(line);
            let value: Value = serde_json::from_slice(&bytes).expect("JSON");
            (value["stdin"].clone(), value["stdin_encoding"].clone())
        };
        assert_eq!(merged("{}"), (json!("/w=="), json!("base64")));
        assert_eq!(merged(r#"{"stdin":"text"}"#), (json!("text"), Value::Null));
    }

    #[test]
    fn a_line_without_an_id_is_only_lengthened() {
        for line in [r#"{"a":1}"#, "{}", " {\"a\":{\"job_id\":1}}"] {
            let (id, bytes) = identify(line.into(), &Defaults::default()).expect(line);
            assert_eq!(id, None);
            let text = String::from_utf8(bytes).expect("text");
            assert!(serde_json::from_str::<Value>(&text).expect("JSON")["job_id"].is_string());
        }
        let whole = br#"{"job_id":"x", "a": 1}"#.to_vec();
        let (id, bytes) = identify(whole.clone(), &Defaults::default()).expect("it has an id");
        assert_eq!((id.expect("one").as_str(), bytes), ("x", whole));
    }

    #[test]
    fn what_is_no_job_is_refused_in_plain_words() {
        for (line, part) in [
            ("", "empty"),
            ("nope", "begins no JSON object"),
            (r#"{"a":nope}"#, "no JSON at column 7"),
            (r#"{"a":1"#, "no JSON at column 6: it ends too early"),
            (r#"{"job_id":7}"#, "job_id 7 is no text"),
            (r#"{"job_id":null}"#, "job_id null is no text"),
            (r#"{"job_id":"a/b"}"#, "job_id \"a/b\""),
            (r#"{"job_id":"a","job_id":"b"}"#, "duplicate field `job_id`"),
            (r#"{"limits":{},"limits":{}}"#, "duplicate field `limits`"),
        ] {
            let refused = identify(line.into(), &defaults()).expect_err(line);
            assert!(refused.contains(part), "{line}: {refused}");
            assert!(!refused.contains("ident"), "{line}: {refused}");
        }
    }
}
