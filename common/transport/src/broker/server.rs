//! The product and version that a broker names in `connection.start`; the AMQP library doesn't show them.

use sandfleet_common::PrintableText;

use super::header::{Fault, Fields, value};

/// What to do about a broker whose dead-lettering a producer can stop.
pub const DEAD_LETTERING_FIX: &str = "give only trusted producers a user of the broker, or install RabbitMQ 4.0 or \
                                      newer (docs/hardening.md, The broker)";

/// A broker's product and version, as it names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// `RabbitMQ`, as a rule.
    pub product: PrintableText,
    /// Numbers with dots between them, as a rule.
    pub version: PrintableText,
}

impl Server {
    /// Reads the fields of the method `connection.start`, which begin with the properties of the server.
    pub(super) fn read(mut fields: Fields<'_>) -> Option<Self> {
        fields.take(2, "version of the protocol").ok()?;
        let mut table = Fields(fields.long("properties of the server").ok()?);
        let (mut product, mut version) = (None, None);
        while !table.0.is_empty() {
            let name = table.short("the name of a property").ok()?;
            let text = text(&mut table).ok()?;
            match name {
                b"product" => product = text,
                b"version" => version = text,
                _ => {}
            }
        }
        Some(Self { product: product?, version: version? })
    }

    /// A broker that doesn't name its product and version.
    pub(super) fn unknown() -> Self {
        Self { product: "a broker".into(), version: "of unknown version".into() }
    }

    /// How a producer can stop the broker's dead-lettering, unless this version is known to be safe.
    pub fn dead_lettering_risk(&self) -> Option<String> {
        let Self { product, version } = self;
        let is_rabbitmq = product.as_str() == "RabbitMQ";
        let numbers: Vec<u64> = version.split('.').map_while(|it| it.parse().ok()).collect();
        // These ignore headers of a sender that begin with `x-`.
        let is_safe = match numbers[..] {
            [3, 13, patch] => patch <= 2,
            [major, _, ..] => major >= 4,
            _ => false,
        };
        if is_rabbitmq && is_safe {
            return None;
        }
        let reads = match is_rabbitmq && !numbers.is_empty() {
            true => "reads",
            false => "may read",
        };
        Some(format!(
            "{product} {version} {reads} the header x-death of a producer: one message can stop \
             dead-lettering, and then postponed jobs don't come back and jobs that expire get no result"
        ))
    }
}

/// A value of a table, if it is text.
fn text(table: &mut Fields<'_>) -> Result<Option<PrintableText>, Fault> {
    if table.0.first() != Some(&b'S') {
        return value(table, 1).map(|()| None);
    }
    table.take(1, "the type of a property")?;
    let bytes = table.long("a property")?;
    Ok(Some(PrintableText::new(String::from_utf8_lossy(bytes))))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The frame of the method `connection.start` as RabbitMQ 3.10.8 sends it.
    const START: &[u8] = include_bytes!("server/rabbitmq-3.10.8.frame");

    fn server(product: &str, version: &str) -> Server {
        Server { product: product.into(), version: version.into() }
    }

    #[test]
    fn product_and_version_are_read_from_the_first_frame() {
        // The frame's head, class and method come before the fields, and the end marker after them.
        let fields = |end| Fields(&START[11..end]);
        assert_eq!(Server::read(fields(START.len() - 1)), Some(server("RabbitMQ", "3.10.8")));
        assert!((11..480).all(|end| Server::read(fields(end)).is_none()), "cut short");
    }

    #[test]
    fn a_version_that_is_not_known_to_be_safe_is_a_risk_that_is_named() {
        for (product, version, verb) in [
            ("RabbitMQ", "3.10.8", " reads "),
            ("RabbitMQ", "3.12.14", " reads "),
            ("RabbitMQ", "3.13.3", " reads "),
            ("RabbitMQ", "3.13.7", " reads "),
            ("RabbitMQ", "unknown", " may read "),
            ("LavinMQ", "4.0.0", " may read "),
        ] {
            let risk = server(product, version).dead_lettering_risk().expect(version);
            for part in [product, version, verb, "x-death", "get no result"] {
                assert!(risk.contains(part), "{part}: {risk}");
            }
        }
        for version in ["3.13.0", "3.13.2", "4.0.0", "4.0.5-beta.1", "4.1.2", "12.0"] {
            let risk = server("RabbitMQ", version).dead_lettering_risk();
            assert_eq!(risk, None, "{version}");
        }
    }
}
