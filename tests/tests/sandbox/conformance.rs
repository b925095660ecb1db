//! A program that starts from a warm interpreter can't tell, except by the time: the same programs
//! both ways.

use std::path::PathBuf;

use sandfleet_common::{InputFile, Job, JobResult};
use sandfleet_tests::{LeakCheck, TestCgroup};
use sandfleet_worker::{
    admission::catalogue::Catalogue,
    sandbox::{
        Sandbox,
        native::{NativeConfig, NativeSandbox},
    },
};

use crate::bench::{python, run, warm_up};

/// Everything that Python shows of how it was started.
const ITSELF: &str = r#"
    import atexit, gc, inspect, locale, os, resource, signal, sys, threading, time
    import ctypes
    print(sys.argv, sys.orig_argv, sys.path, sys.executable, sys.prefix, sys.flags)
    print(sorted(sys.modules), sorted(os.environ.items()), sorted(os.environb))
    print(__file__, __name__, type(__loader__), __loader__.path, __spec__, __cached__, list(globals()))
    print(len(inspect.stack()), sys._getframe().f_back, sys.modules["__main__"].__dict__ is globals())
    print(os.getcwd(), os.listdir("."), sorted(os.listdir("/")), os.listdir("/tmp"))
    print(os.getpid(), os.getppid(), os.getsid(0), os.getpgrp(), os.getresuid(), os.getresgid())
    print([(number, signal.getsignal(number)) for number in sorted(signal.valid_signals())])
    print(signal.pthread_sigmask(signal.SIG_BLOCK, []))
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        print(stream, stream.line_buffering, stream.write_through, stream.errors, stream.seekable())
    print(sorted(os.listdir("/proc/self/fd")), os.readlink("/proc/self/exe"))
    print(open("/proc/self/cmdline").read().split("\0"), open("/proc/self/environ").read().split("\0"))
    wanted = "Name Threads NoNewPrivs Seccomp SigBlk SigIgn SigCgt CapEff CapBnd Groups NSpid Uid Gid"
    print([line for line in open("/proc/self/status") if line.split(":")[0] in wanted.split()])
    limits = [name for name in dir(resource) if name.startswith("RLIMIT_")]
    print([(name, resource.getrlimit(getattr(resource, name))) for name in limits])
    print([line.split(" ", 3)[3] for line in open("/proc/self/mountinfo")])
    print(open("/proc/self/cgroup").read(), open("/proc/self/oom_score_adj").read())
    print(threading.enumerate()[0].name, threading.main_thread().ident == threading.get_ident())
    print(sorted(sys.path_importer_cache), [str(finder).split(" at ")[0] for finder in sys.meta_path])
    print(sys.dont_write_bytecode, sys.getrecursionlimit(), sys.getswitchinterval(), gc.get_threshold())
    print(locale.setlocale(locale.LC_ALL), sys.getfilesystemencoding(), time.process_time() < 5)
    for processor in os.sched_getaffinity(0):
        os.sched_setaffinity(0, {processor})
        print(processor, ctypes.CDLL(None).sched_getcpu() == processor)
"#;

/// Ways to end, each with its program.
const ENDS: &[(&str, &str)] = &[
    ("by itself", "print(input()); print(open('in.txt').read())"),
    (
        "with a word",
        "import sys; open('b', 'w').write('x'); f = open('c', 'w'); f.write('y'); sys.exit('no')",
    ),
    ("with a large number", "raise SystemExit(300)"),
    (
        "with an exception in a cycle",
        r#"
        import atexit
        class Lasting:
            def __init__(self): self.me = self
            def __del__(self): print("deleted", kept)
        kept, lasting, file = "still there", Lasting(), open("late", "w")
        file.write("written at the end")
        atexit.register(lambda: print("at exit", "__file__" in globals()))
        def deep(): raise ValueError("deep")
        deep()
    "#,
    ),
    (
        "with a hook of its own",
        "import sys\nsys.excepthook = lambda *a: print('hook', a[:2])\nraise KeyError",
    ),
    ("as no Python", "def f(:\n"),
    (
        "after an event",
        "import sys; sys.audit('cpython.run_file'); print(sys.getrefcount(sys.orig_argv))",
    ),
    ("by a signal", "import os; os.kill(os.getpid(), 11)"),
    ("by an interrupt", "raise KeyboardInterrupt"),
    (
        "by an interrupt beside a thread",
        r#"
        import threading, time
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        raise KeyboardInterrupt
    "#,
    ),
    ("without its stdout", "import os; os.close(1); print('lost')"),
    (
        "with its threads",
        r#"
        import threading, time, concurrent.futures
        threading.Thread(target=lambda: (time.sleep(0.1), print("last"))).start()
        with concurrent.futures.ThreadPoolExecutor(2) as pool: print(list(pool.map(abs, [-1, 2])))
    "#,
    ),
    (
        "with its children",
        r#"
        import multiprocessing, os, subprocess, sys
        def work(queue): queue.put(__name__)
        if __name__ == "__main__":
            queue = multiprocessing.Queue()
            child = multiprocessing.Process(target=work, args=(queue,))
            child.start(); print(queue.get()); child.join(); print(child.exitcode)
            sys.stdout.flush()
            if os.fork() == 0: print("child"); sys.exit(7)
            print(os.waitstatus_to_exitcode(os.wait()[1]))
            print(subprocess.run([sys.executable, "-c", "import sys; print(sys.path)"], capture_output=True))
    "#,
    ),
    ("by its want of memory", "x = bytearray(10**9)"),
];

fn job(code: &str) -> Job {
    let mut job = python(code);
    job.stdin = Some("a line\n".into());
    job.artifacts.push("**".into());
    job.args = vec!["one".into(), "two words".into()];
    job.env.insert("ADDED".into(), "a value".into());
    job.files.push(InputFile {
        name: "in.txt".into(),
        content: "content".into(),
        encoding: Default::default(),
    });
    job
}

/// What a program did, without what differs from run to run.
fn deeds(result: JobResult) -> String {
    let run = result.run.expect("it ran");
    let mut files: Vec<_> = result.artifacts.iter().map(|it| (&it.name, &it.content)).collect();
    files.sort();
    format!(
        "{:?} {}\n{:?} {:?} {:?}\n{files:?}\n{}\n{}",
        result.verdict,
        result.message,
        result.exit_code,
        result.signal,
        result.limits_hit,
        run.stdout,
        run.stderr
    )
}

/// Two native sandboxes, one of which starts programs like `first` from a warm interpreter.
async fn both_ways(first: &Job, claim: impl AsyncFnOnce(&dyn Sandbox, &dyn Sandbox)) {
    both_ways_in(None, first, claim).await;
}

/// As [`both_ways`], with programs of the images in `images` where they are there.
async fn both_ways_in(
    images: Option<PathBuf>,
    first: &Job,
    claim: impl AsyncFnOnce(&dyn Sandbox, &dyn Sandbox),
) {
    let test_cgroup = TestCgroup::fresh();
    let leak_check = LeakCheck::before(&test_cgroup, "none").await;
    let open = async |warm| {
        let images = images.clone();
        let config = NativeConfig {
            cgroup_parent: test_cgroup.path(),
            user_base: 300_000,
            cpus: 2.0,
            warm,
            images,
            slots: 64,
            observer: Default::default(),
        };
        NativeSandbox::open(config).await.expect("this host has all barriers")
    };
    let cold = open(Vec::new()).await;
    let warm = open(Catalogue::embedded().warm_starts()).await;
    warm_up(&warm, first).await;
    claim(&cold, &warm).await;
    cold.close().await;
    warm.close().await;
    drop((cold, warm));
    leak_check.are_gone().await;
}

/// The images that `tests/run` has built.
fn images() -> Option<PathBuf> {
    Some(std::env::var_os("SANDFLEET_TEST_IMAGES").expect("run `bash tests/run`").into())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_can_not_tell_a_warm_start_from_a_cold_one() {
    ends_are_alike(None, "host:/usr").await;
}

/// Another version of the interpreter.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_of_an_image_can_not_tell_either() {
    ends_are_alike(images(), "python").await;
}

async fn ends_are_alike(images: Option<PathBuf>, image: &str) {
    both_ways_in(images, &python("print()"), async |cold, warm| {
        for (what, code) in [&[("showing itself", ITSELF)], ENDS].concat() {
            let started_warm = run(warm, &job(code)).await;
            let sandbox = started_warm.sandbox.as_ref().expect("it ran");
            assert!(sandbox.warm && sandbox.image == image, "{what}: {sandbox:?}");
            let started_cold = run(cold, &job(code)).await;
            assert!(started_cold.sandbox.as_ref().is_some_and(|it| !it.warm), "{what}");
            pretty_eq(&deeds(started_warm), &deeds(started_cold), what);
        }
    })
    .await;
}

/// The first line that differs says more than both texts.
fn pretty_eq(warm: &str, cold: &str, what: &str) {
    for (warm, cold) in warm.lines().zip(cold.lines()) {
        assert_eq!(warm, cold, "a program that ends {what}");
    }
    assert_eq!(warm.len(), cold.len(), "a program that ends {what}: {warm}\n\n{cold}");
}

/// What tables and pictures come to, and what whoever made some before might have changed.
const TABLES: &str = r#"
    import gc, hashlib, io, logging, os, sys, warnings
    try:
        import numpy, pandas, matplotlib
    except ImportError as error:
        sys.exit(f"{error}")
    import matplotlib.pyplot as plot
    import threading
    print(threading.main_thread().native_id, threading.get_native_id())
    print(plot.get_fignums(), plot.isinteractive(), sorted(map(str, matplotlib.units.registry)))
    print(sorted((name, str(value)) for name, value in matplotlib.rcParams.items() if name != "backend"))
    print(pandas.describe_option(_print_desc=False), pandas.options.display.max_rows)
    state = numpy.random.get_state()
    print(state[0], state[1][0], state[2:], numpy.geterr(), numpy.get_printoptions())
    print([str(entry) for entry in warnings.filters], logging.root.handlers, sys.getrecursionlimit())
    print(sorted(os.environ.items()), sorted(os.listdir(".")))
    table = pandas.read_csv(io.StringIO("name,value,day\na,1,2024-01-01\nb,2.5,2024-01-02\na,4,2024-01-03\n"))
    table["day"] = pandas.to_datetime(table["day"])
    print(table, table.describe(), table.dtypes, table.groupby("name")["value"].agg(["mean", "sum"]))
    figure, axes = plot.subplots()
    axes.plot(table["day"], table["value"], label="a line")
    axes.legend()
    table.groupby("name")["value"].mean().plot.bar(ax=plot.figure().gca())
    for number in plot.get_fignums():
        made = io.BytesIO()
        plot.figure(number).savefig(made, format="png")
        print(number, hashlib.sha256(made.getvalue()).hexdigest())
    numpy.random.seed(7)
    print(numpy.random.random(3), numpy.random.normal(size=3), numpy.random.default_rng(7).random())
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_and_pictures_come_out_the_same() {
    tables_are_alike(None, "python", "host:/usr").await;
}

/// In `tests/run languages`, which builds the image.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_and_pictures_of_the_large_image_come_out_the_same() {
    tables_are_alike(images(), "python-data", "python-data").await;
}

async fn tables_are_alike(images: Option<PathBuf>, language: &str, image: &str) {
    let job = |code| {
        let mut job = python(code);
        job.language = language.to_owned();
        job.limits.memory_bytes = Some(1 << 30);
        job
    };
    both_ways_in(images, &job("import pandas"), async |cold, warm| {
        let started_warm = run(warm, &job(TABLES)).await;
        let sandbox = started_warm.sandbox.as_ref().expect("it ran");
        assert!(sandbox.warm && sandbox.image == image, "{sandbox:?}");
        let started_cold = run(cold, &job(TABLES)).await;
        pretty_eq(&deeds(started_warm), &deeds(started_cold), "with tables and pictures");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_numbers_are_every_programs_own() {
    let code =
        "import random, numpy; print(random.random(), numpy.random.random(), numpy.__name__)";
    both_ways(&python(code), async |_, warm| {
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..4 {
            let result = run(warm, &python(code)).await;
            assert!(result.sandbox.as_ref().is_some_and(|it| it.warm), "{result:?}");
            let run = result.run.expect("it ran");
            // Where numpy isn't installed the program says so, as it would from a cold start.
            let text = if run.stdout.is_empty() { return } else { run.stdout };
            assert!(seen.insert(text.clone()), "{text} for the second time");
        }
    })
    .await;
}

/// A ZIP archive with a `__main__.py`, which is a program as well, and happens to be text.
const ARCHIVE: &str = concat!(
    "PK\x03\x04\x14\0\0\0\0\0\0\0!\0C|\x0c\x15\x17\0\0\0\x17\0\0\0\x0b\0\0\0__main__.pyprint('an archive', 5)\n",
    "PK\x01\x02\x14\0\x14\0\0\0\0\0\0\0!\0C|\x0c\x15\x17\0\0\0\x17\0\0\0\x0b\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0__main__.py",
    "PK\x05\x06\0\0\0\0\x01\0\x01\09\0\0\0@\0\0\0\0\0",
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_interpreter_looks_at_when_it_starts_makes_a_cold_start() {
    both_ways(&python("print()"), async |_, warm| {
        let mut with_variable = job("import os; print(hash('a'), os.environ['PYTHONHASHSEED'])");
        with_variable.env.insert("PYTHONHASHSEED".into(), "0".into());
        let mut elsewhere = job("print(__file__)");
        elsewhere.entrypoint = Some("b/c.py".into());
        let mut with_packages = job("import of_the_user");
        with_packages.files.push(InputFile {
            name: ".local/lib/python3.11/site-packages/of_the_user.py".into(),
            content: "print(__name__)".into(),
            encoding: Default::default(),
        });
        for job in [with_variable, elsewhere, with_packages, job(ARCHIVE)] {
            let result = run(warm, &job).await;
            assert_eq!(result.exit_code, Some(0), "{result:?}");
            assert!(result.sandbox.is_some_and(|it| !it.warm));
        }
    })
    .await;
}
