"""Key: the name of what is kept, made of all that it depends on.

Two runs that come to the same key would compute the same, whatever they are called and however many workers they have.
"""

import hashlib
import json

from thaw.backbones.split import Split
from thaw.backbones.weights import digest
from thaw.bundle import Bundle
from thaw.data.feed import Feed
from thaw.training.step import Device

_FORMAT = 1
"""Version of what a block holds."""


def content_key(trained: Bundle, halves: Split, feed: Feed, images: str, view: int, on: Device) -> str:
    """Return the SHA-256, in hexadecimal, of what a view of a split's images comes to below the open layers.

    Args:
        halves: of the backbone.
        images: which images in which order: the fingerprint of their dataset, and the split.
        view: of which the images are augmented, where the feed augments them.
    """
    model = trained.model
    content = {
        "format": _FORMAT,
        "backbone": trained.description.model.backbone,
        "weights": digest(halves.below.state_dict() | {"mean": model.mean, "std": model.std}),
        "cut": halves.told,
        "images": images,
        "preprocess": feed.preprocess.model_dump(),
        "limits": feed.limits.model_dump(),
        "labels": {task: schema.fingerprint for task, schema in feed.labels.items()},
        "augment": feed.augment and feed.augment.model_dump(),
        "least_box": feed.least_box,
        "seed": feed.augment and feed.seed,
        "view": feed.augment and view,
        "precision": f"{on.device.type} {on.autocast}",
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
