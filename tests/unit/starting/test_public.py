"""Data sets by name: what their makers laid out is described, recognised and read, and no network is said so."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from thaw import cli
from thaw.data import prepare
from thaw.errors import ConfigError, DataError
from thaw.starting import public, start
from thaw.starting.public import SETS


def jpeg(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((32, 40, 3), (shade % 256, 90, 60), dtype=np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


def plant(folder: Path, files: dict[str, bytes | str]) -> Path:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def pets() -> dict[str, bytes | str]:
    mask = io.BytesIO()
    Image.fromarray(np.repeat(np.array([2, 2, 3, 1, 3, 2, 2, 2], np.uint8), 5)[None].repeat(32, 0)).save(mask, "PNG")
    names = [f"{breed}_{number}" for breed in ("Abyssinian", "english_setter") for number in range(12)]
    lines = [f"{name} {1 + at // 12} {1 + at // 12} {1 + at % 12}" for at, name in enumerate(names)]
    sides = {"trainval": lines[:8] + lines[12:20], "test": lines[8:12] + lines[20:]}
    base = "oxford-iiit-pet"
    return {
        **{f"{base}/images/{name}.jpg": jpeg(at) for at, name in enumerate(names)},
        **{f"{base}/annotations/trimaps/{name}.png": mask.getvalue() for name in names},
        **{f"{base}/annotations/{side}.txt": "\n".join(found) for side, found in sides.items()},
    }


def flowers() -> dict[str, bytes | str]:
    savemat = pytest.importorskip("scipy.io", reason="scipy is not installed").savemat
    files: dict[str, bytes | str] = {f"flowers-102/jpg/image_{at:05d}.jpg": jpeg(at) for at in range(1, 25)}
    numbers = np.arange(1, 25)
    sides = {"trnid": numbers[:12], "valid": numbers[12:18], "tstid": numbers[18:]}
    for name, values in (("setid", sides), ("imagelabels", {"labels": 1 + numbers % 2})):
        buffer = io.BytesIO()
        savemat(buffer, {key: value[None] for key, value in values.items()})
        files[f"flowers-102/{name}.mat"] = buffer.getvalue()
    return files


def lists(count: int, name: str, ending: str = "") -> list[str]:
    return [f"{label}/{name.format(at)}{ending}" for label in ("banded", "dotted") for at in range(count)]


def textures() -> dict[str, bytes | str]:
    names = {side: lists(6, f"{{}}_{side}", ".jpg") for side in ("train", "val", "test")}
    labels = {f"dtd/dtd/labels/{side}1.txt": "\n".join(found) for side, found in names.items()}
    return labels | {f"dtd/dtd/images/{one}": jpeg(at) for found in names.values() for at, one in enumerate(found)}


def food() -> dict[str, bytes | str]:
    names = {side: lists(8, f"{at}{{}}") for at, side in enumerate(("train", "test"))}
    meta = {f"food-101/meta/{side}.txt": "\n".join(found) for side, found in names.items()}
    meta |= {f"food-101/meta/{side}.json": json.dumps({"banded": found}) for side, found in names.items()}
    return meta | {f"food-101/images/{one}.jpg": jpeg(at) for found in names.values() for at, one in enumerate(found)}


def aircraft() -> dict[str, bytes | str]:
    base, files = "fgvc-aircraft-2013b/data", dict[str, bytes | str]()
    for place, side in enumerate(("train", "val", "test")):
        numbers = [f"{place}{at:03d}" for at in range(9)]
        files |= {f"{base}/images/{number}.jpg": jpeg(at) for at, number in enumerate(numbers)}
        for level, names in (("variant", ("707-320", "A340 200", "A340 300")), ("family", ("707", "A340", "A340"))):
            said = [f"{number} {names[at % 3]}" for at, number in enumerate(numbers)]
            files |= {
                f"{base}/images_{level}_{side}.txt": "\n".join(said),
                f"{base}/variants.txt": "707-320\nA340 200\nA340 300",
            }
    return files


def eurosat() -> dict[str, bytes | str]:
    names = [f"{label}/{label}_{at}.jpg" for label in ("Forest", "River") for at in range(12)]
    return {f"eurosat/2750/{name}": jpeg(at) for at, name in enumerate(names)} | {"eurosat/EuroSAT.zip": b"zip"}


def voc2007() -> dict[str, bytes | str]:
    box = "<bndbox><xmin>2</xmin><ymin>3</ymin><xmax>20</xmax><ymax>30</ymax></bndbox>"
    said = f"<annotation><object><name>dog</name>{box}</object></annotation>"
    base, names = "VOCdevkit/VOC2007", [f"{at:06d}" for at in range(20)]
    sides = {"train": names[:10], "val": names[10:15], "trainval": names[:15], "test": names[15:]}
    return {
        **{f"{base}/JPEGImages/{name}.jpg": jpeg(at) for at, name in enumerate(names)},
        **{f"{base}/Annotations/{name}.xml": said for name in names},
        **{f"{base}/ImageSets/Main/{side}.txt": "\n".join(found) for side, found in sides.items()},
        **{
            f"{base}/ImageSets/Main/dog_{side}.txt": "\n".join(f"{name}  1" for name in found)
            for side, found in sides.items()
        },
        f"{base}/SegmentationClass/000001.png": b"",
        "VOCtrainval_06-Nov-2007.tar": b"tar",
    }


LAYOUTS = {
    "oxford-pets": (pets, {"breed": "classification", "species": None, "mask": "segmentation"}, (16, None, 8)),
    "flowers": (flowers, {"flower": "classification"}, (12, 6, 6)),
    "textures": (textures, {"texture": "classification"}, (12, 12, 12)),
    "food": (food, {"dish": "classification"}, (16, None, 16)),
    "aircraft": (aircraft, {"variant": "classification", "family": "classification"}, (9, 9, 9)),
    "eurosat": (eurosat, {"label": "classification"}, (None, None, None)),
    "voc2007": (voc2007, {"boxes": "detection"}, (10, 5, 5)),
}


def test_every_set_is_tried():
    assert LAYOUTS.keys() == SETS.keys()


@pytest.mark.parametrize("name", SETS)
def test_what_its_makers_laid_out_is_recognised_with_labels_and_splits(name, tmp_path):
    layout, tasks, sides = LAYOUTS[name]
    public.describe(name, plant(tmp_path / name, layout()))
    experiment = start.start(str(tmp_path / name)).experiment
    wanted = {task: kind for task, kind in tasks.items() if kind}
    assert {task: options.type for task, options in experiment.tasks.items()} == wanted
    source = prepare.open_source(experiment.data.source)
    references = list(source.references())
    assert tuple(sum(one.split == side for one in references) or None for side in ("train", "val", "test")) == sides
    assert all(source.read(one.id, 2) == b"\xff\xd8" for one in references)


def test_names_and_masks_of_pets_are_those_of_their_files(tmp_path):
    plant(tmp_path, pets())
    assert public.describe("oxford-pets", tmp_path).images == 24
    rows = [json.loads(line) for line in (tmp_path / public.TABLE).read_text().splitlines()]
    assert {(row["breed"], row["species"]) for row in rows} == {("Abyssinian", "cat"), ("english_setter", "dog")}
    assert all(Path(row["file_name"]).stem == Path(row["mask_file_name"]).stem for row in rows)
    assert all(Path(row["file_name"]).stem.startswith(row["breed"]) for row in rows)


def test_flowers_have_the_names_that_go_with_their_numbers(tmp_path):
    plant(tmp_path, flowers())
    public.describe("flowers", tmp_path)
    rows = [json.loads(line) for line in (tmp_path / public.TABLE).read_text().splitlines()]
    assert [row["flower"] for row in rows[:2]] == ["hard-leaved pocket orchid", "pink primrose"]  # 2 and 1


@pytest.fixture
def no_network(monkeypatch):
    """Let every request end at a port that nobody listens at."""
    for scheme in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(scheme, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("NO_PROXY", "")


@pytest.mark.parametrize("name", ["oxford-pets", "textures", "food", "aircraft", "eurosat"])
def test_what_is_there_is_not_downloaded_again(name, tmp_path, no_network, capsys):
    plant(tmp_path, LAYOUTS[name][0]())
    assert cli.run(["fetch", name, "--out", str(tmp_path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["folder"] == str(tmp_path)
    assert told["page"].startswith("http")


@pytest.mark.parametrize("name", SETS)
def test_without_a_network_it_says_what_to_do(name, tmp_path, no_network, capsys):
    assert cli.run(["fetch", name, "--out", str(tmp_path / "new")]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert f"{name}: cannot be downloaded to {tmp_path / 'new'}" in told.err
    assert "copy the folder" in told.err
    assert "Traceback" not in told.err


def test_a_set_that_is_not_whole_is_refused_with_what_is_missing(tmp_path):
    plant(tmp_path, pets())
    (tmp_path / "oxford-iiit-pet/images/Abyssinian_3.jpg").unlink()
    with pytest.raises(DataError, match=r"oxford-pets in it is not whole .*Abyssinian_3\.jpg is missing"):
        public.describe("oxford-pets", tmp_path)
    (tmp_path / "oxford-iiit-pet/annotations/test.txt").write_text("a line of another layout, with more words\n")
    with pytest.raises(DataError, match="not whole"):
        public.describe("oxford-pets", tmp_path)
    (tmp_path / "oxford-iiit-pet/annotations/trainval.txt").unlink()
    with pytest.raises(DataError, match="not whole"):
        public.fetch("oxford-pets", tmp_path)
    assert not (tmp_path / public.TABLE).exists()


def test_another_name_and_a_store_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="'flower' is not one of oxford-pets.*did you mean 'flowers'"):
        public.fetch("flower", tmp_path)
    with pytest.raises(ConfigError, match="a folder of this machine"):
        public.fetch("flowers", Path("s3://bucket/flowers"))


def test_without_a_name_all_are_listed(capsys):
    assert cli.run(["fetch"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(SETS)
