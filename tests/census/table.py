"""The table of what was measured, in Markdown: for docs/hardening.md."""

from judge import beyond
from rows import NULL

HEAD = ["object", "most", "bytes each", "stopped by", "seconds", "counted MiB", "uncounted MiB", "without barriers",
        "freed after s", "of the host's", "another job"]


def stopped_by(row):
    words = [f"`{why}`" for why in row["stops"] if why not in ("flat", "ENOUGH")]
    words += [f"`{limit}`" for limit in row["limits_hit"]]
    if row["outcome"] not in ("accepted", "runtime_error"):
        words.append(f"`{row['outcome']}`")
    if row["ended_by_meter"]:
        words.append("the meter")
    return ", ".join(words) or "its own end"


def uncounted(row, figures):
    if row.get("died"):
        return "the machine died"
    return ("> " if row["ended_by_meter"] else "") + f"{max(0, beyond(row, figures[NULL.name])):.0f}"


def unbounded(row, figures):
    """What it is where the barriers are taken away."""
    without = figures.get("controls", {}).get(row["row"])
    if not without:
        return ""
    return uncounted(without, figures) + ("" if without.get("died") or not without["made"] else f" ({without['made']:,})")


def cells(row, figures):
    """What one machine says of a row."""
    if row.get("died"):
        return ["", "", "the machine died", "", "", "", "", "", "", ""]
    hardware = row["cpu_seconds"] * figures["hardware_us"] / row["calibration_us"]
    second = row["second"]
    return [
        # A job that PID 1 or the kernel ends doesn't come to say how many it had.
        f"{row['made']:,}" if row["made"] or row["outcome"] == "accepted" else "",
        f"{row['object_bytes']:,}" if row["made"] and row["drop_mib"] > 8 else "",
        stopped_by(row),
        f"{hardware:.1f}",
        f"{row['most_counted_mib']:.0f}",
        uncounted(row, figures),
        unbounded(row, figures),
        f"{row['left_mib']:.0f} MiB left after 60" if row["freed_seconds"] is None else f"{row['freed_seconds']:.0f}",
        ", ".join(f"{name} {percent:.0f} %" for name, percent in row["shared"].items()),
        "" if not second else second["outcome"] + f" in {second['seconds']:.0f} s",
    ]


def caption(figures, rows):
    """Where and when the rows were measured, and of which sandfleet."""
    measured = [figures[row.name] for row in rows if row.name in figures]
    each = {key: ", ".join(sorted({row.get(key) or "?" for row in measured})) for key in ("kernel", "commit", "date")}
    return f"Linux {each['kernel']}; measured {each['date']} with sandfleet at {each['commit']}:"


def table(figures, rows):
    lines = [HEAD, ["---"] * len(HEAD)]
    lines += [[row.name, *cells(figures[row.name], figures)] for row in rows if row.name in figures]
    return "\n".join([caption(figures, rows), "", *("| " + " | ".join(line) + " |" for line in lines)])


def others(runs, rows):
    """The runs besides those with a table of their own, a line for each row and a column for each run. `runs` is a list of
    names and figures."""
    names = [row.name for row in rows if any(row.name in figures for _, figures in runs)]
    lines = [["object", *(name for name, _ in runs)], ["---"] * (len(runs) + 1)]
    for name in names:
        cells = []
        for _, figures in runs:
            row = figures.get(name)
            cells.append("" if not row else "the machine died" if row.get("died") else
                         f"{uncounted(row, figures)}, {stopped_by(row)}")
        lines.append([name, *cells])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
