//! The matrix of the store: role × command.

use redis::aio::MultiplexedConnection;

use crate::servers::{ROLES, Servers, connection};

/// Commands, and who may run them: P, W, O and E for producer, worker, operator and exporter.
const MATRIX: &[(&str, &str, &str)] = &[
    ("read a result by its id", "GET OWN:{a}:result", "PWO"),
    ("read a state by its id", "HGETALL OWN:{a}:record", "WO"),
    ("read the fields of a record", "HMGET OWN:{a}:record queued_at", "PWO"),
    ("write a result", "SET OWN:{b}:result forged", "W"),
    ("delete a result", "DEL OWN:{b}:result", "WO"),
    ("note a cancellation", "SET OWN:{b}:cancelled {}", "PWO"),
    ("write a record", "HSET OWN:{b}:record language python", "PWO"),
    ("remove a record", "DEL OWN:{b}:record", "PWO"),
    ("take a lease", "SET OWN:{b}:lease me", "W"),
    ("add to an output", "XADD OWN:{b}:output * kind stdout", "W"),
    ("read an output", "XRANGE OWN:{a}:output - +", "PWO"),
    ("list the workers", "ZREVRANGE OWN:workers:{live} 0 9", "PWOE"),
    ("pose as a worker", "ZADD OWN:workers:{live} 1 w", "W"),
    ("take a tenant's place", "ZADD OWN:tenant:{t}:running 1 w", "W"),
    ("announce an end", "PUBLISH OWN:{a}:done 1", "W"),
    ("announce a cancellation", "PUBLISH OWN:cancel a", "PWO"),
    ("read the switches", "HGETALL OWN:switches", "WO"),
    ("read what was taken", "HGETALL OWN:queues:taken", "WOE"),
    ("read what the server says of itself", "INFO", "WOE"),
    ("note what was taken", "HSET OWN:queues:taken q 1", "W"),
    ("note a job that ended", "XADD OWN:history * job {}", "W"),
    ("list the jobs that ended", "XREVRANGE OWN:history + -", "O"),
    ("delete the history", "DEL OWN:history", "O"),
    ("note which policy it has", "HSET OWN:policies native x", "W"),
    ("note what it did", "XADD OWN:audit:ME * event {}", "PWO"),
    ("note what another did", "XADD OWN:audit:another * event {}", ""),
    ("read what was noted", "XRANGE OWN:audit:ME - +", "O"),
    ("cut what was noted", "XTRIM OWN:audit:ME MAXLEN 0", ""),
    ("delete an event", "XDEL OWN:audit:ME 1-1", ""),
    ("delete what was noted", "DEL OWN:audit:ME", ""),
    ("write over what was noted", "SET OWN:audit:ME x", ""),
    ("have what was noted expire", "PEXPIRE OWN:audit:ME 1", ""),
    ("count what a tenant used", "HINCRBY OWN:usage:1 jobs 1", "W"),
    ("read what tenants used", "HGETALL OWN:usage:1", "O"),
    ("forget what a tenant used", "DEL OWN:usage:1", ""),
    ("throw a switch", "HSET OWN:switches later x", "O"),
    ("hear the end of all jobs", "PSUBSCRIBE OWN:{*}:done", ""),
    ("list keys by pages", "SCAN 0", "O"),
    ("list all keys", "KEYS *", ""),
    ("pick a key", "RANDOMKEY", ""),
    ("run any script", "EVAL return(1) 0", ""),
    ("read another fleet's key", "GET other:{a}:result", ""),
    ("write another fleet's key", "SET other:{a}:result x", ""),
    ("write any key", "SET free x", ""),
    ("watch all commands", "MONITOR", ""),
    ("read a setting", "CONFIG GET requirepass", ""),
    ("change a setting", "CONFIG SET maxmemory-policy allkeys-lru", ""),
    ("list the users", "ACL LIST", ""),
    ("make a user", "ACL SETUSER x on nopass ~* +@all", ""),
    ("empty the store", "FLUSHALL", ""),
    ("write to the disk", "SAVE", ""),
    ("stop the server", "SHUTDOWN", ""),
    ("make it a replica", "REPLICAOF 127.0.0.1 1", ""),
    ("copy a key", "DUMP OWN:{a}:result", "O"),
    ("restore a key", "RESTORE OWN:{b}:result 0 x", ""),
    ("rename a key", "RENAME OWN:{a}:record OWN:{b}:result", ""),
    ("copy one key over another", "COPY OWN:{a}:record OWN:{b}:result", ""),
    ("end a client", "CLIENT KILL TYPE normal", ""),
    ("debug", "DEBUG SLEEP 0", ""),
];

#[tokio::test]
async fn each_role_may_run_its_commands_and_no_others() {
    let servers = Servers::start().await;
    let mut admin = servers.admin().await;
    let record = servers.own(":{a}:record");
    let seed = redis::cmd("HSET").arg(record).arg("queued_at").arg(1).exec_async(&mut admin).await;
    seed.expect("an administrator");
    let mut faults = Vec::new();
    for role in ROLES {
        let mut connection = connection(&servers.login(role).redis_url).await;
        for (what, command, allowed) in MATRIX {
            let may = allowed.contains(role[..1].to_uppercase().as_str());
            let own = format!("{}-{role}", servers.users);
            let command =
                command.replace("OWN:", &servers.own(":")).replace(":ME", &format!(":{own}"));
            let refused = refusal(&mut connection, &command).await;
            if refused.0 == may {
                faults.push(format!("{role}: {what} ({command}): {}", refused.1));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Whether the server refuses the command for want of rights, and what it answers.
async fn refusal(connection: &mut MultiplexedConnection, command: &str) -> (bool, String) {
    let mut words = command.split(' ');
    let mut asked = redis::cmd(words.next().expect("a command"));
    words.for_each(|word| _ = asked.arg(word));
    let answer: redis::RedisResult<redis::Value> = asked.query_async(connection).await;
    let shown = format!("{answer:?}");
    // DEBUG is off for all users, which the server looks at first.
    let is_refused = shown.contains("NoPerm") || shown.contains("DEBUG command not allowed");
    (is_refused, shown)
}

#[tokio::test]
async fn nobody_gets_in_without_a_user_or_with_another_roles_password() {
    let servers = Servers::start().await;
    let url = servers.login("worker").redis_url;
    let host = url.rsplit_once('@').expect("a login").1;
    let (_, secret) = url.split_once("-worker:").expect("a password");
    for wrong in [
        format!("redis://{host}"),
        format!("redis://{}-producer:{secret}", servers.users),
        format!("redis://default:{secret}"),
    ] {
        let client = redis::Client::open(wrong.as_str()).expect("a URL");
        let answered = async {
            let mut connection = client.get_multiplexed_async_connection().await?;
            redis::cmd("PING").exec_async(&mut connection).await
        };
        let error = answered.await.expect_err(&wrong).to_string();
        assert!(
            error.contains("auth") || error.contains("NOAUTH") || error.contains("WRONGPASS"),
            "{error}"
        );
    }
}
