//! An engine whose answer is lost, and that does later what it was told to do before.

use std::path::{Path, PathBuf};

use sandfleet_common::JobId;
use sandfleet_tests::eventually;
use sandfleet_worker::sandbox::Sandbox;
use tempfile::TempDir;
use tokio::{
    io::{self, AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    sync::watch,
    task::JoinHandle,
};

use crate::{
    bench::{admitted, docker_config, open, python},
    engine::{connect, containers_of},
};

/// How the request begins that a container is made by, after the version.
const MAKING: &[u8] = b"/containers/create";

/// Between a worker and the engine: it keeps back what makes containers.
struct Keeper {
    directory: TempDir,
    kept: watch::Sender<usize>,
    released: watch::Sender<bool>,
    /// How many containers the engine says it has made.
    made: watch::Sender<usize>,
    listening: JoinHandle<()>,
}

impl Keeper {
    fn before(engine: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let listener = UnixListener::bind(directory.path().join("engine")).expect("a socket");
        let engine = Path::new(engine.strip_prefix("unix://").expect("a socket")).to_path_buf();
        let (kept, released, made) =
            (watch::Sender::new(0), watch::Sender::new(false), watch::Sender::new(0));
        let listening = tokio::spawn({
            let (kept, released, made) = (kept.clone(), released.subscribe(), made.clone());
            async move {
                while let Ok((near, _)) = listener.accept().await {
                    let (kept, made) = (kept.clone(), made.clone());
                    tokio::spawn(pass(near, engine.clone(), kept, released.clone(), made));
                }
            }
        });
        Self { directory, kept, released, made, listening }
    }

    fn address(&self) -> String {
        format!("unix://{}", self.directory.path().join("engine").display())
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// One connection. A kept request reaches the engine even when no client waits for its answer any more.
async fn pass(
    near: UnixStream,
    engine: PathBuf,
    kept: watch::Sender<usize>,
    mut released: watch::Receiver<bool>,
    made: watch::Sender<usize>,
) -> io::Result<()> {
    let far = UnixStream::connect(engine).await?;
    let (mut from_near, mut to_near) = near.into_split();
    let (mut from_far, mut to_far) = far.into_split();
    let answers = tokio::spawn(async move {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let length = from_far.read(&mut buffer).await?;
            if buffer[..length].starts_with(b"HTTP/1.1 201") {
                made.send_modify(|count| *count += 1);
            }
            if length == 0 {
                return to_near.shutdown().await;
            }
            to_near.write_all(&buffer[..length]).await?;
        }
    });
    let mut buffer = vec![0; 64 << 10];
    loop {
        let length = from_near.read(&mut buffer).await?;
        if length == 0 {
            break;
        }
        let makes = buffer[..length].windows(MAKING.len()).any(|window| window == MAKING);
        if makes {
            kept.send_modify(|count| *count += 1);
            let _ = released.wait_for(|released| *released).await;
        }
        to_far.write_all(&buffer[..length]).await?;
        if makes {
            // The engine aborts requests without a client: this end stays until it is done.
            return answers.await?;
        }
    }
    to_far.shutdown().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_that_is_made_when_nobody_waits_for_it_any_more_is_removed() {
    let mut config = docker_config(format!("late-{}", JobId::generate()), "runc");
    let docker = connect(&config).await;
    let keeper = Keeper::before(&config.host);
    config.host = keeper.address();
    let sandbox = open(config.clone()).await;
    let error = sandbox.run(&admitted(&python("print()")).plan, &|_, _| ()).await;
    let error = error.expect_err("it can't start").to_string();
    assert!(error.contains("creating a container") && error.contains("15 s"), "{error}");
    assert_eq!(*keeper.kept.borrow(), 1);
    assert!(containers_of(&docker, &config).await.is_empty(), "there is nothing to remove yet");

    keeper.released.send_replace(true);
    eventually("the container that comes late", || async {
        (*keeper.made.borrow() == 1).then_some(())
    })
    .await;
    eventually("its removal", || async {
        containers_of(&docker, &config).await.is_empty().then_some(())
    })
    .await;
    sandbox.close().await;
}
