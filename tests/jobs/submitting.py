"""A `thaw` command that goes on beside a test, and what it tells meanwhile."""

import csv
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from thaw.storage import Root

_CODE = "import sys; from thaw import cli; sys.exit(cli.run())"
_PLATFORM = Path(__file__).parents[2] / "platform"
_END_S = 1800


class Begun:
    """A command that was begun."""

    def __init__(self, folder: Path, *command: str, through: Sequence[str] = (), **environment: str) -> None:
        """Begin a command in a folder, with what the environment says of Ray and nothing that another one said.

        Args:
            through: a command that runs the one after it elsewhere, such as in another network namespace.
        """
        self._told = tempfile.TemporaryFile()  # noqa: SIM115 - as long as this; a pipe that nobody reads would stop it
        kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.process = subprocess.Popen(
            [*through, sys.executable, "-c", _CODE, *command],
            cwd=folder,
            env=kept | {"PYTHONPATH": str(_PLATFORM), "OMP_NUM_THREADS": "1", "PATH": path} | environment,
            stdout=subprocess.PIPE,
            stderr=self._told,
            text=True,
        )

    def __enter__(self) -> "Begun":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()
        self._told.close()

    @property
    def told(self) -> str:
        """What it has told so far."""
        size = os.fstat(self._told.fileno()).st_size
        return os.pread(self._told.fileno(), size, 0).decode(errors="replace")

    def count(self, doing: str) -> int:
        """Return the last count of what it says that it is doing; 0 before the first."""
        found = re.findall(rf"^{doing}: (\d+) of ", self.told, re.MULTILINE)
        return int(found[-1]) if found else 0

    def ended(self, code: int = 0) -> dict[str, Any]:
        """Return the JSON that it printed, once it has ended as it should."""
        out, _ = self.process.communicate(timeout=_END_S)
        assert self.process.returncode == code, self.told
        found: dict[str, Any] = json.loads(out) if out.strip() else {"told": self.told}
        return found

    def wait_until(self, is_so: Callable[[], Any], seconds: float = _END_S) -> Any:
        """Return what comes true while it goes on."""
        deadline = time.monotonic() + seconds
        while not (found := is_so()):
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"{'ended' if self.process.poll() is not None else 'too slow'}:\n{self.told}")
            time.sleep(0.1)
        return found


def epochs(root: Root, run: str) -> list[dict[str, str]]:
    """Return the rows of a run's curves so far."""
    path = f"runs/{run}/metrics.csv"
    return list(csv.DictReader(io.StringIO(root.read_bytes(path).decode()))) if root.exists(path) else []
