"""The lock of the image: every package that it holds, by version and by the SHA-256 of its archive.

    make lock      # writes cluster/requirements.lock

pip resolves what pyproject.toml asks for under constraints.txt, for the Python and the machine that this runs on. Run
it with the Python of the image (see cluster/Dockerfile) on Linux x86-64. `pip install --require-hashes` then takes
these very archives and no others, from whatever index.
"""

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LOCK = Path(__file__).with_name("requirements.lock")
EXTRAS = ("weights", "lora", "export")
"""What is in the image beside the core: weights without a network, adapters, and artifacts to serve."""


def wanted() -> list[str]:
    """Return what the image must hold, as pyproject.toml asks for it."""
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = asked["project"]["optional-dependencies"]
    needed = [*asked["project"]["dependencies"], *(one for extra in EXTRAS for one in extras[extra])]
    return [*needed, *asked["build-system"]["requires"]]


def resolved(needed: list[str]) -> list[dict[str, Any]]:
    """Return pip's report of what it would install."""
    with tempfile.TemporaryDirectory() as folder:
        asked, report = Path(folder, "asked.txt"), Path(folder, "report.json")
        asked.write_text("\n".join(needed), encoding="utf-8")
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"]
        command += ["--only-binary", ":all:", "--constraint", str(ROOT / "constraints.txt")]
        subprocess.run([*command, "--report", str(report), "--requirement", str(asked)], check=True)  # noqa: S603
        found: list[dict[str, Any]] = json.loads(report.read_text(encoding="utf-8"))["install"]
        return found


def lines(report: list[dict[str, Any]]) -> list[str]:
    """Return a line for each package, sorted, without addresses."""
    found = []
    for one in report:
        name = re.sub(r"[-_.]+", "-", one["metadata"]["name"]).lower()
        digest = one["download_info"]["archive_info"]["hashes"]["sha256"]
        found.append(f"{name}=={one['metadata']['version']} --hash=sha256:{digest}")
    return sorted(found)


def main() -> int:
    """Write the lock."""
    head = f"# By `make lock`, for Python {sys.version_info.major}.{sys.version_info.minor} on Linux x86-64.\n"
    LOCK.write_text(head + "\n".join(lines(resolved(wanted()))) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
