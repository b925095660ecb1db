"""Which event moves which panel, and the queries of the boards."""

import json
import math

from services import REPO

BOARDS = ("fleet", "worker", "security", "tenants")

# The event that moves a panel; all others are moved by the mixed jobs.
EVENTS = {
    "fleet": {
        "Jobs without our failure": "sandbox fails", "Workers ready": "no worker", "Dead letters": "messages",
        "Workers by queue": "no worker", "Not answerable": "messages", "Workers by state": "no worker",
        "Store memory": "store full", "Replication of the store": "store full", "Components": "store away",
        "Retries by cause": "sandbox fails", "Lost leases": "store away", "Services as the exporter sees them": "store away",
        "Evicted keys of the store": "store full", "Failed calls": "store away",
    },
    "worker": {
        "Ready": "store away", "Slots": "no worker", "Failed calls": "store away", "Reconnects": "broker away",
        "Ignored trace headers": "messages", "Components": "store away", "Broker blocked": "broker blocked", "Leftovers in 1 h": "worker killed", "Drain deadline": "drain",
    },
    "security": {
        "Leftovers in 1 h": "worker killed", "Unreadable per minute": "messages", "What can't be answered": "messages",
        "Rejected jobs": "messages", "Cancelled and duplicate": "cancellation", "What runs": "no worker",
        "Sandboxes that work": "no worker", "Sandbox works": "sandbox away",
    },
    "tenants": {"Our failures by tenant": "sandbox fails", "Held back": "tenant over its share"},
}

# What no event of this run may cause on the machine that it runs on; unit tests move the metric.
NOT_CAUSED = {
    "Lost log lines": "takes a full disk; tests/tests/fleet/logs.rs moves it",
    "Stuck slots": "takes a process in the kernel's D state",
    "Kills by the host's kernel": "takes a host without memory",
    "Security events per minute": "natively no program can; gVisor lets it",
    "Violations per minute": "natively no program can; gVisor lets it",
    "Security events": "natively no program can; gVisor lets it",
}


def boards() -> dict:
    return {name: json.loads((REPO / f"deploy/grafana/dashboards/{name}.json").read_text()) for name in BOARDS}


def panels(board: dict) -> list:
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def expression(text: str) -> str:
    """What Grafana makes of a query with every variable at All."""
    for variable in ("$namespace", "$job", "$worker", "$language"):
        text = text.replace(variable, ".*")
    return text.replace("$__rate_interval", "8s")


def legend(target: dict, labels: dict) -> str:
    text = target["legendFormat"]
    if text == "__auto":
        return ""
    for name, value in labels.items():
        text = text.replace("{{" + name + "}}", value)
    return text


def ask(prometheus, panel: dict, start: float, end: float) -> list:
    """The series of a panel, (legend, labels, points), and the queries of it that gave nothing."""
    series, empty = [], []
    for target in panel["targets"]:
        answer = []
        for labels, points in prometheus.range(expression(target["expr"]), start, end):
            points = [(at, value) for at, value in points if not math.isnan(value) and not math.isinf(value)]
            if points:
                answer.append((legend(target, labels), labels, points))
        if not answer:
            empty.append(target["expr"])
        series += answer
    return series, empty


def moved(series: list, start: float, end: float) -> tuple | None:
    """The lowest and the highest value in a window of the series that moved most, if one moved."""
    widest = None
    for name, _, points in series:
        times = [at for at, _ in points if start - 3 <= at <= end]
        values = [value for at, value in points if start - 3 <= at <= end]
        before = [value for at, value in points if at < start - 3]
        values += before[-1:]
        # A series that came or went has moved as well.
        gaps = [later - at for at, later in zip([start - 3, *times], [*times, end])]
        if before and max(gaps) > 5:
            values.append(0.0)
        if values and max(values) != min(values):
            span = (max(values) - min(values), name, min(values), max(values))
            widest = max(widest, span) if widest else span
    return widest[1:] if widest else None
