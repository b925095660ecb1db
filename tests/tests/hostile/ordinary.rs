//! Ordinary programs, which must not notice the sandbox: Python's own tests, and the libraries,
//! compilers and runtimes that people really use. `bash tests/run hostile` installs them.

use std::path::Path;

use futures_util::{StreamExt, stream};
use sandfleet_common::{Job, LimitsRequest, Verdict};

use crate::fleet::{Fleet, Runtime};

/// Raised in time and memory, and in threads, since those of one of Python's tests are up to a
/// hundred at a time on a busy machine.
fn with_higher_limits(mut job: Job) -> Job {
    job.limits = LimitsRequest {
        wall_time_ms: Some(600_000),
        cpu_time_ms: Some(600_000),
        memory_bytes: Some(2 << 30),
        processes: Some(256),
        ..LimitsRequest::default()
    };
    job
}

const PANDAS: &str = "
import io, numpy, pandas, matplotlib
matplotlib.use('Agg')
import matplotlib.pyplot as plot
table = pandas.read_csv(io.StringIO('kind,size\\na,1\\nb,2\\na,3\\n')).groupby('kind')['size'].mean()
assert table['a'] == 2 and numpy.linalg.det(numpy.eye(3)) == 1
table.plot.bar(); plot.savefig('plot.png')
print(open('plot.png', 'rb').read(8))
";

const THREADS: &str = "
import concurrent.futures, multiprocessing, subprocess, sqlite3, tempfile, socket
with concurrent.futures.ThreadPoolExecutor(4) as pool: assert sum(pool.map(abs, range(-9, 1))) == 45
with multiprocessing.Pool(2) as pool: assert pool.map(abs, [-1, -2]) == [1, 2]
assert subprocess.run(['/bin/sh', '-c', 'echo $((6 * 7))'], capture_output=True).stdout == b'42\\n'
base = sqlite3.connect(tempfile.mktemp()); base.execute('create table t(a)'); base.commit()
server = socket.create_server(('127.0.0.1', 0)); socket.create_connection(server.getsockname())
print('fine')
";

const NODE: &str = "
const { Worker } = require('worker_threads'), crypto = require('crypto'), fs = require('fs');
fs.writeFileSync('/tmp/a', crypto.randomBytes(1000)); require('zlib').gzipSync(fs.readFileSync('/tmp/a'));
require('http').createServer((_, answer) => answer.end('fine')).listen(0, '127.0.0.1', function () {
  const server = this;
  require('http').get({ port: this.address().port }, answer => answer.on('data', text => {
    new Worker('require(\"worker_threads\").parentPort.postMessage(1)', { eval: true })
      .on('message', () => { console.log(String(text)); server.close(); process.exit(0); });
  }));
});
";

const CXX: &str = "
cat > main.cc <<'END'
#include <iostream>
#include <thread>
#include <vector>
int main() {
  std::vector<std::thread> threads; int sum[4] = {};
  for (int i = 0; i < 4; i++) threads.emplace_back([&, i] { sum[i] = i; });
  for (auto& thread : threads) thread.join();
  std::cout << (sum[3] == 3 ? \"fine\" : \"wrong\") << std::endl;
}
END
g++ -O2 -pthread main.cc -o main && ./main
";

const JAVA: &str = "
cat > Main.java <<'END'
import java.nio.file.*;
import java.util.stream.*;
public class Main {
  public static void main(String[] arguments) throws Exception {
    Path file = Files.createTempFile(\"a\", \"b\"); Files.writeString(file, \"fine\");
    long sum = IntStream.range(0, 1000).parallel().asLongStream().sum();
    System.out.println(sum == 499500 ? Files.readString(file) : \"wrong\");
  }
}
END
javac -J-Xmx256m Main.java && java -Xmx256m Main
";

/// Servers and clients of one's own, with the options that they set, in Python's ways.
const SERVERS: &str = "
import asyncio, http.server, socket, socketserver, threading, urllib.request, xmlrpc.server
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), http.server.SimpleHTTPRequestHandler)
threading.Thread(target=server.serve_forever, daemon=True).start()
open('page', 'w').write('fine' * 100_000)
assert len(urllib.request.urlopen('http://127.0.0.1:%d/page' % server.server_port).read()) == 400_000
async def talk():
    async def echo(reader, writer):
        writer.write(await reader.readexactly(500_000)); await writer.drain(); writer.close()
    served = await asyncio.start_server(echo, '127.0.0.1', 0, reuse_port=True, backlog=1000)
    async def one():
        reader, writer = await asyncio.open_connection(*served.sockets[0].getsockname())
        writer.get_extra_info('socket').setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        writer.write(bytes(500_000)); await writer.drain()
        assert len(await reader.read(-1)) == 500_000
    await asyncio.gather(*[one() for _ in range(50)])
    class Udp(asyncio.DatagramProtocol):
        def datagram_received(self, data, address): got.set_result(data)
    got = asyncio.get_running_loop().create_future()
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Udp, ('127.0.0.1', 0))
    transport.sendto(b'x' * 9000, transport.get_extra_info('sockname'))
    assert len(await got) == 9000
asyncio.run(talk())
a, b = socket.socketpair(); socket.send_fds(a, [b'x'], [0]); assert len(socket.recv_fds(b, 1, 1)[1]) == 1
print('fine')
";

/// What copies attributes goes on without them.
const COPIES: &str = "
mkdir from && echo fine > from/file && ln -s file from/link && chmod 640 from/file && touch -d 2001-02-03 from/file
cp -a from by_cp && tar -cf - --acls --xattrs from | (mkdir by_tar && cd by_tar && tar -xpf -  --acls --xattrs)
python3 -c 'import shutil; shutil.copytree(\"from\", \"by_shutil\", symlinks=True); shutil.copystat(\"from\", \"by_cp\")'
for copy in by_cp/file by_tar/from/file by_shutil/file; do
  [ \"$(stat -c %a,%Y $copy)\" = \"$(stat -c %a,%Y from/file)\" ] || echo \"wrong: $copy\"
done
install -m 600 from/file installed && mv installed /dev/shm/ && sqlite3 base 'create table t(a); insert into t values (1); pragma journal_mode=wal; insert into t values (2); select count(*) from t;' && cat by_cp/file
";

const JAVA_SERVER: &str = "
cat > Main.java <<'END'
import java.net.*;
import java.nio.*;
import java.nio.channels.*;
public class Main {
  public static void main(String[] arguments) throws Exception {
    try (ServerSocket server = new ServerSocket(0, 100, InetAddress.getLoopbackAddress())) {
      Thread thread = new Thread(() -> { try (Socket s = server.accept()) { s.getOutputStream().write(s.getInputStream().read()); } catch (Exception e) { e.printStackTrace(); } });
      thread.start();
      try (Socket s = new Socket(server.getInetAddress(), server.getLocalPort())) {
        s.setTcpNoDelay(true); s.setKeepAlive(true); s.setReceiveBufferSize(1 << 20); s.setSoTimeout(5000); s.setSoLinger(true, 1);
        s.getOutputStream().write(7);
        if (s.getInputStream().read() != 7) throw new Exception(\"wrong\");
      }
      thread.join();
    }
    try (DatagramSocket a = new DatagramSocket(0, InetAddress.getLoopbackAddress()); DatagramChannel b = DatagramChannel.open()) {
      b.send(ByteBuffer.wrap(new byte[] {1}), a.getLocalSocketAddress());
      a.setSoTimeout(5000); a.receive(new DatagramPacket(new byte[9], 9));
    }
    NetworkInterface.getNetworkInterfaces().asIterator().forEachRemaining(i -> {});
    System.out.println(\"fine\");
  }
}
END
javac -J-Xmx256m Main.java && java -Xmx256m Main
";

/// A program with the language it is in and what it has to print at the end.
const PROGRAMS: &[(&str, &str, &str, &str)] = &[
    ("numpy, pandas, matplotlib", "python", PANDAS, "PNG"),
    ("threads, processes, SQLite, loopback", "python", THREADS, "fine"),
    ("servers and clients", "python", SERVERS, "fine"),
    ("cp, tar, shutil, sqlite3", "bash", COPIES, "fine"),
    ("node", "javascript", NODE, "fine"),
    ("g++", "bash", CXX, "fine"),
    ("java", "bash", JAVA, "fine"),
    ("java's sockets", "bash", JAVA_SERVER, "fine"),
];

/// Cleans up by unlinking names beside the standard library that aren't there, and takes any answer
/// but "no such file" for an error. Every read-only root answers that it is read-only.
const NOT_ON_A_READ_ONLY_ROOT: &str = "test_unpickle_module_race";

async fn run(fleet: &Fleet, name: &str, job: Job, wanted: &str) -> Option<String> {
    let (result, seconds) = fleet.run(with_higher_limits(job)).await;
    let run = result.run.unwrap_or_default();
    let fine = result.verdict == Some(Verdict::Accepted) && run.stdout.contains(wanted);
    println!("{} {name:40} {seconds:6.2} s", if fine { "ok    " } else { "FAILED" });
    (!fine).then(|| format!("{name}: {}\n{}\n{}", result.message, run.stdout, run.stderr))
}

fn modules() -> Vec<String> {
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("hostile/benign.txt");
    let text = std::fs::read_to_string(list).expect("the list is there");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.flat_map(str::split_whitespace).map(str::to_owned).collect()
}

pub(crate) async fn nothing_is_noticed(runtime: Runtime) {
    let fleet = Fleet::open(runtime).await;
    let tests = modules().into_iter().map(|module| {
        let test =
            format!("exec /usr/bin/python3 -m test -v -i {NOT_ON_A_READ_ONLY_ROOT} {module}");
        let job = Job::new("bash", test);
        (module, job, "Tests result: SUCCESS".to_owned())
    });
    let programs = PROGRAMS.iter().map(|(name, language, code, wanted)| {
        ((*name).to_owned(), Job::new(*language, *code), (*wanted).to_owned())
    });
    let noticed: Vec<String> = stream::iter(tests.chain(programs))
        .map(|(name, job, wanted)| {
            let fleet = &fleet;
            async move { run(fleet, &name, job, &wanted).await }
        })
        .buffer_unordered(2)
        .filter_map(async |fault| fault)
        .collect()
        .await;
    fleet.close().await;
    assert!(noticed.is_empty(), "{}", noticed.join("\n"));
}
