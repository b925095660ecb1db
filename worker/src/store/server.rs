//! What the Redis server is, as far as it concerns what is kept.

use redis::{RedisError, aio::ConnectionManager};
use sandfleet_transport::RedisLink;

/// What the server says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerInfo {
    /// Its version.
    pub version: String,
    /// Whether it writes everything to a log.
    pub append_only: bool,
    /// How it brings that to the disk, if the user may know it.
    pub fsync: Option<String>,
}

impl ServerInfo {
    pub(super) async fn ask(link: &RedisLink) -> Result<Self, RedisError> {
        let info: String = link
            .run(|mut connection: ConnectionManager| async move {
                redis::cmd("INFO").query_async(&mut connection).await
            })
            .await?;
        let fsync = link
            .run(|mut connection: ConnectionManager| async move {
                let mut ask = redis::cmd("CONFIG");
                ask.arg("GET").arg("appendfsync");
                ask.query_async::<(String, String)>(&mut connection).await
            })
            .await;
        let fsync = match fsync {
            Ok((_, fsync)) => Some(fsync),
            Err(error) if error.is_io_error() => return Err(error),
            // Hosted servers often keep CONFIG to themselves.
            Err(_) => None,
        };
        Ok(Self::of(&info, fsync))
    }

    fn of(info: &str, fsync: Option<String>) -> Self {
        let field = |name: &str| {
            let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.map(str::trim).unwrap_or_default()
        };
        Self {
            version: field("redis_version").to_owned(),
            append_only: field("aof_enabled") == "1",
            fsync,
        }
    }

    /// Whether it knows all commands that are used.
    pub fn is_new_enough(&self) -> bool {
        let mut numbers = self.version.split('.').map_while(|part| part.parse::<u32>().ok());
        let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        found >= (6, 2)
    }
}

/// The server's eviction policy, if the user may know it.
pub(super) async fn policy(link: &RedisLink) -> Result<Option<String>, RedisError> {
    let asked = link
        .run(|mut connection: ConnectionManager| async move {
            redis::cmd("CONFIG")
                .arg("GET")
                .arg("maxmemory-policy")
                .query_async::<(String, String)>(&mut connection)
                .await
        })
        .await;
    match asked {
        Ok((_, policy)) => return Ok(Some(policy)),
        Err(error) if error.is_io_error() => return Err(error),
        // Hosted servers often keep CONFIG to themselves.
        Err(_) => {}
    }
    let info = link
        .run(|mut connection: ConnectionManager| async move {
            redis::cmd("INFO").arg("memory").query_async::<String>(&mut connection).await
        })
        .await;
    match info {
        Ok(info) => Ok(policy_in(&info).map(str::to_owned)),
        Err(error) if error.is_io_error() => Err(error),
        Err(_) => Ok(None),
    }
}

fn policy_in(info: &str) -> Option<&str> {
    info.lines().find_map(|line| line.strip_prefix("maxmemory_policy:")).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_is_found_in_the_servers_info() {
        let info = "# Memory\r\nused_memory:1\r\nmaxmemory_policy:allkeys-lru\r\n";
        assert_eq!(policy_in(info), Some("allkeys-lru"));
        assert_eq!(policy_in("# Memory\r\n"), None);
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        let at = |version: &str| ServerInfo::of(&format!("redis_version:{version}\r\n"), None);
        for good in ["6.2.0", "7.0.15", "10.0"] {
            assert!(at(good).is_new_enough(), "{good}");
        }
        for bad in ["6.0.16", "5.0.7", ""] {
            assert!(!at(bad).is_new_enough(), "{bad}");
        }
        assert!(ServerInfo::of("# P\r\naof_enabled:1\r\n", None).append_only);
    }
}
