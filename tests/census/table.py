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
        f"{row['made']:,}",
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


def merge(of_machines):
    """One cell: once if the machines agree, else one after the other."""
    return of_machines[0] if len(set(of_machines)) == 1 else " / ".join(of_machines)


def table(by_machine, rows):
    """Where two machines differ, both figures stand in the cell, in the order of the machines."""
    lines = [HEAD, ["---"] * len(HEAD)]
    for row in rows:
        found = [cells(figures[row.name], figures) for figures in by_machine.values() if row.name in figures]
        if found:
            lines.append([row.name, *(merge(column) for column in zip(*found))])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
