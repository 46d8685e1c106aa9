"""Every source keeps the contract: stable unique references, bytes on demand, options that travel as JSON."""

import io
import json
import os
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from PIL import Image

from thaw import catalog
from thaw.config.experiment import Limits
from thaw.config.load import parse
from thaw.data import logged, quality
from thaw.data.check import examine, questions
from thaw.data.dataset import encoded
from thaw.data.prepare import open_source, plan
from thaw.data.rle import encode
from thaw.data.shards import shard_table
from thaw.data.sources.contract import RawBoxes, RawMask, Reference, UnreadBoxes
from thaw.errors import DataError
from thaw.starting import recognition
from thaw.storage import open_root

WIDTH, HEIGHT = 20, 16
IMAGES = [(f"{label}/{label}{index}.png", label) for label in ("cat", "dog") for index in range(4)]
NAMES = ("cat", "dog")
MEANINGS = {0: "background", 1: "cat", 2: "dog"}


def _boxes(place):
    """Return the boxes of one image, as (x0, y0, x1, y1, name); none on some images."""
    random = np.random.default_rng(place)
    corners = np.sort([random.choice(WIDTH, (place % 4, 2)), random.choice(HEIGHT, (place % 4, 2))], axis=-1)
    return [
        (*map(int, (x0, y0, x1 + 1, y1 + 1)), NAMES[(place + at) % 2])
        for at, ((x0, x1), (y0, y1)) in enumerate(zip(*corners, strict=True))
    ]


def _mask(place):
    """Return the mask of one image: its boxes, filled one after the other."""
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    for x0, y0, x1, y1, name in _boxes(place):
        mask[y0:y1, x0:x1] = 1 + NAMES.index(name)
    return mask


def _png(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "PNG")
    path.write_bytes(encoded.getvalue())


def _write_images(folder):
    for place, (name, _) in enumerate(IMAGES):
        _png(folder / name, np.full((HEIGHT, WIDTH, 3), place, dtype=np.uint8))


def _write_masks(folder):
    for place, (name, _) in enumerate(IMAGES):
        _png(folder / name, _mask(place))


def _folder(folder):
    _write_images(folder)
    return {"path": str(folder)}


def _table(folder):
    _write_images(folder)
    _write_masks(folder / "masks")
    with (folder / "metadata.jsonl").open("w") as file:
        for place, (name, label) in enumerate(IMAGES):
            found = _boxes(place)
            boxes = {
                "bbox": [[x0, y0, x1 - x0, y1 - y0] for x0, y0, x1, y1, _ in found],
                "categories": [name for *_, name in found],
            }
            row = {"file_name": name, "label": label, "boxes": boxes, "mask_file_name": f"masks/{name}"}
            file.write(json.dumps(row) + "\n")
    return {"path": str(folder), "mask_values": MEANINGS}


def _coco_annotation(number, image, box):
    x0, y0, x1, y1, name = box
    covered = np.zeros((HEIGHT, WIDTH), dtype=bool)
    covered[y0:y1, x0:x1] = True
    forms = (
        [[x0, y0, x1, y0, x1, y1, x0, y1]],
        {"size": [HEIGHT, WIDTH], "counts": encode(covered).counts},
        {"size": [HEIGHT, WIDTH], "counts": _plain_runs(covered)},
    )
    category, bbox = 7 + NAMES.index(name), [x0, y0, x1 - x0, y1 - y0]
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "bbox": bbox,
        "iscrowd": 0,
        "segmentation": forms[number % 3],
    }


def _plain_runs(covered):
    runs, value = [0], False
    for pixel in covered.T.ravel():
        if pixel != value:
            runs, value = [*runs, 0], pixel
        runs[-1] += 1
    return runs


def _coco(folder):
    _write_images(folder)
    images = [
        {"id": 100 + place, "file_name": name, "width": WIDTH, "height": HEIGHT}
        for place, (name, _) in enumerate(IMAGES)
    ]
    found = [(100 + place, box) for place in range(len(IMAGES)) for box in _boxes(place)]
    annotations = [_coco_annotation(number, *one) for number, one in enumerate(found)]
    categories = [{"id": 7 + place, "name": name} for place, name in enumerate(NAMES)]
    said = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(said))
    return {"path": str(folder)}


def _voc(folder):
    _write_images(folder / "JPEGImages")
    (folder / "Annotations").mkdir()
    for place, (name, _) in enumerate(IMAGES):
        objects = "".join(
            f"<object><name>{name}</name><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax>"
            "</bndbox></object>"
            for x0, y0, x1, y1, name in _boxes(place)
        )
        text = f"<annotation>{objects}</annotation>"
        (folder / "Annotations" / f"{PurePosixPath(name).stem}.xml").write_text(text)
    return {"path": str(folder)}


def _yolo(folder):
    _write_images(folder / "images")
    for place, (name, _) in enumerate(IMAGES):
        lines = [yolo_line(NAMES.index(name), box, WIDTH, HEIGHT) for *box, name in _boxes(place)]
        text = (folder / "labels" / name).with_suffix(".txt")
        text.parent.mkdir(parents=True, exist_ok=True)
        if lines:
            text.write_text("\n".join(lines) + "\n")
    return {"path": str(folder), "names": NAMES}


def yolo_line(number, box, width, height):
    x0, y0, x1, y1 = box
    return f"{number} {(x0 + x1) / 2 / width} {(y0 + y1) / 2 / height} {(x1 - x0) / width} {(y1 - y0) / height}"


def _masks(folder):
    _write_images(folder / "images")
    _write_masks(folder / "masks")
    return {"path": str(folder), "names": MEANINGS}


def _feedback(folder):
    """Write what an endpoint logs on a day, in two files, and what it is told on the next: boxes are x0, y0, x1, y1."""
    root, log, said = open_root(str(folder)), [], []
    now = datetime(2026, 11, 25, 12, tzinfo=UTC)
    for place, (name, label) in enumerate(IMAGES):
        content = io.BytesIO()
        Image.fromarray(np.full((HEIGHT, WIDTH, 3), place, dtype=np.uint8)).save(content, "PNG")
        row = {"time": now, "request_id": PurePosixPath(name).stem, "version": 1, "image": content.getvalue()}
        log.append({**row, "whole": True, "answer": "{}", "decided": []})
        boxes = {"boxes": [box for *box, _ in _boxes(place)], "names": [name for *_, name in _boxes(place)]}
        for task, true in (("label", label), ("boxes", boxes)):
            told = {"time": now + timedelta(days=1), "request_id": row["request_id"], "task": task}
            said.append({**told, "label": json.dumps(true)})
    log += [{**log[0], "request_id": "unspoken"}, {**log[0], "whole": False}]
    for part, rows in enumerate((log[:5], log[5:])):
        root.write_bytes(f"{logged.LOG}/little/2026-11-25/a-{part}.parquet", logged.written(rows, logged.ANSWERS))
    root.write_bytes(f"{logged.FEEDBACK}/little/2026-11-26/b.parquet", logged.written(said, logged.TRUTHS))
    return {"path": str(folder), "model": "little"}


def _boards(_folder):
    return {"images": 8, "size": 64}


MAKERS = {
    "folder": _folder,
    "table": _table,
    "coco": _coco,
    "voc": _voc,
    "yolo": _yolo,
    "masks": _masks,
    "boards": _boards,
    "feedback": _feedback,
}
"""How to make a little source of each kind; a new source needs one here."""
PLACES = {"folder": "", "table": "", "coco": "", "voc": "JPEGImages", "yolo": "images", "masks": "images"}
"""Where each kind on disk keeps the images."""
KINDS = catalog.names("data.sources")
ON_DISK = tuple(PLACES)


def options(kind, folder):
    return catalog.part("data.sources", kind).Options(type=kind, **MAKERS[kind](folder))


@pytest.fixture(params=KINDS)
def source(request, tmp_path):
    return open_source(options(request.param, tmp_path))


def test_every_source_is_under_test():
    assert set(MAKERS) == set(KINDS)


def test_references_are_unique_and_come_in_a_stable_order(source):
    first, second = list(source.references()), list(source.references())
    assert first == second
    assert len(first) >= 5
    assert len({one.id for one in first}) == len(first)
    assert list(type(source)(source.options).references()) == first


def test_references_hold_plain_values(source):
    for one in source.references():
        assert isinstance(one, Reference)
        assert one.split in ("train", "val", "test", None)
        assert one.labels
        for column, label in one.labels.items():
            assert isinstance(column, str)
            assert label is None or isinstance(label, str | tuple | RawBoxes | UnreadBoxes | RawMask)
        assert one.id == str(one.id)
        assert not one.id.startswith("/")


def test_every_reference_reads_as_the_bytes_of_an_image_and_always_the_same(source):
    for one in source.references():
        content = source.read(one.id)
        assert isinstance(content, bytes)
        assert source.read(one.id) == content
        assert quality.decode(content, Limits()).shape[2] == 3


def test_every_image_passes_the_check_of_preparing(source):
    tasks = {"boxes": "detection", "defects": "detection", "mask": "segmentation", "copper": "segmentation"}
    columns = next(source.references()).labels
    chosen = {name: kind for name, kind in tasks.items() if name in columns} or {next(iter(columns)): "classification"}
    facts = _facts(source, _experiment(source.options, chosen))
    assert [(fact["reason"], fact["set_aside"]) for fact in facts] == [(None, [])] * len(facts)
    pictured = {name for name, kind in chosen.items() if kind != "classification"}
    assert all(fact["labels"].keys() == pictured for fact in facts)


@pytest.mark.parametrize("kind", KINDS)
def test_options_travel_as_json_and_make_the_same_source(kind, tmp_path):
    made = options(kind, tmp_path)
    again = type(made).model_validate(json.loads(json.dumps(made.model_dump(mode="json"))))
    assert again == made
    here, there = open_source(made), open_source(again)
    assert list(here.references()) == list(there.references())
    first = next(here.references()).id
    assert here.read(first) == there.read(first)


@pytest.mark.parametrize("kind", KINDS)
def test_options_refuse_unknown_keys_and_the_name_of_another_source(kind, tmp_path):
    values = options(kind, tmp_path).model_dump(mode="json")
    for change in ({"unheard_of": 1}, {"type": "another"}):
        with pytest.raises(ValueError, match="unheard_of|another"):
            catalog.part("data.sources", kind).Options(**values | change)


def _experiment(source, tasks, **changes):
    values = {"source": source.model_dump(mode="json"), "split": {"val": 0.2, "test": 0.2}, "max_rejected": 1}
    named = {name: {"type": kind} for name, kind in tasks.items()}
    return parse({"name": "little", "data": values | changes, "tasks": named}, "e.yaml")


def _facts(source, experiment):
    """Return what is found of every image, as it travels between processes."""
    asked = questions(experiment, source.references())
    travelled = [type(one).model_validate(json.loads(json.dumps(one.model_dump()))) for one in asked]
    assert travelled == asked
    return json.loads(json.dumps(list(examine(source, travelled, Limits()))))


def _samples(options, tasks, **changes):
    """Return what training sees of every image, by the stem of its name, and the plan."""
    made, source = _experiment(options, tasks, **changes), open_source(options)
    planned = plan(made, list(source.references()), _facts(source, made))
    found = {}
    for rows in json.loads(json.dumps({**planned.rows})).values():
        table = shard_table(source, rows, planned.dataset.labels, made.data.reencode, Limits())
        for place in range(table.num_rows):
            image_id, image, annotations = encoded(table, place)
            found[PurePosixPath(image_id).stem] = (quality.decode(image, Limits()).tolist(), annotations)
    return found, planned


@pytest.mark.parametrize("kind", ["folder", "table"])
def test_the_same_classes_are_the_same_samples_in_every_format(kind, tmp_path):
    found, planned = _samples(options(kind, tmp_path), {"label": "classification"})
    assert planned.dataset.labels["label"].names == NAMES
    assert {stem: carried["label"] for stem, (_, carried) in found.items()} == {
        PurePosixPath(name).stem: NAMES.index(label) for name, label in IMAGES
    }
    _check_pixels(found)


@pytest.mark.parametrize("kind", ["table", "coco", "voc", "yolo"])
def test_the_same_boxes_are_the_same_samples_in_every_format(kind, tmp_path):
    found, planned = _samples(options(kind, tmp_path), {"boxes": "detection"})
    assert planned.dataset.labels["boxes"].names == NAMES
    assert (planned.rejected, planned.set_aside) == ([], [])
    for place, (name, _) in enumerate(IMAGES):
        boxes = found[PurePosixPath(name).stem][1]["boxes"]
        assert boxes.boxes.tolist() == [list(box) for *box, _ in _boxes(place)]
        assert boxes.labels.tolist() == [NAMES.index(label) for *_, label in _boxes(place)]
    _check_pixels(found)


@pytest.mark.parametrize("kind", ["table", "coco", "masks"])
def test_the_same_masks_are_the_same_samples_in_every_format(kind, tmp_path):
    found, planned = _samples(options(kind, tmp_path), {"mask": "segmentation"})
    assert planned.dataset.labels["mask"].names == ("background", *NAMES)
    assert (planned.rejected, planned.set_aside) == ([], [])
    for place, (name, _) in enumerate(IMAGES):
        assert np.array_equal(found[PurePosixPath(name).stem][1]["mask"], _mask(place))
    _check_pixels(found)


@pytest.fixture
def stored(tmp_path, s3_uri):
    """Make a little source of a kind, copy it to S3, and return the options of both."""

    def _stored(kind):
        here = options(kind, tmp_path)
        bucket, _, query = s3_uri.partition("?")
        prefix = uuid.uuid4().hex[:8]
        open_root(s3_uri).upload(tmp_path, prefix)
        return here, here.model_copy(update={"path": f"{bucket}/{prefix}?{query}"})

    return _stored


COLUMNS = {"label": "classification", "boxes": "detection", "mask": "segmentation"}


@pytest.mark.parametrize("kind", ON_DISK)
def test_a_source_in_an_object_store_gives_the_same_samples_as_on_a_disk(kind, stored):
    here, there = stored(kind)
    local, remote = open_source(here), open_source(there)
    references = list(local.references())
    assert list(remote.references()) == references
    assert [remote.read(one.id, 20) for one in references] == [local.read(one.id)[:20] for one in references]
    tasks = {column: task for column, task in COLUMNS.items() if column in references[0].labels}
    (ours, planned), (theirs, again) = _samples(here, tasks), _samples(there, tasks)
    assert again.dataset == planned.dataset
    assert ours.keys() == theirs.keys()
    for stem, (pixels, carried) in ours.items():
        assert theirs[stem][0] == pixels
        for task, schema in planned.dataset.labels.items():
            assert schema.to_json(theirs[stem][1][task]) == schema.to_json(carried[task])


@pytest.mark.parametrize("kind", ON_DISK)
def test_listing_an_object_store_opens_no_image_and_missing_ones_are_an_os_error(kind, stored):
    here, there = stored(kind)
    before = list(open_source(here).references())
    root, source, place = open_root(there.path), open_source(there), PurePosixPath(PLACES[kind])
    for name, _ in IMAGES:
        root.write_bytes(str(place / name), b"no image any more")
    assert list(source.references()) == before
    root.remove(str(place / IMAGES[0][0]))
    prefix = PurePosixPath("" if kind == "coco" else PLACES[kind])
    for image_id in (IMAGES[0][0], "never/was.png", "cat"):
        with pytest.raises(OSError):
            source.read(str(prefix / image_id))
    with pytest.raises(DataError, match=r"data\.source\.path"):
        list(open_source(there.model_copy(update={"path": root.uri_of("missing")})).references())


@pytest.mark.parametrize("place", ["disk", "object store"])
@pytest.mark.parametrize("kind", ON_DISK)
def test_every_source_recognises_its_own_format_and_no_other_is_as_sure(kind, place, request, tmp_path):
    made = options(kind, tmp_path) if place == "disk" else request.getfixturevalue("stored")(kind)[1]
    found = recognition.find(made.path)
    assert found.type == kind
    assert found.others == ()
    asked = {other: catalog.part("data.sources", other).recognise(found.folder) for other in ON_DISK}
    assert all(
        one is None or one.confidence < found.recognised.confidence for name, one in asked.items() if name != kind
    )
    listed = {one.id: one.labels.keys() for one in open_source(found.options()).references()}
    assert listed == {one.id: one.labels.keys() for one in open_source(made).references()}


def test_a_source_that_lies_in_files_recognises_them_and_one_that_is_drawn_need_not():
    assert {name for name in KINDS if hasattr(catalog.part("data.sources", name), "recognise")} == set(ON_DISK)


def _check_pixels(found):
    assert {stem: pixels[0][0][0] for stem, (pixels, _) in found.items()} == {
        PurePosixPath(name).stem: place for place, (name, _) in enumerate(IMAGES)
    }


@pytest.fixture
def blood():
    root = os.environ.get("THAW_DATA")
    if not root or not (Path(root) / "blood").is_dir():
        pytest.skip("THAW_DATA names no folder with the data set blood")
    return Path(root) / "blood"


def test_real_boxes_are_the_same_in_every_format_and_degenerate_ones_are_named(blood, tmp_path):
    formats = {
        "voc": {"path": str(blood)},
        "coco": {"path": str(blood / "coco"), "images": "../JPEGImages"},
        "yolo": {"path": str(_as_yolo(blood, tmp_path))},
    }
    found = {}
    for kind, values in formats.items():
        made = catalog.part("data.sources", kind).Options(type=kind, **values)
        experiment, source = _experiment(made, {"boxes": "detection"}), open_source(made)
        planned = plan(experiment, list(source.references()), _facts(source, experiment))
        report = planned.dataset.report
        assert (report.listed, report.rejected, report.set_aside) == (364, {}, {"box_degenerate": 2})
        assert {PurePosixPath(one["id"]).stem for one in planned.set_aside} == _degenerate(blood)
        assert [planned.dataset.rows(split) for split in ("train", "val", "test")] == [205, 87, 72]
        counts = [report.classes[split]["boxes"] for split in report.classes]
        assert {name: sum(one[name] for one in counts) for name in counts[0]} == {
            "Platelets": 361,
            "RBC": 4155 - 2,
            "WBC": 372,
        }
        found[kind] = {
            PurePosixPath(row["id"]).stem: (row["split"], row["annotations"]["boxes"])
            for rows in planned.rows.values()
            for row in rows
        }
    assert found["voc"] == found["coco"] == found["yolo"]


def _coco_files(blood):
    for split in ("train", "val", "test"):
        yield split, json.loads((blood / "coco" / f"{split}.json").read_text())


def _degenerate(blood):
    found = set()
    for _, said in _coco_files(blood):
        names = {one["id"]: PurePosixPath(one["file_name"]).stem for one in said["images"]}
        found |= {names[one["image_id"]] for one in said["annotations"] if min(one["bbox"][2:]) < 1}
    return found


def _as_yolo(blood, folder):
    """Write the COCO version of a data set in the layout of YOLO, with links for the images."""
    names = []
    for split, said in _coco_files(blood):
        (folder / "images" / split).mkdir(parents=True)
        (folder / "labels" / split).mkdir(parents=True)
        names = [one["name"] for one in said["categories"]]
        for image in said["images"]:
            (folder / "images" / split / image["file_name"]).symlink_to(blood / "JPEGImages" / image["file_name"])
            lines = [
                yolo_line(one["category_id"] - 1, (x, y, x + width, y + height), image["width"], image["height"])
                for one in said["annotations"]
                if one["image_id"] == image["id"]
                for x, y, width, height in [one["bbox"]]
            ]
            stem = PurePosixPath(image["file_name"]).stem
            (folder / "labels" / split / f"{stem}.txt").write_text("\n".join(lines))
    (folder / "data.yaml").write_text(f"names: {json.dumps(names)}\ntrain: images/train\nval: images/val\n")
    with (folder / "data.yaml").open("a") as file:
        file.write("test: images/test\n")
    return folder


@pytest.mark.parametrize("kind", ON_DISK)
def test_a_place_that_is_not_there_is_the_users_to_mend(kind, tmp_path):
    values = options(kind, tmp_path).model_dump(mode="json") | {"path": str(tmp_path / "missing")}
    made = catalog.part("data.sources", kind).Options(**values)
    with pytest.raises(DataError, match=r"data\.source\.path"):
        list(open_source(made).references())


@pytest.mark.parametrize("kind", ON_DISK)
def test_listing_opens_no_image(kind, tmp_path):
    made = open_source(options(kind, tmp_path))
    before = list(made.references())
    for name, _ in IMAGES:
        (tmp_path / PLACES[kind] / name).write_bytes(b"no image any more")
    assert list(made.references()) == before


def _stamps(made):
    """Return the stamps of all that a source knows of, by kind and id."""
    ids = {"image": [], "boxes": [], "mask": []}
    for one in made.references():
        ids["image"].append(one.id)
        for label in one.labels.values():
            if isinstance(label, UnreadBoxes | RawMask):
                ids["boxes" if isinstance(label, UnreadBoxes) else "mask"].append(label.id)
    return {
        (of, name): stamp
        for of, names in ids.items()
        for name, stamp in zip(names, made.stamps(names, of), strict=True)
    }


def test_every_image_box_file_and_mask_has_a_stamp_that_stays_the_same(source):
    found = _stamps(source)
    assert found
    assert all(found.values())
    assert _stamps(type(source)(source.options)) == found


@pytest.mark.parametrize("kind", ON_DISK)
def test_another_image_has_another_stamp_and_a_missing_one_none(kind, tmp_path):
    made = open_source(options(kind, tmp_path))
    before = _stamps(made)
    image = tmp_path / PLACES[kind] / IMAGES[0][0]
    image.write_bytes(b"another")
    after = _stamps(made)
    changed = [of for of in before if before[of] != after[of]]
    assert [(of, PurePosixPath(name).name) for of, name in changed] == [("image", image.name)]
    image.unlink()
    assert made.stamps([changed[0][1], "never/was.png"], "image") == [None, None]


@pytest.mark.parametrize("kind", ON_DISK)
def test_another_image_in_an_object_store_has_another_stamp_and_a_missing_one_none(kind, stored):
    _, there = stored(kind)
    before, root = _stamps(open_source(there)), open_root(there.path)
    assert all(before.values())
    image = str(PurePosixPath(PLACES[kind]) / IMAGES[0][0])
    root.write_bytes(image, b"another")
    after = _stamps(open_source(there))
    [(of, name)] = [one for one in before if before[one] != after[one]]
    assert (of, PurePosixPath(name).name) == ("image", PurePosixPath(image).name)
    root.remove(image)
    assert open_source(there).stamps([name, "never/was.png", "no\\name.png"], "image") == [None, None, None]


@pytest.mark.parametrize(
    ("kind", "file"),
    [
        ("table", "masks/cat/cat1.png"),
        ("masks", "masks/cat/cat1.png"),
        ("voc", "Annotations/cat1.xml"),
        ("yolo", "labels/cat/cat1.txt"),
    ],
)
def test_another_file_of_labels_has_another_stamp(kind, file, tmp_path):
    made = open_source(options(kind, tmp_path))
    before = _stamps(made)
    (tmp_path / file).write_bytes(b"another")
    after = _stamps(made)
    [(of, name)] = [one for one in before if before[one] != after[one]]
    assert of in ("mask", "boxes")
    assert PurePosixPath(name).stem == "cat1"


def test_masks_of_coco_have_the_stamp_of_their_own_annotations(tmp_path):
    made = open_source(options("coco", tmp_path))
    before = _stamps(made)
    said = json.loads((tmp_path / "annotations.json").read_text())
    changed = said["annotations"][0]
    changed["segmentation"] = [[0, 0, 1, 0, 1, 1]]
    said["images"].append({"id": 999, "file_name": "new.png", "width": WIDTH, "height": HEIGHT})
    (tmp_path / "annotations.json").write_text(json.dumps(said))
    after = _stamps(open_source(made.options))
    assert [name for name in before if before[name] != after[name]] == [
        ("mask", f"annotations.json:{changed['image_id']}")
    ]


def test_boxes_of_yolo_have_another_stamp_once_classes_are_renamed(tmp_path):
    values = options("yolo", tmp_path).model_dump()
    renamed = catalog.part("data.sources", "yolo").Options(**values | {"names": ("cat", "wolf")})
    before, after = (_stamps(open_source(one)) for one in (options("yolo", tmp_path), renamed))
    assert {of for of, name in before if before[of, name] != after[of, name]} == {"boxes"}


@pytest.mark.parametrize("kind", ON_DISK)
def test_bytes_that_cannot_be_read_are_an_os_error(kind, tmp_path):
    made = open_source(options(kind, tmp_path))
    (tmp_path / PLACES[kind] / IMAGES[0][0]).unlink()
    prefix = PurePosixPath("" if kind == "coco" else PLACES[kind])
    for image_id in (IMAGES[0][0], "never/was.png", "cat"):
        with pytest.raises(OSError):
            made.read(str(prefix / image_id))
    assert made.read(str(prefix / IMAGES[1][0]))
