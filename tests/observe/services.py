"""What the run starts: a fleet whose connections can be cut, a Redis of its own, and Debian's Prometheus."""

import http.server
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent.parent
# By this the ranges and waiting times of the rules are shortened, so that minutes become seconds.
FACTOR = 20
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def eventually(what: str, look, seconds: float = 60):
    """Waits until `look` gives something."""
    end = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(0.1)


class Relay:
    """A wire to a local port that can be cut."""

    def __init__(self, port: int):
        self.target, self.open, self.pairs = port, True, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            client, _ = self.listener.accept()
            if not self.open:
                client.close()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                client.close()
                continue
            self.pairs.append((client, server))
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._copy, args=(source, sink), daemon=True).start()

    def _copy(self, source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def cut(self):
        self.open = False
        for pair in self.pairs:
            for end in pair:
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
        self.pairs = []

    def mend(self):
        self.open = True


class Processes:
    """Every process of the run. They end with it, by their ids."""

    def __init__(self, directory: Path):
        self.directory, self.running = directory, {}

    def start(self, name: str, command: list, environment: dict | None = None) -> subprocess.Popen:
        log = open(self.directory / f"{name}.log", "ab")
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        log.close()
        self.running[name] = process
        return process

    def end(self, name: str, by: int = signal.SIGTERM) -> int:
        process = self.running.pop(name)
        process.send_signal(by)
        try:
            return process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def end_all(self):
        for name in list(self.running)[::-1]:
            self.end(name)

    def log(self, name: str) -> str:
        return (self.directory / f"{name}.log").read_text(errors="replace")


class Prometheus:
    """Debian's Prometheus with the rules of deploy/prometheus, shortened by FACTOR, scraping every second."""

    def __init__(self, processes: Processes, directory: Path, workers: dict, exporter: int):
        self.port = free_port()
        rules = (REPO / "deploy/prometheus/rules.yaml").read_text()
        (directory / "rules.yaml").write_text(shortened(rules))
        targets = [f"      - {{targets: ['127.0.0.1:{port}'], labels: {{instance: {name}}}}}" for name, port in workers.items()]
        (directory / "prometheus.yaml").write_text(
            "global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}\n"
            "rule_files: [rules.yaml]\n"
            "scrape_configs:\n"
            "  - job_name: sandfleet\n    static_configs:\n" + "\n".join(targets) + "\n"
            "  - job_name: sandfleet-exporter\n    static_configs:\n"
            f"      - {{targets: ['127.0.0.1:{exporter}'], labels: {{instance: exporter}}}}\n"
        )
        command = ["prometheus", f"--config.file={directory}/prometheus.yaml", f"--storage.tsdb.path={directory}/data",
                   f"--web.listen-address=127.0.0.1:{self.port}", "--log.level=warn"]
        processes.start("prometheus", command)
        eventually("Prometheus", self._is_ready)

    def _is_ready(self) -> bool:
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=2).status == 200
        except OSError:
            return False

    def _get(self, path: str, **parameters):
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?" + urllib.parse.urlencode(parameters)
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from error

    def range(self, expression: str, start: float, end: float, step: float = 2):
        data = self._get("query_range", query=expression, start=start, end=end, step=step)
        return [(one["metric"], [(at, float(value)) for at, value in one["values"]]) for one in data["result"]]

    def firing(self) -> set:
        alerts = self._get("alerts")["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    def metric_names(self) -> set:
        return set(self._get("label/__name__/values"))


def shortened(rules: str) -> str:
    """The rules with every range and `for` divided by FACTOR."""

    def shorter(match):
        before, count, unit, after = match.groups()
        milliseconds = int(count) * UNITS[unit] * 1000 // FACTOR
        return f"{before}{milliseconds}ms{after}"

    rules = re.sub(r"(\[)(\d+)([smhd])(\])", shorter, rules)
    rules = re.sub(r"(for: )(\d+)([smhd])(\n)", shorter, rules)
    return rules


def scrape(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        return answer.read().decode()


def redis_command(port: int, *words: str) -> str:
    return subprocess.run(["redis-cli", "-p", str(port), *words], check=True, capture_output=True, text=True).stdout


def rabbitmqctl(*words: str) -> str:
    done = subprocess.run([os.environ["SANDFLEET_TEST_RABBITMQCTL"], *words], capture_output=True, text=True)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


def take_spans() -> int:
    """Starts a collector that takes every span and keeps none; gives back its port."""
    class Collector(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


def push(queue: str, body: str, **headers: str) -> None:
    """Puts a message into a queue, past every client library."""
    properties = ",".join(f'{{<<"{name}">>,longstr,<<"{value}">>}}' for name, value in headers.items())
    text = ",".join(str(byte) for byte in body.encode())
    rabbitmqctl("eval", (
        'rabbit_basic:publish(rabbit_misc:r(<<"/">>, exchange, <<"">>), <<"' + queue + '">>, [{headers,[' + properties + ']}], <<' + text + ">>)."
    ))
