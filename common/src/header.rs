//! Reads the job id and the version of a message that doesn't decode.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};

use crate::{JobId, PROTOCOL_VERSION};

/// The job's id, if there is one.
pub(crate) fn readable_id(bytes: &[u8]) -> Option<JobId> {
    header(bytes)?.job_id?.0.as_str()?.parse().ok()
}

/// The message for a job of another version, which goes before one about a field that it has more.
pub(crate) fn other_version(bytes: &[u8]) -> Option<String> {
    let Scalar(version) = header(bytes)?.version?;
    (version != PROTOCOL_VERSION).then(|| unsupported_version(&version.to_string()))
}

pub(crate) fn unsupported_version(version: &str) -> String {
    let shown: String = version.chars().take(40).collect();
    format!("version: {shown} is not supported; use the number {PROTOCOL_VERSION}")
}

fn header(bytes: &[u8]) -> Option<Header> {
    serde_json::from_slice(bytes).ok()
}

#[derive(Deserialize)]
#[serde(remote = "Self")]
pub(crate) struct Header {
    version: Option<Scalar>,
    job_id: Option<Scalar>,
}

/// A value that is no array and no object. Those are passed over: they may be much larger in memory than
/// on the wire, and are right in neither field.
pub(crate) struct Scalar(pub(crate) Value);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any valid JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Scalar, E> {
        Ok(Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Scalar, E> {
        Ok(Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Scalar, E> {
        Ok(Scalar(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Scalar, E> {
        Ok(Scalar(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Scalar, E> {
        Ok(Scalar(value.into()))
    }

    fn visit_unit<E>(self) -> Result<Scalar, E> {
        Ok(Scalar(Value::Null))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Scalar, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar(Value::Array(Vec::new())))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar(Value::Object(Map::new())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_scalar_is_passed_over() {
        let many = format!("[{}]", vec!["{\"\":0}"; 1000].join(","));
        let text = format!(r#"{{"job_id":"a","version":{many}}}"#);
        let Header { version, job_id } = header(text.as_bytes()).expect("JSON");
        assert_eq!(version.map(|it| it.0), Some(Value::Array(Vec::new())));
        assert_eq!(job_id.map(|it| it.0), Some("a".into()));
        assert_eq!(readable_id(text.as_bytes()).map(|id| id.to_string()), Some("a".into()));
        let refused = other_version(text.as_bytes());
        assert_eq!(refused.as_deref(), Some("version: [] is not supported; use the number 1"));
    }
}
