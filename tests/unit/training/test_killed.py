"""SIGKILL at any step around the opening of groups, or while a checkpoint is written, leaves no trace in the result."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import killed
import pytest


@pytest.mark.slow
def test_a_killed_run_ends_with_the_very_same_weights_and_optimizer(tmp_path: Path) -> None:
    assert killed.depths() == dict(zip(killed.BORDERS, (2, 3, 4), strict=True))
    paths = os.pathsep.join(path for path in sys.path if path)
    command = [sys.executable, killed.__file__, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": paths})
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "told.json").read_text())
    whole = told.pop("undisturbed")
    assert set(killed.BORDERS) <= {int(step) for step in told}
    assert len(told) == 20
    for step, found in told.items():
        assert found["ends"] == [-signal.SIGKILL, -signal.SIGKILL, 0], step
        assert found["begun"] == [0, int(step), int(step)]
        for what, value in whole.items():
            assert found[what] == value, f"{what} after kills at step {step}"
