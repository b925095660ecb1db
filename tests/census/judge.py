"""What is wrong with a row, and whether the run without barriers shows that they do something about it."""

from rows import BOUND_MIB


def beyond(figures, null):
    """MiB of the host that weren't counted, beside what a job takes that does nothing."""
    return figures["uncounted_mib"] - max(0, null["uncounted_mib"])


def fault(row, figures, null):
    if figures.get("died"):
        return "the machine died"
    found = []
    excess = beyond(figures, null)
    if excess > BOUND_MIB and not row.known:
        found.append(f"{excess:.0f} MiB of the host that nothing counts")
    if row.refused and figures["made"]:
        found.append(f"{figures['made']} could be made")
    if figures["outcome"] in ("none", "error"):
        found.append(f"no verdict: {figures['outcome']}, {figures['message']}")
    if figures["ended_by_meter"] and not row.known:
        found.append("it had to be ended, or the machine would have had no memory left")
    if figures["freed_seconds"] is None:
        found.append(f"a minute after its end {figures['left_mib']:.0f} MiB haven't come back")
    # Of a job that its own limit ended there is no time in which another could run.
    if second := figures["second"]:
        if second["outcome"] != "accepted":
            found.append(f"meanwhile another job ended as {second['outcome']}")
        elif null["second"] and second["seconds"] > 4 * null["second"]["seconds"] + 5:
            found.append(f"meanwhile another job took {second['seconds']} s, not {null['second']['seconds']}")
    return "; ".join(found)


def control_fault(row, bounded, without, null):
    """Something has to differ: more memory, more objects, another end."""
    if without.get("died"):
        return ""
    if not bounded or not null:
        return "there is no run with barriers to compare with"
    if row.refused:
        # What this kernel doesn't have is shown on another.
        absent = without["stops"].keys() <= {"ENOPROTOOPT", "ENOSYS"}
        return "" if without["made"] or absent else f"they can't be made without barriers either: {without['stops']}"
    differs = (
        without["ended_by_meter"]
        or beyond(without, null) > max(BOUND_MIB, 1.25 * beyond(bounded, null))
        or without["made"] > 1.25 * bounded["made"]
        or without["outcome"] != bounded["outcome"]
        or without["stops"].keys() != bounded["stops"].keys()
    )
    return "" if differs else f"nothing differs: {without['made']} made, {without['stops']}, {without['outcome']}"
