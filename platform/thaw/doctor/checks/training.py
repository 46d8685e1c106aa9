"""Several workers learn what one worker learns of the same global batches."""

from thaw.doctor.finding import Finding
from thaw.doctor.material import Material
from thaw.doctor.tally import LOSS_APART, WEIGHTS_APART, Tally, apart

_ADVICE = "do not train on several workers here: their gradients are not what they should be"


def check(material: Material) -> Finding:
    if not material.trained:
        return Finding("skipped", material.untrained)
    one, *others = material.trained
    values = {"runs": [_values(one, tally) for tally in material.trained]}
    wrong = [said for tally in material.trained if (said := _wrong(one, tally))]
    if wrong:
        return Finding("failed", "; ".join(wrong), _ADVICE, values)
    if not others:
        return Finding("skipped", "one worker trained; there is no room for a second one", values=values)
    losses, weights = (max(column) for column in zip(*(apart(one, other) for other in others), strict=True))
    counts = ", ".join(str(other.workers) for other in others)
    return Finding(
        "ok",
        f"{counts} workers learnt what 1 did: weights the same bit for bit among the workers, and within {weights:.1e} "
        f"of one worker's, losses within {losses:.1e}; {sum(tally.seconds for tally in material.trained):.0f} s",
        values=values,
    )


def _wrong(one: Tally, tally: Tally) -> str:
    """Return what is wrong with what some workers learnt; empty where nothing is."""
    who = f"{tally.workers} worker(s)"
    if tally.failure:
        return f"{who}: {tally.failure}"
    if not tally.agrees_with_itself:
        return f"{who}: weights are not the same on all workers ({', '.join(sorted(set(tally.digests)))})"
    if one.failure:
        return ""
    losses, weights = apart(one, tally)
    if losses > LOSS_APART or weights > WEIGHTS_APART:
        return f"{who} learnt something else than 1: losses {losses:.1e} apart, weights {weights:.1e}"
    return ""


def _values(one: Tally, tally: Tally) -> dict[str, object]:
    told: dict[str, object] = {"workers": tally.workers, "seconds": tally.seconds, "failure": tally.failure}
    if not tally.failure:
        told |= {"digests": list(tally.digests)}
        if not one.failure:
            told |= dict(zip(("losses_apart", "weights_apart"), apart(one, tally), strict=True))
    return told
