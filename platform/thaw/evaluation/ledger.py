"""Ledger: every look at a set of test images, whatever dataset they are part of and whatever is said of them.

A test set is worn out by looking: whoever picks the best of twenty models by it has chosen on it, and its figure is too
good. So each look is written down before anything is answered or compared, and every report says how many there have
been. A set that has got or lost an image is another one. Looks that were written down before sets went by their images
are not counted. Validation images are for looking and have no ledger.
"""

import hashlib
import secrets

from pydantic import BaseModel, ConfigDict

from thaw.data import facts
from thaw.data.dataset import Dataset
from thaw.registry.record import utc_now
from thaw.storage import Root

FOLDER = "looks"
"""Where all are kept: a folder for each set of test images, named by their content, and a file a look."""


class Look(BaseModel):
    """One measurement on the test images."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    when: str
    """ISO 8601 in UTC."""
    dataset: str
    """Below the root; others may have the same test images."""
    run_id: str
    """The run whose model was measured, of two the second."""
    model: str
    """``name/version``, and which of its artifacts answered in its place, or what it was compared with."""
    metrics: dict[str, tuple[str, ...]]
    """Task -> what was measured."""


def write(root: Root, prepared: Dataset, run_id: str, model: str, metrics: dict[str, tuple[str, ...]]) -> int:
    """Write down a look that is about to be taken, and return how many there have been with it.

    Each is a file of its own, so that looks at the same time are all counted.

    Raises:
        DataError: the dataset has no facts, by which its images are told from others.
    """
    folder = place(root, prepared)
    look = Look(when=utc_now(), dataset=prepared.path, run_id=run_id, model=model, metrics=metrics)
    name = f"{look.when.replace(':', '').replace('+0000', 'Z')}-{secrets.token_hex(4)}.json"
    root.write_json(f"{folder}/{name}", look.model_dump(mode="json"))
    return len(root.list(folder))


def place(root: Root, prepared: Dataset) -> str:
    """Return where looks at a dataset's test images are kept, by what their files hold."""
    images = "\n".join(sorted(facts.digests(root, prepared, ["test"])))
    return f"{FOLDER}/{hashlib.sha256(images.encode()).hexdigest()[:16]}"
