//! An image as `docker load` takes it: the tree as one layer, the agent as another, and what the engine is to know of them.

use std::{
    io::{self, Write},
    path::Path,
};

use sandfleet_common::hexadecimal;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

use super::{
    store::Tree,
    tree::{self, Archive, EPOCH},
};
use crate::sandbox::{agent_binary, docker::label};

/// The image's id, by which an engine knows it.
pub struct Written {
    /// `sha256:` and the digest of its configuration.
    pub id: String,
}

/// Writes the image of `tree`, which an engine calls `tag`.
///
/// # Errors
/// If it can't be written, or the tree is not what its digest says.
pub fn write(tree: &Tree, tag: &str, to: impl Write) -> io::Result<Written> {
    let agent = agent_layer()?;
    let agent_digest = digest_of(&agent);
    let tree_digest = tree.facts.digest.trim_start_matches("sha256:");
    let config = serde_json::to_vec(&config(tree, &agent_digest))?;
    let id = digest_of(&config);
    let layer = |digest: &str| format!("{digest}/layer.tar");
    let manifest = json!([{
        "Config": format!("{id}.json"),
        "RepoTags": [tag],
        "Layers": [layer(tree_digest), layer(&agent_digest)],
    }]);
    let mut builder = Builder::new(to);
    append(&mut builder, "manifest.json", &serde_json::to_vec(&manifest)?, 0o644)?;
    append(&mut builder, &format!("{id}.json"), &config, 0o644)?;
    append(&mut builder, &layer(&agent_digest), &agent, 0o644)?;
    // Last and as it is read: it may be large.
    append_header(&mut builder, &layer(tree_digest), tree.facts.bytes)?;
    let written = tree::archive(&tree.root, builder.get_mut())?;
    let expected = Archive { digest: tree_digest.to_owned(), bytes: tree.facts.bytes };
    if written != expected {
        let why =
            format!("image {}: its files were changed; `sandfleet images verify`", tree.facts.name);
        return Err(io::Error::other(why));
    }
    let padding = tree.facts.bytes.next_multiple_of(512) - tree.facts.bytes;
    builder.get_mut().write_all(&vec![0; padding as usize])?;
    builder.into_inner()?.flush()?;
    Ok(Written { id: format!("sha256:{id}") })
}

/// What is written into a directory for a Dockerfile: the tree as an archive, the agent, and the file itself.
///
/// # Errors
/// If it can't be written there.
pub fn write_context(tree: &Tree, directory: &Path) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    tree::archive(&tree.root, std::fs::File::create(directory.join("tree.tar"))?)?;
    std::fs::write(directory.join("agent.tar"), agent_layer()?)?;
    let labels: String = labels(tree)
        .into_iter()
        .map(|(name, value)| format!("LABEL {name}=\"{value}\"\n"))
        .collect();
    let text = format!(
        "# Made by `sandfleet images export --dockerfile`: docker build --tag REGISTRY/NAME:TAG . && docker push \
         REGISTRY/NAME:TAG\nFROM scratch\nADD tree.tar /\nADD agent.tar /\n{labels}USER 65534:65534\n\
         ENTRYPOINT [\"/sandfleet/agent\", \"serve\"]\n"
    );
    std::fs::write(directory.join("Dockerfile"), text)
}

fn labels(tree: &Tree) -> Vec<(&'static str, String)> {
    vec![
        (label::AGENT, agent_binary::digest()),
        (label::PYTHON_MODULE, digest_of(agent_binary::PYTHON_MODULE)),
        (label::PACKAGES_AS_OF, tree.facts.packages_as_of.clone()),
        (label::IMAGE, tree.facts.name.clone()),
        (label::TREE, tree.facts.digest.clone()),
    ]
}

fn config(tree: &Tree, agent_digest: &str) -> Value {
    let created = jiff::Timestamp::from_second(EPOCH as i64).map(|at| at.to_string());
    let labels: serde_json::Map<String, Value> =
        labels(tree).into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    json!({
        "architecture": tree.facts.architecture,
        "os": "linux",
        "created": created.unwrap_or_default(),
        "config": {
            "User": "65534:65534",
            "Entrypoint": ["/sandfleet/agent", "serve"],
            "Env": ["PATH=/usr/local/bin:/usr/bin:/bin"],
            "Labels": labels,
        },
        "rootfs": {
            "type": "layers",
            "diff_ids": [tree.facts.digest, format!("sha256:{agent_digest}")],
        },
    })
}

/// The agent and its module for Python, as the worker carries them.
fn agent_layer() -> io::Result<Vec<u8>> {
    let mut builder = Builder::new(Vec::new());
    for directory in ["sandfleet/", "sandfleet/python/"] {
        let mut header = header(0o755, 0);
        header.set_entry_type(EntryType::Directory);
        builder.append_data(&mut header, directory, io::empty())?;
    }
    append(&mut builder, "sandfleet/agent", agent_binary::BINARY, 0o555)?;
    let module = "sandfleet/python/sitecustomize.abi3.so";
    append(&mut builder, module, agent_binary::PYTHON_MODULE, 0o444)?;
    builder.into_inner()
}

fn header(mode: u32, bytes: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(EPOCH);
    header.set_size(bytes);
    header
}

fn append(
    builder: &mut Builder<impl Write>,
    name: &str,
    content: &[u8],
    mode: u32,
) -> io::Result<()> {
    builder.append_data(&mut header(mode, content.len() as u64), name, content)
}

/// Begins a file whose content is written next.
fn append_header(builder: &mut Builder<impl Write>, name: &str, bytes: u64) -> io::Result<()> {
    let mut header = header(0o644, bytes);
    header.set_path(name)?;
    header.set_cksum();
    builder.get_mut().write_all(header.as_bytes())
}

fn digest_of(content: &[u8]) -> String {
    hexadecimal(&Sha256::digest(content))
}
