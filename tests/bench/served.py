"""What benchmarks of serving share: photographs, models in a store, and Thaw in front of one."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from thaw import bundle
from thaw.config import load
from thaw.config.serving import Serve
from thaw.data.labels import LabelSchema
from thaw.registry import store
from thaw.storage import open_root

IMAGES = 16
TASKS = {
    "verdict": ({"type": "classification"}, LabelSchema(kind="class", names=("no", "yes", "maybe"))),
    "tags": ({"type": "multilabel"}, LabelSchema(kind="classes", names=("a", "b", "c", "d"))),
    "grade": ({"type": "classification"}, LabelSchema(kind="class", names=("low", "high"))),
}
"""Task -> its settings and its classes."""


def photographs(place: Path) -> Path:
    """Write the images into a folder of their own and return it."""
    folder = place / "images"
    folder.mkdir()
    for seed in range(IMAGES):
        (folder / f"{seed:02d}.jpg").write_bytes(_jpeg(seed))
    return folder


def stored(place: Path, backbone: str, size: int, name: str, tasks: tuple[str, ...]) -> str:
    """Put a model with untrained heads into the store below ``place`` and return NAME/version."""
    values = {
        "name": name,
        "data": {"source": {"type": "boards"}, "image": {"size": size}},
        "tasks": {task: TASKS[task][0] for task in tasks},
        "model": {"backbone": backbone, "weights": {"source": "none"}},
    }
    made = bundle.create(load.parse(values, "bench"), {task: TASKS[task][1] for task in tasks})
    folder = place / f"bundle-{name}"
    folder.mkdir()
    made.save(folder)
    lineage = store.Lineage(run_id="bench", dataset_fingerprint="none")
    return f"{name}/{store.register(open_root(str(place / 'store')), name, folder, lineage)}"


@contextmanager
def endpoint(place: Path, reference: str, settings: Serve, artifact: str | None = None) -> Iterator[str]:
    """Serve a model of the store, or an artifact of it, and give the address that images are sent to."""
    from thaw.serving import on_ray as serving

    with serving.endpoint(reference, str(place / "store"), settings, artifact) as url:
        yield f"{url}/predict"


def _jpeg(seed: int) -> bytes:
    """Return a photograph-like JPEG of 640 x 480: smooth shades with some grain."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 255, (15, 20, 3), dtype=np.uint8)).resize((640, 480))
    grain = random.integers(-12, 12, (480, 640, 3))
    content = io.BytesIO()
    Image.fromarray(np.clip(np.asarray(coarse) + grain, 0, 255).astype(np.uint8)).save(content, "JPEG", quality=85)
    return content.getvalue()
