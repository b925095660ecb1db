//! The users that broker and store are installed with: any client that reaches the port gets in with them.

use std::time::Duration;

use sandfleet_transport::{Broker, RedisLink, Refusal};
use url::Url;

use super::finding::{Finding, SERVICES, State};
use crate::{app, config::Settings};

const ROLES: &str = "give each role a user of its own (deploy/credentials/make, docs/access.md)";

/// Whether RabbitMQ lets `guest` in, with the password that everybody knows.
pub(super) async fn broker(settings: &Settings, timeout: Duration) -> Option<Finding> {
    let name = "broker default user";
    let url = with_login(settings.queue.url.reveal(), "guest", Some("guest"))?;
    let guest = Broker::new(&url, "sandfleet doctor", timeout, &app::queue_tls(settings)).ok()?;
    Some(match guest.connect().await {
        Ok(connection) => {
            // It said what was asked; its end is nothing to wait for.
            drop(connection);
            let detail = "the user guest with the password guest is let in";
            let fix = format!("rabbitmqctl delete_user guest, and {ROLES}");
            Finding::bad(SERVICES, name, State::Warning, detail, fix)
        }
        Err(error) if error.refusal() == Some(Refusal::Access) => {
            Finding::ok(SERVICES, name, "guest is refused")
        }
        Err(error) => {
            let fix = "see the reason";
            Finding::bad(
                SERVICES,
                name,
                State::Warning,
                format!("could not be tried: {error}"),
                fix,
            )
        }
    })
}

/// Whether Redis lets a client in that names no user.
pub(super) async fn store(settings: &Settings, timeout: Duration) -> Option<Finding> {
    let name = "store default user";
    let url = with_login(settings.store.url.reveal(), "", None)?;
    let link = RedisLink::open(&url, timeout, &app::store_tls(settings)).ok()?;
    let answer: redis::RedisResult<()> = link
        .run(|mut connection| async move { redis::cmd("PING").query_async(&mut connection).await })
        .await;
    Some(match answer {
        Ok(()) => {
            let detail = "a client without a password is let in";
            let fix = format!("set `user default off` in the ACL file, and {ROLES}");
            Finding::bad(SERVICES, name, State::Warning, detail, fix)
        }
        Err(error) => {
            let error = link.failed("log in without a password".into(), &error);
            match error.refusal {
                Some(Refusal::Access) => Finding::ok(SERVICES, name, "the default user is refused"),
                _ => {
                    let detail = format!("could not be tried: {error}");
                    Finding::bad(SERVICES, name, State::Warning, detail, "see the reason")
                }
            }
        }
    })
}

/// The address with another login; nothing if it has no host.
fn with_login(url: &str, user: &str, password: Option<&str>) -> Option<String> {
    let mut url = Url::parse(url).ok()?;
    url.set_username(user).ok()?;
    url.set_password(password).ok()?;
    Some(url.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_login_is_another() {
        let guest = with_login("amqps://u:s%2Fx@h:5671/%2f?heartbeat=1", "guest", Some("guest"));
        assert_eq!(guest.as_deref(), Some("amqps://guest:guest@h:5671/%2f?heartbeat=1"));
        let nobody = with_login("redis://u:secret@h:6379/1", "", None);
        assert_eq!(nobody.as_deref(), Some("redis://h:6379/1"));
    }
}
