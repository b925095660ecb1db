"""The table of a run, in Markdown."""

from judge import beyond
from rows import NULL

HEAD = ["object", "made", "bytes each", "stopped by", "seconds", "counted MiB", "uncounted MiB", "freed s", "host-wide",
        "another job meanwhile"]


def stopped_by(row):
    words = [f"`{why}`" for why in row["stops"] if why not in ("flat", "ENOUGH")]
    words += [f"limit `{limit}`" for limit in row["limits_hit"]]
    if row["outcome"] not in ("accepted", "runtime_error"):
        words.append(f"`{row['outcome']}`")
    if row["ended_by_meter"]:
        words.append("the meter")
    return ", ".join(words) or "the maker"


def line(row, null, hardware_us):
    if row.get("died"):
        return [row["row"], "", "", "", "", "", "the machine died", "", "", ""]
    shared = ", ".join(f"{name} {percent:.0f} %" for name, percent in row["shared"].items())
    second = row["second"]
    meanwhile = "" if not second else f"{second['outcome']}, {second['seconds']:.0f} s"
    freed = "no" if row["freed_seconds"] is None else f"{row['freed_seconds']:.0f}"
    return [row["row"], f"{row['made']:,}", f"{row['object_bytes'] or 0:,}" if row["made"] else "", stopped_by(row),
            f"{row['cpu_seconds'] * hardware_us / row['calibration_us']:.1f}", f"{row['counted_mib']:.0f}", f"{max(0, beyond(row, null)):.0f}", freed, shared,
            meanwhile]


def table(figures, rows):
    null = figures[NULL.name]
    lines = [HEAD, ["---"] * len(HEAD)]
    lines += [line(figures[row.name], null, figures["hardware_us"]) for row in rows if row.name in figures]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
