//! What language models' users run: a table in, figures and a picture out.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command, sync::Arc};

use anyhow::Result;
use sandfleet_common::{Encoding, InputFile, Job};
use sandfleet_tests::TestCgroup;
use sandfleet_worker::config::Backend;
use tempfile::TempDir;

use super::{
    arguments::Arguments,
    lanes::{DOCKER_RUN, Engine, skipped, warmth},
    native::{self, Sandboxed},
    peers,
    rounds::{Group, Lane, Row, Warm},
    subject::{Repeated, Subject},
};

pub(crate) const GROUP: &str = "data, groupby, 2 at a time";
pub(crate) const GROUP_ONE: &str = "data, groupby, 1 at a time";
pub(crate) const PLOT: &str = "data, groupby and PNG, 2 at a time";
pub(crate) const COLD: &str = "native, cold";
pub(crate) const WARM: &str = "native, warm";
const ROWS: usize = 1000;
/// What the native sandbox shows of the host too: the tests' image has no pandas, and so the same files
/// are read both ways.
const HOSTS: [&str; 3] = ["/usr", "/etc/alternatives", "/etc/matplotlibrc"];
/// Where matplotlib keeps what it makes of the fonts, in the containers of `docker run`.
const FONTS: &str = "/fonts";

const GROUPBY: &str = "\
import pandas
table = pandas.read_csv('data.csv')
means = table.groupby('group')['value'].mean()
";
const PICTURE: &str = "\
import matplotlib
matplotlib.use('Agg')
import matplotlib.pyplot as plot
means.plot.bar()
plot.savefig('chart.png')
";
const PRINT: &str = "print(len(means))\n";

fn table() -> String {
    let mut text = "group,value\n".to_owned();
    for row in 0..ROWS {
        text += &format!("g{},{}\n", row % 7, (row * 7919) % 1000);
    }
    text
}

fn job(plot: bool) -> Job {
    let code = [GROUPBY, if plot { PICTURE } else { "" }, PRINT].concat();
    let mut job = Job::new("python", code);
    job.files.push(InputFile {
        name: "data.csv".into(),
        content: table(),
        encoding: Encoding::Utf8,
    });
    if plot {
        job.artifacts.push("*.png".into());
    }
    job
}

/// The same in one line, for peers without files in: the table is made on the spot.
fn script(plot: bool) -> String {
    let table = format!("open('data.csv', 'w').write({:?})\n", table());
    [table.as_str(), GROUPBY, if plot { PICTURE } else { "" }, PRINT].concat()
}

pub(crate) async fn measure(arguments: &Arguments, test_cgroup: &TestCgroup) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (name, concurrency, plot) in [(GROUP_ONE, 1, false), (GROUP, 2, false), (PLOT, 2, true)] {
        if !arguments.wants(name) {
            continue;
        }
        let modules = if plot { "import pandas, matplotlib" } else { "import pandas" };
        let host = Command::new("/usr/bin/python3").args(["-c", modules]).output()?;
        if !host.status.success() {
            rows.push(skipped(
                name,
                COLD,
                "skipped: python3-pandas, python3-matplotlib aren't installed",
            ));
            continue;
        }
        rows.extend(group(arguments, test_cgroup, name, concurrency, plot).await?);
    }
    Ok(rows)
}

/// The list of fonts, made once, as an image would have it.
fn fonts() -> Result<TempDir> {
    let directory = tempfile::tempdir()?;
    // For any user, since a list that can't be written again is not read either.
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777))?;
    let mut list = Command::new("/usr/bin/python3");
    list.args(["-c", "import matplotlib.font_manager"]).env("MPLCONFIGDIR", directory.path());
    // Who has no matplotlib needs no list.
    list.output()?;
    Ok(directory)
}

/// The options by which `docker run` reads the host's files and that list.
fn options(fonts: &Path) -> Vec<String> {
    let mut options = vec![
        format!("--mount=type=bind,source={},target={FONTS}", fonts.display()),
        format!("--env=MPLCONFIGDIR={FONTS}"),
    ];
    let hosts = HOSTS.iter().filter(|place| Path::new(place).exists());
    options.extend(
        hosts.map(|place| format!("--mount=type=bind,source={place},target={place},readonly")),
    );
    options
}

async fn group(
    arguments: &Arguments,
    test_cgroup: &TestCgroup,
    name: &'static str,
    concurrency: usize,
    plot: bool,
) -> Result<Vec<Row>> {
    let lane = |name: &str, subject: Arc<dyn Subject>, jobs| Lane {
        name: name.into(),
        subject,
        jobs,
        concurrency,
        warm: Warm::None,
    };
    let (few, many) = (arguments.choose(6, 2), arguments.choose(60, 8));
    let (mut lanes, mut absent, mut open) = (Vec::new(), Vec::new(), Vec::new());
    let fonts = fonts()?;
    match Engine::find() {
        None => absent.push((DOCKER_RUN.into(), "skipped: no Docker engine".into())),
        Some(engine) => {
            let (script, more) = (script(plot), options(fonts.path()));
            let program = ["/usr/bin/python3", "-c", script.as_str()];
            let run = peers::docker_run(&engine.host, &engine.image, more, &program, "7");
            lanes.push(lane(DOCKER_RUN, Arc::new(run), few));
        }
    }
    let cold = native::settings(test_cgroup, warmth(false))?;
    let cold = Sandboxed::open(Backend::Native, &cold, None, job(plot), "7").await?;
    lanes.push(lane(COLD, Arc::new(Repeated(Arc::clone(&cold))), few));
    open.push(cold);
    let warm = native::settings(test_cgroup, warmth(true))?;
    let warm = Sandboxed::open(Backend::Native, &warm, None, job(plot), "7").await?;
    let subject = Arc::new(Repeated(Arc::clone(&warm)));
    lanes.push(Lane { warm: Warm::All, ..lane(WARM, subject, many) });
    open.push(warm);
    let rounds = arguments.choose(5, 2);
    let rows = Group { name, lanes, absent, rounds }.measure(test_cgroup).await;
    for sandboxed in open {
        sandboxed.sandbox.close().await;
    }
    Ok(rows)
}
