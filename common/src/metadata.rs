//! A producer's notes: any JSON, but not any number of values.
//!
//! A value takes many times as much memory as its text: `{"":0}` is six bytes on the wire, and a node of a
//! map in memory. So they are counted while they are read.

use std::{cell::Cell, collections::BTreeMap, fmt};

use serde::{
    Deserializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};

/// How many values a job's metadata may hold, arrays and objects and all that is in them.
pub(crate) const MAX_VALUES: usize = 10_000;

/// Reads metadata.
///
/// # Errors
/// If there are too many values, and what `deserializer` finds wrong.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, Value>, D::Error> {
    deserializer.deserialize_map(Notes(&Cell::new(MAX_VALUES)))
}

/// Checks metadata that was not read.
pub(crate) fn validate(metadata: &BTreeMap<String, Value>) -> Result<(), String> {
    let count: usize = metadata.values().map(values).sum();
    if count > MAX_VALUES {
        return Err(format!("metadata: {}", too_many()));
    }
    Ok(())
}

fn values(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(values).sum(),
        Value::Object(entries) => entries.values().map(values).sum(),
        _ => 0,
    }
}

fn too_many() -> String {
    format!("more than {MAX_VALUES} values; use fewer, or one text that holds them")
}

/// Metadata, of which so many more values may come.
struct Notes<'a>(&'a Cell<usize>);

impl<'de> Visitor<'de> for Notes<'_> {
    type Value = BTreeMap<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut notes = BTreeMap::new();
        while let Some(name) = map.next_key()? {
            notes.insert(name, map.next_value_seed(Counted(self.0))?);
        }
        Ok(notes)
    }
}

/// One value, and all that are in it.
struct Counted<'a>(&'a Cell<usize>);

impl Counted<'_> {
    fn count<E: Error>(&self) -> Result<(), E> {
        let left = self.0.get().checked_sub(1).ok_or_else(|| E::custom(too_many()))?;
        self.0.set(left);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Counted<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.count()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Counted<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any valid JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(Counted(self.0))? {
            array.push(item);
        }
        Ok(array.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = map.next_key()? {
            object.insert(name, map.next_value_seed(Counted(self.0))?);
        }
        Ok(object.into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{Job, decode_job, encode};

    fn with(metadata: &str) -> Vec<u8> {
        let job = encode(&Job::new("python", "1"));
        let text = String::from_utf8(job).expect("JSON is text");
        let (all, _) = text.rsplit_once('}').expect("an object");
        format!("{all},\"metadata\":{metadata}}}").into_bytes()
    }

    #[test]
    fn metadata_comes_back_as_it_was() {
        let text =
            r#"{"a":[1,-2,3.5,1e300,18446744073709551615,true,null,"é",{"b":{"c":[]}}],"":{}}"#;
        let job = decode_job(&with(text), 1 << 20).expect("valid");
        let same: serde_json::Value = serde_json::from_str(text).expect("valid");
        assert_eq!(json!(job.metadata), same);
    }

    #[test]
    fn too_many_values_are_refused_while_they_are_read_and_before_they_are_sent() {
        let many = |count: usize| format!("{{\"a\":[{}]}}", vec!["{\"\":0}"; count].join(","));
        // The array, and two for each object in it.
        decode_job(&with(&many(4_999)), 1 << 20).expect("few enough");
        let error = decode_job(&with(&many(5_000)), 1 << 20).expect_err("too many");
        assert!(error.job_id.is_some());
        let refused = "metadata.a[4999].: more than 10000 values; use fewer, or one text";
        assert!(error.message.starts_with(refused), "{}", error.message);
        let mut job = Job::new("python", "1");
        job.metadata = serde_json::from_str(&many(5_000)).expect("valid JSON");
        let refused = job.validate().expect_err("too many");
        assert!(refused.starts_with("metadata: more than 10000 values"), "{refused}");
    }
}
