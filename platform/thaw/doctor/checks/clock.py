"""Clocks agree."""

from thaw.doctor.finding import Finding, State
from thaw.doctor.material import Material, named

FAR_S, APART_S = 60.0, 1.0
"""Requests to object stores are refused some minutes off; records and curves are out of order long before."""


def check(material: Material) -> Finding:
    offsets = {node.name: node.offset_s for node in material.nodes if node.offset_s is not None}
    if not offsets:
        return Finding("skipped", "no node told the time")
    worst = max(offsets.values(), key=abs)
    wrong = [f"{name} by {offset:+.1f} s" for name, offset in offsets.items() if abs(offset) > APART_S]
    values = {"offset_s": offsets}
    if wrong:
        state: State = "failed" if abs(worst) > FAR_S else "warning"
        told = f"off the driver's clock: {named(wrong)}"
        return Finding(state, told, "run chrony or the cloud's time service on every machine", values)
    return Finding("ok", f"within {max(abs(worst), 0.001):.3f} s of the driver's", values=values)
