"""What must hold of the repository as a whole."""

import re
import tomllib
from pathlib import Path

import pytest

import thaw
from thaw.config import load

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
ALLOWED = {
    "pyproject.toml",
    "README.md",
    "cluster",
    "platform",
    "jobs",
    "tests",
    "k8s",
    "Makefile",
    "constraints.txt",
    "LICENSE",
}


def test_the_package_has_the_version_of_the_project():
    assert PROJECT["project"]["version"] == thaw.__version__


def test_the_source_root_is_no_package():
    assert not (ROOT / "platform" / "__init__.py").exists()  # it would shadow the standard library's platform


@pytest.mark.parametrize("path", sorted((ROOT / "jobs" / "configs").glob("*.yaml")), ids=lambda path: path.name)
def test_every_shipped_experiment_loads_and_opens_with_what_to_expect(path, monkeypatch):
    monkeypatch.setenv("THAW_DATA", "/data")
    assert load.load(path).name == path.stem
    assert re.match(r"# .*\n(# .*\n)*# Expect", path.read_text()), "opens with a comment that says what to expect"


def test_constraints_pin_every_dependency_to_one_version_without_addresses():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+]+", line) for line in lines)
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in lines}
    extras = PROJECT["project"]["optional-dependencies"]
    asked = [*PROJECT["project"]["dependencies"], *extras["weights"], *extras["lora"], *extras["dev"]]
    wanted = {re.split(r"[\[<>=]", one)[0].lower().replace("_", "-") for one in asked}
    assert wanted <= pinned


def test_jobs_are_thin():
    for job in (ROOT / "jobs").glob("[a-z]*.py"):
        assert len(job.read_text().splitlines()) <= 15, job.name
