"""Room on the disks that Ray and Thaw write to."""

from thaw.doctor.finding import Finding
from thaw.doctor.material import Material, gib, named

FULL = 0.95
"""Share of a disk in use from which Ray refuses to spill objects to it."""
NEARLY = 0.85


def check(material: Material) -> Finding:
    places = [(node.name, disk) for node, seen in material.answering for disk in seen.disks]
    if not places:
        return Finding("skipped", "no node answered")
    used = [(name, disk, 1 - disk.free / disk.total if disk.total else 1.0) for name, disk in places]
    refused = [f"{name}: {disk.path} ({disk.refusal})" for name, disk, _ in used if disk.refusal]
    full = [f"{name}: {disk.path} ({share:.0%} used)" for name, disk, share in used if share >= FULL]
    nearly = [f"{name}: {disk.path} ({share:.0%} used)" for name, disk, share in used if share >= NEARLY]
    least = min(disk.free for _, disk in places)
    values = {"least_free": least, "refused": refused, "full": full, "nearly": nearly}
    if refused:
        return Finding(
            "failed",
            f"nothing can be written on {named(refused)}",
            "mount an emptyDir there, owned by the user of the container",
            values,
        )
    if full:
        return Finding(
            "failed",
            f"as good as full: {named(full)}; Ray spills no object to a disk above {FULL:.0%}",
            "clear it, or start Ray with a --temp-dir on another disk",
            values,
        )
    if nearly:
        return Finding("warning", f"filling up: {named(nearly)}", "clear it before a long run", values)
    return Finding("ok", f"at least {gib(least)} free wherever something is written", values=values)
