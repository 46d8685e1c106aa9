"""Parcel: the folder that travels with a job. Code and the files that its arguments name, and nothing else."""

import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import thaw
from thaw.console import say
from thaw.errors import ConfigError
from thaw.submission.work import Work, renamed

MOST_BYTES = 32 * 2**20
"""Most that a parcel may hold: each node fetches and unpacks it before a worker of the job begins there."""

PACKAGES = "platform"
_FILES = "files"
_LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", "*.egg-info", ".*")


@dataclass(frozen=True)
class Parcel:
    """What travels.

    Attributes:
        folder: on this machine, until it has been handed over.
        command: the entry point, word by word, relative to the folder.
        has_code: whether the package is in it; otherwise the one that is installed in the image is used.
    """

    folder: Path
    command: tuple[str, ...]
    has_code: bool

    @property
    def environment(self) -> dict[str, str]:
        """Variables that make workers import the package that travelled."""
        return {"PYTHONPATH": PACKAGES} if self.has_code else {}


@contextmanager
def packed(work: Work) -> Iterator[Parcel]:
    """Give the parcel of some work, and remove it.

    Raises:
        ConfigError: a file is too large to travel.
    """
    package = Path(str(thaw.__file__)).resolve().parent
    jobs = package.parents[1] / "jobs"
    has_code = package.parent.name == PACKAGES and jobs.is_dir()
    with TemporaryDirectory(prefix="thaw-submit-") as place:
        folder = Path(place)
        if has_code:
            shutil.copytree(package, folder / PACKAGES / package.name, ignore=_LEFT_OUT)
            shutil.copytree(jobs, folder / "jobs", ignore=_LEFT_OUT)
        names = _with_files(folder, work.files)
        _check_size(folder)
        words = renamed(work.arguments, names)
        if not has_code:
            say(f"thaw {thaw.__version__} is installed here, and so does not travel: the image's own is used")
        yield Parcel(folder, (*_begin(work.verb, has_code), *words), has_code)


def job_of(verb: str) -> str:
    """Return the file name of a verb's job: a folder with an inspect.py on the path would hide Python's own inspect."""
    name = verb.replace("-", "_")
    return f"{name}_.py" if name in sys.stdlib_module_names else f"{name}.py"


def _begin(verb: str, has_code: bool) -> tuple[str, ...]:
    return ("python", f"jobs/{job_of(verb)}") if has_code else ("thaw", verb)


def _with_files(folder: Path, files: Sequence[str]) -> Mapping[str, str]:
    """Copy files into the folder, and return as what a job will find each of them.

    One below the working directory keeps its relative path, for experiments name files that way.
    """
    names = {}
    for number, name in enumerate(files):
        path = Path(name)
        if not path.is_file():
            raise ConfigError(f"{name}: no such file here")
        inside = not path.is_absolute() and ".." not in path.parts
        target = path if inside else Path(_FILES) / f"{number}-{path.name}"
        (folder / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, folder / target)
        names[name] = target.as_posix()
    return names


def _check_size(folder: Path) -> None:
    sizes = {path: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    if sum(sizes.values()) > MOST_BYTES:
        largest = max(sizes, key=lambda path: sizes[path])
        raise ConfigError(
            f"{sum(sizes.values()) / 2**20:.0f} MiB would travel with the job and {MOST_BYTES // 2**20} may; the "
            f"largest file is {largest.relative_to(folder)}: put it where every node reaches it"
        )
