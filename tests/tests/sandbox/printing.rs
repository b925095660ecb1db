//! Python's buffer of stdout, which PID 1 reads: nothing that was printed is lost or late, and all else is as in an
//! interpreter by itself.

use std::{sync::Mutex, time::UNIX_EPOCH};

use sandfleet_common::Verdict;
use sandfleet_tests::soon;
use sandfleet_worker::sandbox::Sandbox;

use crate::bench::{python, run, watch};

async fn printed(sandbox: &dyn Sandbox, code: &str) -> String {
    let result = run(sandbox, &python(code)).await;
    assert_eq!(result.verdict, Some(Verdict::Accepted), "{result:?}");
    result.run.expect("it ran").stdout
}

pub(crate) async fn what_was_printed_before_a_kill_is_in_the_result(sandbox: &dyn Sandbox) {
    let ends = [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", None),
        ("import os; os.abort()", None),
        ("import os; os._exit(0)", None),
        ("import ctypes; ctypes.string_at(0)", None),
        ("import os; os.execv('/bin/true', ['true'])", None),
        ("import time; time.sleep(1000)", Some(Verdict::TimeLimitExceeded)),
        ("while True: pass", Some(Verdict::TimeLimitExceeded)),
        ("bytearray(10**9)", Some(Verdict::MemoryLimitExceeded)),
        ("import os\nwhile True: os.write(2, b'x' * 65536)", Some(Verdict::OutputLimitExceeded)),
    ];
    for (end, verdict) in ends {
        let mut job = python(&format!("print('first')\nprint('the last line')\n{end}"));
        // Only what has to end by a limit of time has a tight one.
        let is_timed = verdict == Some(Verdict::TimeLimitExceeded);
        (job.limits.wall_time_ms, job.limits.cpu_time_ms) =
            if is_timed { (Some(1500), Some(1000)) } else { (Some(60_000), Some(10_000)) };
        job.limits.memory_bytes = Some(128 << 20);
        let result = soon("its end", run(sandbox, &job)).await;
        if let Some(verdict) = verdict {
            assert_eq!(result.verdict, Some(verdict), "{end}: {result:?}");
        }
        assert_eq!(result.run.expect("it ran").stdout, "first\nthe last line\n", "{end}");
    }
}

pub(crate) async fn a_line_is_passed_on_within_100_ms(sandbox: &dyn Sandbox) {
    let job = python(
        "
        import time
        for number in range(12):
            print(time.time())
            # Or computes, without a word to the interpreter.
            time.sleep(0.13) if number % 2 else sum(range(8_000_000))
        ",
    );
    let late = Mutex::new(Vec::new());
    watch(sandbox, &job, &|_, bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let now = UNIX_EPOCH.elapsed().expect("after it").as_secs_f64();
        for line in text.lines() {
            let then: f64 = line.parse().expect("a time");
            late.lock().expect("no panic").push(now - then);
        }
    })
    .await;
    let mut late = late.into_inner().expect("no panic");
    late.sort_by(f64::total_cmp);
    assert_eq!(late.len(), 12);
    // All but what a busy host holds up.
    assert!(late[8] < 0.1, "{late:?}");
}

pub(crate) async fn many_lines_come_whole_and_in_order(sandbox: &dyn Sandbox) {
    // As many as a result holds here.
    let result = run(sandbox, &python("for number in range(150_000): print(number)")).await;
    let text = result.run.expect("it ran").stdout;
    let mut numbers = text.lines().map(str::parse::<u32>);
    for wanted in 0..150_000 {
        assert_eq!(numbers.next(), Some(Ok(wanted)));
    }
    assert_eq!(numbers.next(), None);
}

pub(crate) async fn a_printer_that_is_killed_lost_and_repeated_nothing(sandbox: &dyn Sandbox) {
    for after in ["0.05", "0.12", "0.2", "0.31"] {
        let job = python(&format!(
            "
            import os, threading, time
            def end():
                time.sleep({after})
                os.kill(os.getpid(), 9)
            threading.Thread(target=end).start()
            number = 0
            while True:
                print(number)
                number += 1
            "
        ));
        let text = run(sandbox, &job).await.run.expect("it ran").stdout;
        let mut wanted = 0_u32;
        for line in text.lines() {
            // The last may have been cut off by the cap.
            assert!(line == wanted.to_string() || text.ends_with(line), "{line} for {wanted}");
            wanted += 1;
        }
        assert!(wanted > 1000, "{wanted}");
    }
}

pub(crate) async fn lines_keep_their_order_among_processes(sandbox: &dyn Sandbox) {
    let text = printed(
        sandbox,
        "
        import os, subprocess, sys, time
        print('a')
        subprocess.run(['/bin/echo', 'b'])
        print('c')
        os.system('echo d')
        sys.stdout.buffer.write(b'e\\n')
        print('f', flush=True)
        os.write(1, b'g\\n')
        print('h')
        if os.fork() == 0:
            print('i')
            sys.exit()
        os.wait()
        print('j')
        child = subprocess.Popen(['/bin/sh', '-c', 'sleep 0.3; echo k'])
        child.wait()
        print('l')
        time.sleep(0.3)
        os.write(1, b'm\\n')
        print('n', file=sys.stderr)
        print('o')
        sys.stdout.flush()
        os.execv('/bin/echo', ['echo', 'p'])
        ",
    )
    .await;
    let letters: String = text.split_whitespace().collect();
    assert_eq!(letters, "abcdefghijklmop");
}

pub(crate) async fn a_forked_child_repeats_nothing_and_loses_nothing(sandbox: &dyn Sandbox) {
    let text = printed(
        sandbox,
        "
        import ctypes, multiprocessing, os, sys
        def work(number):
            print('child', number)
            return number
        print('once')
        # Behind the interpreter's back.
        if ctypes.CDLL(None).fork() == 0:
            os._exit(0)
        os.wait()
        if os.fork() == 0:
            print('killed child')
            os.kill(os.getpid(), 9)
        os.wait()
        with multiprocessing.get_context('fork').Pool(2) as pool:
            pool.map(work, range(4))
        print('last')
        ",
    )
    .await;
    let mut lines: Vec<_> = text.lines().collect();
    assert_eq!((lines.first(), lines.last()), (Some(&"once"), Some(&"last")), "{text}");
    lines.sort_unstable();
    let children = ["child 0", "child 1", "child 2", "child 3"];
    assert_eq!(lines, [&children[..], &["killed child", "last", "once"]].concat());
}

pub(crate) async fn what_is_redirected_goes_there(sandbox: &dyn Sandbox) {
    let text = printed(
        sandbox,
        "
        import contextlib, io, os, subprocess, sys, time
        print('first')
        with contextlib.redirect_stdout(io.StringIO()) as there:
            print('into a string')
        sys.stdout.flush()
        kept = os.dup(1)
        file = os.open('there', os.O_CREAT | os.O_RDWR)
        os.dup2(file, 1)
        print('into a file')
        # PID 1 looks meanwhile.
        time.sleep(0.3)
        sys.stdout.flush()
        os.dup2(kept, 1)
        print(repr(there.getvalue()), repr(open('there').read()), flush=True)
        reader, writer = os.pipe()
        os.dup2(writer, 1)
        sys.stdout.write('x' * 50_000)
        sys.stdout.flush()
        os.dup2(kept, 1)
        print(len(os.read(reader, 100_000)), flush=True)
        os.close(1)
        sys.stdout = os.fdopen(os.dup2(kept, 1), 'w')
        print('last')
        ",
    )
    .await;
    assert_eq!(text, "first\n'into a string\\n' 'into a file\\n'\n50000\nlast\n");
}

pub(crate) async fn stdout_is_the_one_that_an_interpreter_has_by_itself(sandbox: &dyn Sandbox) {
    let code = r#"
        import io, os, sys
        out = sys.stdout
        print(type(out), type(out.buffer), type(out.buffer.raw), out, out is sys.__stdout__)
        print(out.line_buffering, out.write_through, out.encoding, out.errors, out.mode, out.name)
        print(out.isatty(), out.fileno(), out.seekable(), out.writable())
        print(sorted(name for name in os.environ if name.startswith("PYTHON")))
        print([path for path in sys.path if "sandfleet" in path], sys.stderr.line_buffering)
        print(out.write("äöü"), out.flush(), out.buffer.write(b"abc"), out.buffer.write(memoryview(b"de")))
        for wrong in (lambda: out.write(1), lambda: out.write(b""), lambda: out.buffer.write("x"),
                      lambda: out.write("\ud800"), lambda: out.seek(0), lambda: out.buffer.tell()):
            try: wrong()
            except Exception as error: print(type(error), error)
        out.write("\udcff\n")
        out.writelines(["a", "b\n"])
        out.reconfigure(errors="replace"); print("\ud800")
        out.reconfigure(encoding="latin-1"); print("ä"); out.buffer.write("ö\n".encode("latin-1"))
        out.reconfigure(encoding="utf-16"); print("x")
        out.reconfigure(encoding="utf-8", newline="\r\n"); print("y")
        out.reconfigure(newline="\n", line_buffering=True); print("z", out.line_buffering)
        io.TextIOWrapper(out.buffer, encoding="utf-8", write_through=True).detach()
        sys.stdout = io.TextIOWrapper(out.detach(), encoding="ascii", errors="backslashreplace")
        print("ä")
        try: out.write("x")
        except Exception as error: print(type(error), error)
        sys.stdout.close()
        for closed in (lambda: print("x"), lambda: sys.stdout.buffer.write(b"x")):
            try: closed()
            except Exception as error: print(type(error), error, file=sys.stderr)
    "#;
    let here = std::process::Command::new("/usr/bin/python3")
        .args(["-c", &python(code).code.expect("a program")])
        .env_clear()
        .env("LC_ALL", "C.UTF-8")
        .output()
        .expect("Python is here");
    let there = run(sandbox, &python(code)).await.run.expect("it ran");
    let stdout = there.encoding.decode(&there.stdout).expect("valid");
    let shown =
        |bytes: &[u8]| String::from_utf8_lossy(bytes).replace("['PYTHONDONTWRITEBYTECODE']", "[]");
    assert_eq!(shown(&stdout), shown(&here.stdout));
    let stderr = there.encoding.decode(&there.stderr).expect("valid");
    assert_eq!(shown(&stderr), shown(&here.stderr));
}

pub(crate) async fn the_job_may_ask_for_no_buffer(sandbox: &dyn Sandbox) {
    let mut job =
        python("import sys; print(type(sys.stdout.buffer).__name__, sys.stdout.write_through)");
    job.env.insert("PYTHONUNBUFFERED".into(), "1".into());
    assert_eq!(run(sandbox, &job).await.run.expect("it ran").stdout, "FileIO True\n");
    let mut job = python("import os, sys; print(os.environ['PYTHONPATH'], sys.path[1:3], 'ä')");
    job.env.insert("PYTHONPATH".into(), "/a:/b".into());
    assert_eq!(run(sandbox, &job).await.run.expect("it ran").stdout, "/a:/b ['/a', '/b'] ä\n");
    let mut job = python("import sys; print(sys.stdout.encoding, 'ä')");
    job.env.insert("PYTHONIOENCODING".into(), "latin-1".into());
    let run = run(sandbox, &job).await.run.expect("it ran");
    assert_eq!(run.encoding.decode(&run.stdout), Ok(b"iso8859-1 \xe4\n".to_vec()));
}

pub(crate) async fn a_flood_of_lines_is_ended(sandbox: &dyn Sandbox) {
    let mut job = python("while True: print('x' * 1000)");
    job.limits.output_bytes = Some(1000);
    job.limits.wall_time_ms = Some(60_000);
    job.limits.cpu_time_ms = Some(20_000);
    let result = run(sandbox, &job).await;
    assert_eq!(result.verdict, Some(Verdict::OutputLimitExceeded), "{}", result.message);
}

pub(crate) async fn rubbish_in_the_buffer_spoils_only_the_programs_own_output(
    sandbox: &dyn Sandbox,
) {
    let find = "
        import ctypes, os, random, struct, threading, time
        print('first', flush=True)
        [line] = [line for line in open('/proc/self/maps') if 'memfd:stdout' in line]
        start, end = (int(part, 16) for part in line.split()[0].split('-'))
        header = (ctypes.c_char * 4096).from_address(start)
        ";
    let attacks = [
        // Sizes that there are not, for a while.
        "
        for _ in range(300):
            ctypes.memmove(header, random.randbytes(64), 64)
            time.sleep(0.001)
        os._exit(0)
        ",
        // Whole pages, and then none.
        "
        ctypes.memset(start, 255, end - start)
        time.sleep(0.2)
        libc = ctypes.CDLL(None)
        libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), 9)
        libc.munmap(ctypes.c_void_p(start), ctypes.c_size_t(end - start))
        os._exit(0)
        ",
        // As if its write never ended.
        "
        struct.pack_into('=I', header, 16, 1)
        struct.pack_into('=I', header, 20, 65536)
        time.sleep(0.3)
        os._exit(0)
        ",
        // The same bytes again and again, from several threads, while PID 1 takes them.
        "
        def again():
            for _ in range(3000):
                struct.pack_into('=III', header, 16, 0, 60000, 0)
                time.sleep(0.0001)
        threads = [threading.Thread(target=again) for _ in range(3)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        os._exit(0)
        ",
        // A file of another size.
        "
        for number in os.listdir('/proc/self/fd'):
            try: os.ftruncate(int(number), 0)
            except OSError: pass
        for name in os.listdir('/proc/self/map_files') if os.path.exists('/proc/self/map_files') else []:
            try: os.truncate('/proc/self/map_files/' + name, 0)
            except OSError: pass
        print('second')
        os._exit(0)
        ",
    ];
    for attack in attacks {
        let mut job = python(&format!("{find}{attack}"));
        job.limits.output_bytes = Some(1 << 20);
        let result = soon("its end", run(sandbox, &job)).await;
        assert_eq!(result.exit_code, Some(0), "{attack}: {result:?}");
        let bytes = result.run.map(|run| run.encoding.decode(&run.stdout).expect("valid"));
        assert!(bytes.is_some_and(|bytes| bytes.starts_with(b"first\n")), "{attack}");
        assert_eq!(printed(sandbox, "print('next')").await, "next\n", "{attack}");
    }
}
