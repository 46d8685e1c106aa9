"""Gates before training: what is found at next to no cost, and is refused until it is mended or let through by name.

Only checks that look at facts and labels run here; `thaw inspect` runs all of them.
"""

from collections.abc import Sequence

from thaw.config.experiment import Experiment
from thaw.console import say
from thaw.data.dataset import Dataset
from thaw.errors import DataError
from thaw.inspection import checking
from thaw.inspection.finding import Finding
from thaw.inspection.gather import gather
from thaw.storage import Root


def check(root: Root, experiment: Experiment, prepared: Dataset) -> None:
    """Refuse to train on what misleads; say which gates were let through.

    Raises:
        DataError: a gate fails that is not let through.
    """
    allowed = experiment.data.allow
    cheap = [name for name in checking.names() if checking.gates(name) and not checking.needs_vectors(name)]
    if not cheap:
        return
    material = gather(root, experiment, prepared)
    found = [one for name in cheap for one in checking.run(name, material) if one.level == "gate"]
    for one in found:
        if one.name in allowed:
            say(f"let through by data.allow: {one.name}: {one.told}")
    failed = [one for one in found if one.name not in allowed]
    if failed:
        raise DataError(_refusal(root.shown(prepared.path), failed))


def _refusal(place: str, failed: Sequence[Finding]) -> str:
    lines = [f"  {one.name}: {one.told} {one.advice}" for one in failed]
    names = ", ".join(dict.fromkeys(one.name for one in failed))
    return "\n".join(
        [
            f"{place}: training on these images misleads:",
            *lines,
            "`thaw inspect` with the same experiment shows them. Mend it, or let it through by name: "
            f"data.allow=[{names}]",
        ]
    )
