//! What is in a store with the roles' users is still there when the store has started again.

use std::time::Duration;

use sandfleet_common::{JobId, JobState, Status};
use sandfleet_tests::{Credentials, PrivateRedis, claim, result};
use sandfleet_transport::records::{RedisConfig, RedisStore};
use tempfile::TempDir;

/// Redis reads its append-only file as the user `default`, and throws away what that user may not do: all that the
/// scripts wrote. So that user has every right, and no client can log in as it.
#[tokio::test]
async fn results_survive_a_restart_of_the_store_from_its_append_only_file() {
    let directory = TempDir::new().expect("room for files");
    let credentials = Credentials::at(directory.path().join("users"));
    credentials.make(&["--prefix", "own", "--store", "127.0.0.1:1"]);
    let rights = credentials.directory().join("redis.acl").display().to_string();
    let options = ["--appendonly", "yes", "--aclfile", rights.as_str()];
    let mut server = PrivateRedis::start(&options).await;
    let at = server.url().replacen("redis://", "", 1);
    let url =
        credentials.login("worker").redis_url.replacen("127.0.0.1:1", at.trim_end_matches('/'), 1);
    let ttl = Duration::from_secs(600);
    let config = RedisConfig {
        url,
        prefix: "own".into(),
        dedup_ttl: ttl,
        max_wait: ttl,
        ..RedisConfig::default()
    };
    let store = RedisStore::connect(config).expect("a valid URL");
    let job = JobId::generate();
    store.claim(&job, &claim("a")).await.expect("the worker's user may");
    store.commit(&result(&job, "done"), "a", ttl).await.expect("the worker's user may");

    server.kill().await;
    server.restart().await;
    let JobState::Done(kept) = store.get(&job).await.expect("it runs again") else {
        panic!("the result is gone");
    };
    assert_eq!(kept.status, Status::Succeeded);

    // No client logs in as that user.
    for address in [at.clone(), format!("default:@{at}"), format!("default:x@{at}")] {
        let client = redis::Client::open(format!("redis://{address}")).expect("a valid URL");
        let said = async {
            let mut connection = client.get_multiplexed_async_connection().await?;
            redis::cmd("GET").arg("own:check").query_async::<Option<String>>(&mut connection).await
        };
        let error = said.await.expect_err("refused without a user");
        let error = error.to_string();
        assert!(
            error.contains("NOAUTH")
                || error.contains("AuthenticationFailed")
                || error.contains("WRONGPASS"),
            "{address}: {error}"
        );
    }
}
