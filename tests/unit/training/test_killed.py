"""SIGKILL at any step around the opening of groups, or while a checkpoint is written, leaves no trace in the result."""

import json
import os
import subprocess
import sys
from pathlib import Path

import killed
import pytest


@pytest.mark.slow
def test_a_killed_run_ends_with_the_very_same_weights(tmp_path: Path) -> None:
    paths = os.pathsep.join(path for path in sys.path if path)
    command = [sys.executable, killed.__file__, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": paths})
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "told.json").read_text())
    whole = told.pop("undisturbed")
    assert whole["begun"] == 0
    assert len(told) == 20
    for step, found in told.items():
        assert (found["signal"], found["again"]) == (9, 0), step
        assert 0 < found["begun"] <= int(step) + 2, step
        for what in ("weights", "served", "figures"):
            assert found[what] == whole[what], f"{what} after a kill at step {step}"
