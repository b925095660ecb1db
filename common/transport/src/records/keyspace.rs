//! Reading the store beyond the keys of one job.

use redis::{Cmd, FromRedisValue};

use super::redis::RedisStore;
use crate::StoreError;

/// How many keys the server looks at for one answer.
const PAGE: usize = 10_000;

impl RedisStore {
    /// The keys that fit a pattern, of this type if one is named. The server looks at all its keys, a page at a time.
    pub(super) async fn keys_like(
        &self,
        pattern: &str,
        kind: Option<&str>,
    ) -> Result<Vec<String>, StoreError> {
        let (mut keys, mut cursor) = (Vec::new(), 0_u64);
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(PAGE);
            if let Some(kind) = kind {
                scan.arg("TYPE").arg(kind);
            }
            let (next, page): (u64, Vec<String>) =
                self.read(|| format!("look for keys {pattern}"), &scan).await?;
            keys.extend(page);
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
        // One that moves while the server looks may come twice.
        keys.sort();
        keys.dedup();
        Ok(keys)
    }

    /// The answer to a command that is harmless to repeat.
    pub(super) async fn read<T: FromRedisValue>(
        &self,
        action: impl FnOnce() -> String,
        command: &Cmd,
    ) -> Result<T, StoreError> {
        self.run(action, |mut connection| async move { command.query_async(&mut connection).await })
            .await
    }
}
