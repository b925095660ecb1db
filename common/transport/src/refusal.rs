//! What a broker or a store answered, in one sentence, and whether waiting can help.

use std::{error::Error, io, sync::Arc};

use lapin::protocol::{AMQPError, AMQPErrorKind, AMQPHardError, AMQPSoftError};
use redis::RedisError;
use sandfleet_common::PrintableText;
use tokio_rustls::rustls;

/// Why a service refuses us, where only another configuration helps, ours or its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The login, or what its user may do.
    Access,
    /// Something that is named or set isn't there or doesn't fit: a virtual host, a database, a queue.
    Setting,
    /// TLS fails, or what answers speaks another protocol.
    Protocol,
}

/// An answer in words: what was said, what to do about it, and whether it is final.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    said: String,
    fix: &'static str,
    pub(crate) refusal: Option<Refusal>,
}

impl Answer {
    fn refused(refusal: Refusal, said: impl ToString, fix: &'static str) -> Self {
        Self { said: said.to_string(), fix, refusal: Some(refusal) }
    }

    fn passing(said: impl ToString, fix: &'static str) -> Self {
        Self { said: said.to_string(), fix, refusal: None }
    }

    /// What was said.
    pub(crate) fn said(&self) -> &str {
        &self.said
    }

    /// The answer and the fix, for the end of a sentence.
    pub(crate) fn sentence(&self) -> String {
        // The services' words are of outside origin.
        format!("{}; {}", PrintableText::new(&self.said), self.fix)
    }
}

const LOGIN: &str = "check the user and the password in the address";
const RUNS: &str = "check that it runs and what the user may do";
const NO_TLS: &str = "name its port for TLS, or write the address without TLS";
const HAS_TLS: &str =
    "write the address with TLS (amqps:// or rediss://), or name its port without";
const PERMISSIONS: &str =
    "let the user configure, write and read there (rabbitmqctl set_permissions)";

/// What is at the other end, where that isn't what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Foreign {
    /// A server that speaks TLS, asked without.
    #[error("it speaks TLS")]
    Tls,
    /// Any other.
    #[error("it doesn't speak AMQP")]
    NotAmqp,
}

/// What the library for AMQP came back with.
pub(crate) fn of_broker(error: &lapin::Error) -> Answer {
    use lapin::ErrorKind;
    match error.kind() {
        ErrorKind::ProtocolError(said) => of_amqp(said),
        ErrorKind::IOError(error) | ErrorKind::RuntimeShutdownError(error) => {
            of_io(error).unwrap_or_else(|| Answer::passing(error, RUNS))
        }
        ErrorKind::InvalidProtocolVersion(version) => Answer::refused(
            Refusal::Protocol,
            format!("it speaks AMQP {version}, not 0-9-1"),
            "name a RabbitMQ broker's port for AMQP",
        ),
        ErrorKind::ParsingError(_) => of_foreign(Foreign::NotAmqp),
        _ => Answer::passing(error, RUNS),
    }
}

fn of_amqp(said: &AMQPError) -> Answer {
    let message = said.get_message().as_str();
    // `ACCESS_REFUSED - Login was refused…`: the first word repeats the kind.
    let text = message.split_once(" - ").map_or(message, |(_, text)| text);
    match said.kind() {
        AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) if text.starts_with("Login") => {
            Answer::refused(Refusal::Access, "it refused the login", LOGIN)
        }
        AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) => {
            Answer::refused(Refusal::Access, text, PERMISSIONS)
        }
        // Also how it refuses one connection too many, which is not final.
        AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) if text.contains(" limit ") => {
            Answer::passing(text, RUNS)
        }
        AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) if text.contains("refused for user") => {
            Answer::refused(Refusal::Access, text, PERMISSIONS)
        }
        AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) => Answer::refused(
            Refusal::Setting,
            text,
            "create the virtual host (rabbitmqctl add_vhost), or name another at the end of the address",
        ),
        _ => Answer::passing(message, RUNS),
    }
}

fn of_foreign(foreign: Foreign) -> Answer {
    let fix = match foreign {
        Foreign::Tls => HAS_TLS,
        Foreign::NotAmqp => "name a RabbitMQ broker's port for AMQP",
    };
    Answer::refused(Refusal::Protocol, foreign, fix)
}

/// What an error of a connection means, if it is more than a connection that failed.
fn of_io(error: &io::Error) -> Option<Answer> {
    let inner: &(dyn Error + 'static) = error.get_ref()?;
    if let Some(inner) = inner.downcast_ref::<io::Error>() {
        return of_io(inner);
    }
    if let Some(foreign) = inner.downcast_ref::<Foreign>() {
        return Some(of_foreign(*foreign));
    }
    let refused = |said: String, fix| Answer::refused(Refusal::Protocol, said, fix);
    Some(match inner.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidMessage(_) => refused("it doesn't speak TLS".into(), NO_TLS),
        rustls::Error::InvalidCertificate(why) => refused(
            format!("its certificate is not accepted ({why})"),
            "name its authority in ca_file, and the host as in the certificate",
        ),
        rustls::Error::AlertReceived(why) => refused(
            format!("it refused the TLS connection ({why:?})"),
            "check certificate_file and key_file, and whether the server takes them",
        ),
        other => {
            refused(format!("TLS failed ({other})"), "check the server's TLS versions and ciphers")
        }
    })
}

/// That a server which was asked with TLS answers without.
pub(crate) fn without_tls() -> Answer {
    Answer::refused(Refusal::Protocol, "it doesn't speak TLS", NO_TLS)
}

/// That what answers isn't Redis.
pub(crate) fn not_redis() -> Answer {
    let said = "it doesn't speak Redis's protocol";
    Answer::refused(Refusal::Protocol, said, "name a Redis server's port")
}

/// That a server which was asked without TLS answers with it.
pub(crate) fn with_tls() -> Answer {
    of_foreign(Foreign::Tls)
}

/// What the library for Redis came back with, if there is more to say than it says.
pub(crate) fn of_store(error: &RedisError) -> Option<Answer> {
    let refused = |refusal, said, fix| Some(Answer::refused(refusal, said, fix));
    let no_password = "it wants a login (NOAUTH)";
    let text = error.to_string();
    match error.code() {
        Some("NOAUTH") => return refused(Refusal::Access, no_password.into(), LOGIN),
        Some("WRONGPASS") => {
            return refused(Refusal::Access, "it refused the login (WRONGPASS)".into(), LOGIN);
        }
        Some("NOPERM") => {
            let fix = "let the user run all commands on the keys of this prefix (ACL SETUSER)";
            return refused(Refusal::Access, text, fix);
        }
        _ => {}
    }
    if error.kind() == redis::ErrorKind::AuthenticationFailed {
        return refused(Refusal::Access, "it refused the login".into(), LOGIN);
    }
    // Only the library's words tell what it asked for while it connected.
    if text.starts_with("Redis server refused to switch database") {
        let why = error.detail().unwrap_or("no reason given");
        if why.contains("Authentication") {
            return refused(Refusal::Access, no_password.into(), LOGIN);
        }
        let said = format!("it doesn't give the database ({why})");
        return refused(Refusal::Setting, said, "name another at the end of the address");
    }
    let source = error.source()?.downcast_ref::<Arc<dyn Error + Send + Sync>>()?;
    source.downcast_ref::<io::Error>().and_then(of_io)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amqp(code: u16, message: &str) -> Answer {
        of_amqp(&AMQPError::from_id(code, message.into()).expect("a known code"))
    }

    #[test]
    fn what_no_waiting_heals_is_told_from_what_passes() {
        for (code, message, refusal, said) in [
            (
                403,
                "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN.",
                Some(Refusal::Access),
                "it refused the login",
            ),
            (
                403,
                "ACCESS_REFUSED - configure access to queue 'q' in vhost '/' refused for user 'u'",
                Some(Refusal::Access),
                "configure access to queue 'q'",
            ),
            (
                530,
                "NOT_ALLOWED - vhost nope not found",
                Some(Refusal::Setting),
                "vhost nope not found",
            ),
            (
                530,
                "NOT_ALLOWED - access to vhost 'v' refused for user 'u'",
                Some(Refusal::Access),
                "refused for user",
            ),
            (
                530,
                "NOT_ALLOWED - access to vhost 'v' refused for user 'u': connection limit (1) is reached",
                None,
                "connection limit",
            ),
            (
                530,
                "NOT_ALLOWED - connection refused for user 'u': user connection limit (1) is reached",
                None,
                "connection limit",
            ),
            (
                320,
                "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'",
                None,
                "shutdown",
            ),
            (
                541,
                "INTERNAL_ERROR - access to vhost 'v' refused for user 'u': vhost 'v' is down",
                None,
                "is down",
            ),
        ] {
            let answer = amqp(code, message);
            assert_eq!(answer.refusal, refusal, "{message}");
            assert!(answer.sentence().contains(said), "{answer:?}");
        }
    }

    #[test]
    fn what_a_service_says_is_made_printable() {
        let sentence = amqp(530, "NOT_ALLOWED - vhost \u{1b}[2J not found").sentence();
        assert!(!sentence.contains('\u{1b}'), "{sentence:?}");
    }
}
