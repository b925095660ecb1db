//! What others have, as it is installed here, each with the strictest options that fit one program.

use std::{fs, path::Path, process::Command, sync::Arc};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{machine::find, subject::Process};

/// The program that all of them run.
pub(crate) const PROGRAM: [&str; 5] = ["/usr/bin/python3", "-I", "-S", "-c", "print(1+1)"];

/// A peer, or why it isn't there.
pub(crate) type Peer = (&'static str, Result<Arc<Process>, String>);

pub(crate) fn bare() -> Arc<Process> {
    Process::new("2", |_| {
        let mut command = Command::new(PROGRAM[0]);
        command.args(&PROGRAM[1..]).env_clear();
        command
    })
}

/// The bare process with the command and the environment of the built-in catalogue: `site` and
/// all.
pub(crate) fn bare_as_offered(directory: &Path) -> Result<Arc<Process>> {
    let script = directory.join("main.py");
    fs::write(&script, "print(1+1)")?;
    Ok(Process::new("2", move |_| {
        let mut command = Command::new(PROGRAM[0]);
        command.arg(&script).env_clear();
        command.env("PYTHONDONTWRITEBYTECODE", "1").env("LC_ALL", "C.UTF-8");
        command
    }))
}

/// Peers that start a process for a job without a daemon.
pub(crate) fn local(directory: &Path) -> Vec<Peer> {
    let mut peers = vec![("bubblewrap", bubblewrap()), ("runc", runc(directory))];
    for name in ["isolate", "nsjail"] {
        // Debian 12 has neither; if they were built by hand the report says that they aren't compared.
        let why = match find(name) {
            None => "absent: not installed".to_owned(),
            Some(path) => format!("{} is there, but this bench doesn't run it", path.display()),
        };
        peers.push((name, Err(why)));
    }
    peers
}

fn bubblewrap() -> Result<Arc<Process>, String> {
    let path = find("bwrap").ok_or("absent: not installed")?;
    Ok(Process::new("2", move |_| {
        let mut command = Command::new(&path);
        command
            .args(["--unshare-all", "--new-session", "--die-with-parent", "--clearenv"])
            .args(["--uid", "65534", "--gid", "65534", "--cap-drop", "ALL"])
            .args(["--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin"])
            .args(["--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64"])
            .args(["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--tmpfs", "/box"])
            .args(["--chdir", "/box"])
            .args(PROGRAM)
            .env_clear();
        command
    }))
}

fn runc(directory: &Path) -> Result<Arc<Process>, String> {
    let path = find("runc").ok_or("absent: not installed")?;
    let bundle = directory.join("bundle");
    make_bundle(&path, &bundle).map_err(|error| format!("no bundle could be made: {error:#}"))?;
    let own = std::process::id();
    Ok(Process::new("2", move |number| {
        let mut command = Command::new(&path);
        command
            .arg("run")
            .arg("--bundle")
            .arg(&bundle)
            .arg(format!("sandfleet-bench-{own}-{number}"));
        command
    }))
}

/// runc's own default specification with the host's `/usr`, a user, limits and no terminal.
fn make_bundle(runc: &Path, bundle: &Path) -> Result<()> {
    let root = bundle.join("rootfs");
    fs::create_dir_all(root.join("usr"))?;
    for name in ["proc", "dev", "sys", "tmp"] {
        fs::create_dir_all(root.join(name))?;
    }
    for name in ["bin", "lib", "lib64"] {
        std::os::unix::fs::symlink(format!("usr/{name}"), root.join(name))?;
    }
    let made = Command::new(runc).arg("spec").arg("--bundle").arg(bundle).output()?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let file = bundle.join("config.json");
    let mut spec: Value = serde_json::from_str(&fs::read_to_string(&file)?)?;
    spec["process"]["terminal"] = json!(false);
    spec["process"]["args"] = json!(PROGRAM);
    spec["process"]["user"] = json!({ "uid": 65534, "gid": 65534 });
    spec["process"]["capabilities"] = json!({});
    spec["linux"]["resources"] = json!({
        "devices": [{ "allow": false, "access": "rwm" }],
        "memory": { "limit": 268_435_456 },
        "pids": { "limit": 64 },
    });
    let mounts = spec["mounts"].as_array_mut().context("a specification has mounts")?;
    mounts.push(json!({ "destination": "/usr", "type": "bind", "source": "/usr",
        "options": ["rbind", "ro", "nosuid"] }));
    mounts.push(json!({ "destination": "/tmp", "type": "tmpfs", "source": "tmpfs",
        "options": ["nosuid", "nodev", "size=64m"] }));
    fs::write(&file, serde_json::to_vec_pretty(&spec)?)?;
    Ok(())
}

/// `docker run` with the limits and the restrictions that its options offer and with `more` of them, of
/// the tests' image.
pub(crate) fn docker_run(
    host: &str,
    image: &str,
    more: Vec<String>,
    program: &[&str],
    prints: &'static str,
) -> Arc<Process> {
    let (host, image) = (host.to_owned(), image.to_owned());
    let program: Vec<String> = program.iter().map(|&part| part.to_owned()).collect();
    // A recent client refuses an old engine; the one beside the engine doesn't.
    let client = ["/usr/bin/docker", "docker"].into_iter().find(|path| Path::new(path).exists());
    let client = client.unwrap_or("docker");
    Process::new(prints, move |_| {
        let mut command = Command::new(client);
        command
            .args(["--host", &host, "run", "--rm", "--network", "none", "--read-only"])
            .args(["--cap-drop", "ALL", "--security-opt", "no-new-privileges"])
            .args(["--pids-limit", "64", "--memory", "512m", "--memory-swap", "512m"])
            .args(["--user", "65534:65534", "--log-driver", "none", "--tmpfs", "/tmp:size=64m"])
            .args(["--workdir", "/tmp"])
            .args(&more)
            .args(["--entrypoint", &program[0], &image])
            .args(&program[1..]);
        command
    })
}
