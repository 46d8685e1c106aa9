"""What users said of answers becomes labels of the images that were sent, and of these alone."""

import json
from datetime import UTC, date, datetime

import pytest

from thaw.data import logged
from thaw.data.logged import ANSWERS, FEEDBACK, LOG, TRUTHS, written
from thaw.data.sources.contract import RawBoxes
from thaw.data.sources.feedback import Options, Source
from thaw.errors import DataError
from thaw.storage import Root, open_root

FIRST, SECOND = datetime(2026, 11, 24, 23, 59, tzinfo=UTC), datetime(2026, 11, 25, tzinfo=UTC)


@pytest.fixture
def store(tmp_path) -> Root:
    return open_root(str(tmp_path))


def answered(store: Root, at: datetime, *ids: str, whole: bool = True, file: str = "a-0") -> None:
    rows = [{"time": at, "request_id": one, "image": one.encode(), "whole": whole} for one in ids]
    store.write_bytes(f"{LOG}/shop/{at.date()}/{file}.parquet", written(rows, ANSWERS))


def said(store: Root, at: datetime, **labels) -> None:
    """Say of requests what the task ``kind`` was, or of ``request__task`` what that task was."""
    rows = [
        {
            "time": at,
            "request_id": name.split("__")[0],
            "task": [*name.split("__"), "kind"][1],
            "label": json.dumps(one),
        }
        for name, one in labels.items()
    ]
    store.write_bytes(f"{FEEDBACK}/shop/{at.date()}/{at:%H%M}-{rows[0]['request_id']}.parquet", written(rows, TRUTHS))


def source(store: Root, **options) -> Source:
    return Source(Options(type="feedback", path=str(store), model="shop", **options))


def labels(made: Source) -> dict[bytes, dict]:
    return {made.read(one.id): dict(one.labels) for one in made.references()}


def test_only_whole_images_that_were_spoken_of_are_listed_and_what_was_not_said_is_no_label(store):
    answered(store, FIRST, "a", "b", "c")
    answered(store, FIRST, "small", whole=False, file="b-0")
    said(store, SECOND, a="cat", small="cat", b__tags=["x", "y"], elsewhere="dog")
    assert labels(source(store)) == {b"a": {"kind": "cat", "tags": None}, b"b": {"kind": None, "tags": ("x", "y")}}


def test_what_was_said_last_counts_and_boxes_are_boxes(store):
    answered(store, FIRST, "a", "b")
    said(store, SECOND, a="dog", b__box={"boxes": [[1, 2, 3, 4]], "names": ["cup"]})
    said(store, FIRST, a="cat")
    found = labels(source(store))
    assert found[b"a"]["kind"] == "dog"
    assert found[b"b"]["box"] == RawBoxes(((1, 2, 3, 4),), ("cup",))


def test_what_is_said_of_an_id_that_several_answers_have_is_of_none_of_them(store):
    answered(store, FIRST, "a", "mesh", "mesh")
    said(store, SECOND, a="cat", mesh="dog")
    assert labels(source(store)) == {b"a": {"kind": "cat"}}


def test_days_are_those_of_the_answer(store):
    answered(store, FIRST, "a")
    answered(store, SECOND, "b")
    said(store, SECOND, a="cat", b="dog")
    assert set(labels(source(store, since=date(2026, 11, 25)))) == {b"b"}
    assert set(labels(source(store, until=date(2026, 11, 24)))) == {b"a"}
    with pytest.raises(ValueError, match="is after until"):
        Options(type="feedback", path="x", model="shop", since=date(2026, 11, 25), until=date(2026, 11, 24))


def test_an_image_is_read_from_its_own_row_and_what_is_not_there_is_an_os_error(store):
    answered(store, FIRST, *(f"image-{place}" for place in range(200)))
    said(store, SECOND, **{"image-7": "cat", "image-150": "dog"})
    made = source(store)
    one, other = (reference.id for reference in made.references())
    assert (made.read(one), made.read(other), made.read(other, 5)) == (b"image-7", b"image-150", b"image")
    for missing in ("2026-11-24/a-0.parquet/200", "2026-11-24/a-0.parquet", "2026-11-24/b.parquet/0", "x", "7"):
        with pytest.raises(OSError):
            made.read(missing)
    store.write_bytes(f"{LOG}/shop/2026-11-24/broken.parquet", b"junk")
    with pytest.raises(OSError):
        made.read("2026-11-24/broken.parquet/0")


@pytest.mark.parametrize(
    ("do", "told"),
    [
        (lambda store: None, "POST it to /feedback"),
        (lambda store: answered(store, FIRST, "a"), "POST it to /feedback"),
        (lambda store: said(store, SECOND, a="cat"), "no image of the 1 answers"),
        (
            lambda store: (answered(store, FIRST, "a", whole=False), said(store, SECOND, a="cat")),
            "small pictures alone",
        ),
    ],
)
def test_where_nothing_can_be_learnt_from_it_is_said_what_to_do(store, do, told):
    do(store)
    with pytest.raises(DataError, match=rf"data\.source\.path.*{told}"):
        list(source(store).references())


def test_a_file_that_no_endpoint_wrote_is_named(store):
    store.write_bytes(f"{LOG}/shop/2026-11-24/x.parquet", b"junk")
    with pytest.raises(DataError, match=r"x\.parquet: nothing that an endpoint wrote"):
        list(logged.answers(store, "shop", logged.Span(), ["request_id"]))
