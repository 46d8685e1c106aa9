"""Key: what names the answer to a question about a backbone, so that the same question is not answered twice."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any


def key(backbone: str, asked: Sequence[Any]) -> str:
    """Return a file's name, without its ending, that only the same question about the same backbone has.

    Args:
        asked: all that the answer depends on, as JSON values.
    """
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
    return f"{backbone.replace('/', '-')}-{digest[:16]}"
