"""The image holds what is locked, by its hash, and its recipe keeps the rules of its trade."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import lock

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "cluster" / "Dockerfile"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned(path: Path) -> dict[str, str]:
    """Return name -> version of a file of pins."""
    lines = [line.split()[0] for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return {plain(name): version for name, _, version in (line.partition("==") for line in lines)}


def test_the_recipe_is_clean_to_hadolint() -> None:
    done = subprocess.run([Path(sys.executable).with_name("hadolint"), DOCKERFILE], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_is_built_on_a_digest_that_is_given_and_runs_as_a_plain_user() -> None:
    text = DOCKERFILE.read_text()
    assert re.findall(r"^FROM (.*)$", text, re.M) == ["${BASE} AS build", "${BASE}"]
    assert re.search(r"^ARG BASE$", text, re.M), "no default: whoever builds says which, by digest"
    assert re.findall(r"^USER (.*)$", text, re.M) == ["1000:100"]
    assert not re.search(r"(?i)(password|secret_|api_key|auth_token)\S*=", text)
    assert f"ARG VERSION={PROJECT['version']}\n" in text


def test_every_package_of_the_image_is_locked_by_version_and_hash_without_addresses() -> None:
    lines = [line for line in lock.LOCK.read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==[A-Za-z0-9.!+]+ --hash=sha256:[0-9a-f]{64}", line) for line in lines)
    wanted = {plain(re.split(r"[\[<>=]", one)[0]) for one in lock.wanted()}
    assert wanted <= pinned(lock.LOCK).keys()


def test_the_image_holds_the_versions_that_are_tested() -> None:
    tested, locked = pinned(ROOT / "constraints.txt"), pinned(lock.LOCK)
    assert {name: version for name, version in locked.items() if tested.get(name) != version} == {}


def test_a_line_of_the_lock_is_made_of_what_pip_reports() -> None:
    archive = {"archive_info": {"hashes": {"sha256": "ab" * 32}}, "url": "https://elsewhere/x.whl"}
    report = [{"metadata": {"name": "Some_Thing.x", "version": "1.0"}, "download_info": archive}]
    assert lock.lines(report) == [f"some-thing-x==1.0 --hash=sha256:{'ab' * 32}"]
