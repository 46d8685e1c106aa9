"""Public: well-known data sets by name, as torchvision downloads them, in folders that `thaw init` recognises.

The files stay as their makers laid them out; a table beside them says what each image shows. Nothing is converted, so
nothing is lost, and a set that was unpacked by other means is described alike.
"""

import contextlib
import importlib.util
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from thaw.catalog import did_you_mean
from thaw.errors import ConfigError, DataError
from thaw.storage import SCHEMES, open_root

TABLE = "metadata.jsonl"
_TRIMAP = "the masks are outlines of the pet: 1 is its inside, 2 the background, 3 the edge, which nobody decided"

_Row = Mapping[str, str | None]


@dataclass(frozen=True)
class PublicSet:
    """One data set.

    Attributes:
        seen: what it holds, in a few words.
        page: where its makers describe it, and say how it may be used.
        needs: what is on disk at the end, in GB.
        downloads: torchvision's class, and the options of every call that is needed to have all of it.
        rows: says what each image shows, given the folder; None where the layout is one that Thaw reads as it is.
        note: what nobody could guess.
        module: what must be installed to read it.
    """

    seen: str
    page: str
    needs: float
    downloads: tuple[str, tuple[Mapping[str, Any], ...]]
    rows: Callable[[Path], Iterable[_Row]] | None = None
    note: str = ""
    module: str = ""


@dataclass(frozen=True)
class Fetched:
    """A data set on this machine's disk.

    Attributes:
        images: that the table names; None where there is no table.
    """

    folder: Path
    images: int | None


def fetch(name: str, folder: Path) -> Fetched:
    """Download a data set, unless it is there, and describe it.

    Raises:
        ConfigError: there is no such set, or the folder is none of this machine.
        DataError: it cannot be downloaded, or what is there is not whole.
    """
    known(name)
    if str(folder).replace(":/", "://").startswith(SCHEMES):
        raise ConfigError("--out: data sets are unpacked in a folder of this machine; copy it to the store afterwards")
    _download(name, folder)
    return describe(name, folder)


def known(name: str) -> PublicSet:
    """Return a data set by its name.

    Raises:
        ConfigError: there is none.
    """
    if name not in SETS:
        raise ConfigError(f"{name!r} is not one of {', '.join(SETS)}{did_you_mean(name, SETS)}")
    return SETS[name]


def describe(name: str, folder: Path) -> Fetched:
    """Write the table of a data set that was unpacked into a folder.

    Raises:
        DataError: files are missing, or are not as its makers laid them out.
    """
    rows = known(name).rows
    _check_module(name)
    if rows is None:
        return Fetched(folder, None)
    try:
        said = list(rows(folder))
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise _broken(name, folder, f"{type(error).__name__}: {error}") from None
    paths = (row[key] for row in said for key in ("file_name", "mask_file_name") if row.get(key))
    missing = next((path for path in paths if not (folder / str(path)).is_file()), None)
    if missing or not said:
        raise _broken(name, folder, f"{missing} is missing" if missing else "no image is in it")
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in said)
    open_root(str(folder)).write_bytes(TABLE, lines.encode())
    return Fetched(folder, len(said))


def _check_module(name: str) -> None:
    module = SETS[name].module
    if module and importlib.util.find_spec(module) is None:
        raise DataError(f"{name}: {module} is needed to read it: pip install 'thaw[fetch]'")


def _broken(name: str, folder: Path, why: str) -> DataError:
    return DataError(f"{folder}: {name} in it is not whole ({why}); remove the folder and fetch it again")


def _download(name: str, folder: Path) -> None:
    import torchvision.datasets

    _check_module(name)
    kind, calls = SETS[name].downloads
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.redirect_stdout(sys.stderr):  # torchvision prints what it does, and stdout is for results
            for options in calls:
                getattr(torchvision.datasets, kind)(str(folder), download=True, **options)
    except (FileNotFoundError, KeyError, ValueError) as error:  # what is there already is not laid out as it should be
        raise _broken(name, folder, f"{type(error).__name__}: {error}") from None
    except (OSError, RuntimeError, EOFError) as error:
        raise DataError(
            f"{name}: cannot be downloaded to {folder} ({' '.join(str(error).split())}); this takes a network that "
            f"reaches {SETS[name].page} and about {SETS[name].needs:g} GB. Without one, run the same line where there "
            "is one, and copy the folder"
        ) from None


def _lines(file: Path) -> Iterator[str]:
    yield from (line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip())


def _pets(folder: Path) -> Iterator[_Row]:
    base = "oxford-iiit-pet"
    for split, file in (("train", "trainval.txt"), ("test", "test.txt")):
        for line in _lines(folder / base / "annotations" / file):
            image, _, species, _ = line.split()
            yield {
                "file_name": f"{base}/images/{image}.jpg",
                "breed": image.rpartition("_")[0],
                "species": ("cat", "dog")[int(species) - 1],
                "mask_file_name": f"{base}/annotations/trimaps/{image}.png",
                "split": split,
            }


def _flowers(folder: Path) -> Iterator[_Row]:
    from scipy.io import loadmat
    from torchvision.datasets import Flowers102

    base = folder / "flowers-102"
    labels = loadmat(base / "imagelabels.mat", squeeze_me=True)["labels"].tolist()
    sides = loadmat(base / "setid.mat", squeeze_me=True)
    for split, key in (("train", "trnid"), ("val", "valid"), ("test", "tstid")):
        for number in sides[key].tolist():
            flower = Flowers102.classes[labels[number - 1] - 1]
            yield {"file_name": f"flowers-102/jpg/image_{number:05d}.jpg", "flower": flower, "split": split}


def _textures(folder: Path) -> Iterator[_Row]:
    for split in ("train", "val", "test"):
        for line in _lines(folder / "dtd" / "dtd" / "labels" / f"{split}1.txt"):
            yield {"file_name": f"dtd/dtd/images/{line}", "texture": line.partition("/")[0], "split": split}


def _food(folder: Path) -> Iterator[_Row]:
    for split in ("train", "test"):
        for line in _lines(folder / "food-101" / "meta" / f"{split}.txt"):
            yield {"file_name": f"food-101/images/{line}.jpg", "dish": line.partition("/")[0], "split": split}


def _aircraft(folder: Path) -> Iterator[_Row]:
    base = "fgvc-aircraft-2013b/data"
    for split in ("train", "val", "test"):
        read = partial(_of_aircraft, folder / base, split)
        families = dict(read("family"))
        for image, variant in read("variant"):
            path = f"{base}/images/{image}.jpg"
            yield {"file_name": path, "variant": variant, "family": families[image], "split": split}


def _of_aircraft(base: Path, split: str, level: str) -> Iterator[tuple[str, str]]:
    for line in _lines(base / f"images_{level}_{split}.txt"):
        image, _, name = line.partition(" ")
        yield image, name


def _each(splits: Iterable[str]) -> tuple[Mapping[str, Any], ...]:
    return tuple({"split": split} for split in splits)


SETS: Mapping[str, PublicSet] = {
    "oxford-pets": PublicSet(
        "7,349 cats and dogs of 37 breeds, with masks",
        "https://www.robots.ox.ac.uk/~vgg/data/pets/",
        1.6,
        ("OxfordIIITPet", _each(["trainval"])),
        _pets,
        _TRIMAP,
    ),
    "flowers": PublicSet(
        "8,189 flowers of 102 kinds",
        "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/",
        0.7,
        ("Flowers102", _each(["train"])),
        _flowers,
        module="scipy",
    ),
    "textures": PublicSet(
        "5,640 textures, described by 47 words",
        "https://www.robots.ox.ac.uk/~vgg/data/dtd/",
        1.3,
        ("DTD", _each(["train"])),
        _textures,
    ),
    "food": PublicSet(
        "101,000 photographs of 101 dishes",
        "https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/",
        10.0,
        ("Food101", _each(["train"])),
        _food,
    ),
    "aircraft": PublicSet(
        "10,000 aircraft of 100 variants and 70 families",
        "https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/",
        5.5,
        ("FGVCAircraft", _each(["train"])),
        _aircraft,
    ),
    "eurosat": PublicSet(
        "27,000 satellite images of 10 kinds of land",
        "https://github.com/phelber/eurosat",
        0.2,
        ("EuroSAT", ({},)),
    ),
    "voc2007": PublicSet(
        "9,963 photographs with boxes of 20 kinds of things",
        "http://host.robots.ox.ac.uk/pascal/VOC/voc2007/",
        1.8,
        ("VOCDetection", tuple({"year": "2007", "image_set": part} for part in ("trainval", "test"))),
    ),
}
"""Every data set by its name."""
