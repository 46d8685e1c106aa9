"""What every job does: find the thaw that travelled with this folder, else the installed one, and run a verb."""

import sys
from pathlib import Path

_TRAVELLED = Path(__file__).resolve().parents[1] / "platform"


def run(verb: str) -> int:
    """Run one verb with the arguments of this process and return its exit code."""
    if (_TRAVELLED / "thaw" / "__init__.py").is_file():
        sys.path.insert(0, str(_TRAVELLED))
    from thaw import cli

    return cli.run([verb, *sys.argv[1:]])
