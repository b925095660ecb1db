//! Handing an image to the engine, as a stream: no file is written on the way.

use std::io::{self, Write};

use bollard::{Docker, query_parameters::ImportImageOptions};
use futures_util::{StreamExt, stream};
use tokio::{sync::mpsc, time::timeout};
use tokio_util::bytes::Bytes;

use super::{
    DockerConfig,
    request::{DEADLINE, ask},
};
use crate::{
    images::{Tree, archive},
    sandbox::SandboxError,
};

/// How many pieces may be on their way, and how large one is.
const PIECES: usize = 8;
const PIECE_BYTES: usize = 1 << 18;

/// Has the engine of `config` take the image of `tree` and call it `tag`; the image's id. What had the name before, and has no
/// other one, is removed unless a container uses it.
pub(crate) async fn load(
    config: &DockerConfig,
    tree: Tree,
    tag: String,
) -> Result<String, SandboxError> {
    let failed = |error: &dyn std::fmt::Display| SandboxError::Failed {
        operation: "handing an image to the Docker engine",
        reason: format!("{}: {error}", config.host),
        fix: Some("start the engine, or name another with sandbox.docker_host"),
    };
    let docker = Docker::connect_with_host(&config.host).map_err(|error| failed(&error))?;
    let docker = timeout(DEADLINE, docker.negotiate_version())
        .await
        .map_err(|_| failed(&"no answer in 15 s"))?
        .map_err(|error| failed(&error))?;
    let before = docker.inspect_image(&tag).await.ok().and_then(|image| image.id);
    let (sender, receiver) = mpsc::channel(PIECES);
    let name = tag.clone();
    let writing = tokio::task::spawn_blocking(move || {
        let mut pieces = Pieces { sender, piece: Vec::with_capacity(PIECE_BYTES) };
        archive::write(&tree, &name, &mut pieces)
    });
    let body = stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|piece| (Ok::<_, io::Error>(piece), receiver))
    });
    let options = ImportImageOptions { quiet: true, ..ImportImageOptions::default() };
    let mut answers = std::pin::pin!(docker.import_image_stream(options, body, None));
    let mut refused = None;
    while let Some(answer) = answers.next().await {
        match answer {
            Ok(info) => refused = refused.or(info.error_detail.and_then(|it| it.message)),
            Err(error) => refused = refused.or(Some(error.to_string())),
        }
    }
    // What went wrong with the tree is the better reason: the engine only sees its stream end.
    let written = writing.await.map_err(|error| failed(&error))?;
    let id = match (written, refused) {
        (Err(error), refused) if error.kind() != io::ErrorKind::BrokenPipe || refused.is_none() => {
            return Err(failed(&error));
        }
        (_, Some(refused)) => return Err(failed(&refused)),
        (Ok(written), None) => written.id,
        (Err(error), None) => return Err(failed(&error)),
    };
    if let Some(before) = before.filter(|before| *before != id) {
        let image = ask("inspecting the image", docker.inspect_image(&before)).await;
        let has_other_names = image.is_ok_and(|it| it.repo_tags.is_some_and(|it| !it.is_empty()));
        if !has_other_names {
            // Kept while a container uses it; it has no name then, and `docker image prune` finds it.
            let removal = docker.remove_image(
                &before,
                None::<bollard::query_parameters::RemoveImageOptions>,
                None,
            );
            if let Err(error) = ask("removing an image", removal).await {
                tracing::info!(image = before, %error, "the image before is kept");
            }
        }
    }
    Ok(id)
}

/// Passes what is written on in pieces.
struct Pieces {
    sender: mpsc::Sender<Bytes>,
    piece: Vec<u8>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE_BYTES));
        self.sender.blocking_send(piece.into()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
