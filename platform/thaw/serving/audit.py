"""Audit: one line of JSON for everything that changes who may ask and what answers, on the logger ``thaw.audit``.

Never with a key or a hash of one. Where the lines go is up to whoever runs this: without a handler, to stderr.
"""

import getpass
import json
import logging
import os
import socket
from datetime import UTC, datetime

LOGGER = "thaw.audit"


def user() -> str:
    """Return who is at work here, as ``note`` wants it: a container's user may have no name."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = str(os.getuid())
    return f"{name}@{socket.gethostname()}"


def note(action: str, by: str, **facts: str | int | float | None) -> None:
    """Write down what was done.

    Args:
        action: such as ``keys.add``.
        by: who did it: the name of a key, or a user on a machine.
        facts: what it was done to.
    """
    logger = logging.getLogger(LOGGER)
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)
    if not logger.hasHandlers():
        logger.addHandler(logging.StreamHandler())
    line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "action": action, "by": by, **facts}
    logger.info(json.dumps(line, ensure_ascii=False))
