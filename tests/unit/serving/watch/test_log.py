"""The log keeps a share of the answers, never holds one up, and says what it left out."""

import io
import json
import time
from collections import Counter
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from PIL import Image

from stored import image, png
from thaw.config.limits import Limits
from thaw.config.watch import PredictionLog as Settings
from thaw.data import logged
from thaw.data.logged import ANSWERS, FEEDBACK, LOG, Span
from thaw.errors import StorageError
from thaw.serving.watch import log
from thaw.serving.watch.log import PredictionLog, Seen
from thaw.storage import Root, open_root
from thaw.tasks.classification import ClassificationAnswer
from thaw.tasks.multilabel import MultilabelAnswer

TODAY = datetime.now(UTC).date()


@pytest.fixture
def store(tmp_path) -> Root:
    return open_root(str(tmp_path))


def seen(request: str = "r1", **of) -> Seen:
    answers = {
        "colour": ClassificationAnswer(label="red", score=0.75, scores={"red": 0.75, "blue": 0.25}),
        "tags": MultilabelAnswer(labels=("warm",), scores={"warm": 0.9, "bright": 0.1}),
    }
    values = {"request_id": request, "model": "colours", "version": 3, "artifact": None, "answers": answers}
    return Seen(**{**values, "image": png(image(0)), **of})


def rows(store: Root, model: str = "colours") -> list[dict]:
    paths = logged.files(store, LOG, model, Span())
    return [row for path in paths for row in logged.read(store, path, ANSWERS.names).to_pylist()]


class Counted(Counter):
    """How many answers were kept and dropped."""

    def __call__(self, outcome: str, answers: int) -> None:
        self[outcome] += answers


def begun(store: Root, counted: Counted | None = None, **settings) -> PredictionLog:
    return PredictionLog(store, Settings(**settings), Limits(), {"colours"}, Counted() if counted is None else counted)


def kept(store: Root, *all_seen: Seen, **settings) -> Counted:
    """Give a log some answers, close it, and return what became of them."""
    counted = Counted()
    made = begun(store, counted, share=1, **settings)
    for one in all_seen:
        made.offer(one)
    made.close()
    return counted


def test_an_answer_is_kept_with_what_it_comes_to_and_nothing_that_was_not_asked_for(store):
    made = kept(store, seen())
    [row] = rows(store)
    assert (row["request_id"], row["version"], row["artifact"]) == ("r1", 3, None)
    assert row["time"].date() == TODAY
    assert json.loads(row["answer"])["colour"]["scores"] == {"red": 0.75, "blue": 0.25}
    assert [(one["task"], one["label"]) for one in row["decided"]] == [("colour", "red"), ("tags", "warm")]
    assert row["decided"][0]["score"] == 0.75
    assert (row["image"], row["whole"], row["embedding"]) == (None, False, None)
    assert made == {"kept": 1}
    [path] = logged.files(store, LOG, "colours", Span())
    assert path.startswith(f"serving/log/colours/{TODAY}/")


def test_a_full_image_is_kept_byte_for_byte_and_a_thumbnail_is_a_small_jpeg(store):
    kept(store, seen("full"), image="full")
    kept(store, seen("small"), image="thumbnail", thumbnail=20)
    found = {row["request_id"]: row for row in rows(store)}
    assert (found["full"]["image"], found["full"]["whole"]) == (png(image(0)), True)
    small = Image.open(io.BytesIO(found["small"]["image"]))
    assert (small.format, max(small.size), found["small"]["whole"]) == ("JPEG", 20, False)


def test_an_embedding_keeps_its_numbers(store):
    vector = np.linspace(-2, 2, 7).astype(np.float16)
    kept(store, seen(embedding=vector))
    assert rows(store)[0]["embedding"] == vector.tolist()


def test_models_and_days_have_files_of_their_own(store):
    before = datetime.now(UTC) - timedelta(days=1)
    kept(store, seen("a"), seen("b", model="other"), seen("c", time=before), seen("d"))
    assert {row["request_id"] for row in rows(store)} == {"a", "c", "d"}
    assert [row["request_id"] for row in rows(store, "other")] == ["b"]
    assert logged.days(store, LOG, "colours") == [before.date(), TODAY]


def test_the_share_is_drawn_by_request_id_alike_at_every_replica(store):
    two = [begun(store, share=0.2) for _ in range(2)]
    ids = [f"request-{place}" for place in range(2000)]
    first, second = ([one.wants(name) for name in ids] for one in two)
    assert first == second
    assert 320 < sum(first) < 480
    whole, none = (begun(store, share=share) for share in (1, 0))
    assert all(map(whole.wants, ids))
    assert not any(map(none.wants, ids))
    for one in (*two, whole, none):
        one.close()


class Deaf(Root):
    """A store that takes nothing."""

    def write_bytes(self, path, data):
        raise StorageError("no space left")


def test_a_store_that_takes_nothing_costs_no_more_than_so_much_memory_and_the_rest_is_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(log, "MOST_BYTES", 100_000)
    counted = Counted()
    made = begun(Deaf(str(tmp_path)), counted, share=1, image="full")
    for place in range(200):
        made.offer(seen(str(place), image=bytes(5_000)))
    assert made._held <= log.MOST_BYTES
    assert counted["dropped"] >= 180
    made.close()
    assert counted == {"dropped": 200}


def test_a_store_that_refuses_for_a_while_gets_everything_later(tmp_path, monkeypatch):
    tried = []

    class Hard(Root):
        def write_bytes(self, path, data):
            tried.append(path)
            if len(tried) < 3:
                raise StorageError("not now")
            super().write_bytes(path, data)

    monkeypatch.setattr(log, "FILE_BYTES", 1)
    monkeypatch.setattr(log, "_RETRY_S", 0.0)
    assert kept(Hard(str(tmp_path)), *map(seen, "0123")) == {"kept": 4}
    assert {row["request_id"] for row in rows(open_root(str(tmp_path)))} == {"0", "1", "2", "3"}


def test_rows_are_written_when_there_are_enough_or_they_are_old():
    page = log._Page(begun=100.0)
    assert [page.due(now) for now in (100.0, 159.0, 160.0)] == [False, False, True]
    page.bytes = log.FILE_BYTES
    assert page.due(100.0)
    page.not_before = 115.0
    assert [page.due(now) for now in (114.0, 115.0)] == [False, True]


def test_what_comes_after_the_end_is_dropped(store):
    counted = Counted()
    made = begun(store, counted, share=1)
    made.offer(seen())
    made.close()
    made.offer(seen("late"))
    assert counted == {"kept": 1, "dropped": 1}


def test_old_days_are_removed_with_what_was_said_of_them_and_nothing_else_is(store):
    for place in (LOG, FEEDBACK):
        for day in ("2026-01-01", "2026-01-09", "2026-01-10", "notes"):
            for model in ("colours", "others"):
                store.write_bytes(f"{place}/{model}/{day}/x.parquet", b"x")
    log.remove_before(store, {"colours"}, date(2026, 1, 10))
    for place in (LOG, FEEDBACK):
        assert store.list(f"{place}/colours") == ["2026-01-10", "notes"]
        assert store.list(f"{place}/others") == ["2026-01-01", "2026-01-09", "2026-01-10", "notes"]


def test_old_days_that_could_not_be_removed_are_removed_later(store, monkeypatch):
    store.write_bytes(f"{LOG}/colours/2020-01-01/x.parquet", b"x")
    removed, refused = log.remove_before, []

    def refusing(*of):
        if not refused:
            refused.append(1)
            raise StorageError("not now")
        removed(*of)

    monkeypatch.setattr(log, "remove_before", refusing)
    monkeypatch.setattr(log, "_RETRY_S", 0.0)
    monkeypatch.setattr(log, "_LOOK_S", 0.01)
    made = begun(store, share=1, days=30)
    for _ in range(500):
        if not store.list(f"{LOG}/colours"):
            break
        time.sleep(0.01)
    made.close()
    assert refused
    assert store.list(f"{LOG}/colours") == []


def test_a_fault_in_one_row_ends_nothing_and_holds_nothing(store, monkeypatch):
    counted = Counted()
    made = begun(store, counted, share=1, image="none")
    monkeypatch.setattr(log, "decided", lambda _: 1 / 0)
    made.offer(seen("broken"))
    for _ in range(100):
        if counted["dropped"]:
            break
        time.sleep(0.05)
    monkeypatch.undo()
    made.offer(seen("whole"))
    made.close()
    assert counted == {"dropped": 1, "kept": 1}
    assert made._held == 0


def test_rows_that_cannot_be_written_are_dropped_and_others_are_kept(store, monkeypatch):
    written = logged.written

    def failing(rows, schema):
        return 1 / 0 if rows[0]["request_id"] == "broken" else written(rows, schema)

    monkeypatch.setattr(log.logged, "written", failing)
    assert kept(store, seen("broken"), seen("whole", model="others"), image="none") == {"dropped": 1, "kept": 1}


def test_a_replica_removes_old_days_when_it_begins(store):
    store.write_bytes(f"{LOG}/colours/2020-01-01/x.parquet", b"x")
    kept(store, days=30)
    assert store.list(f"{LOG}/colours") == []
