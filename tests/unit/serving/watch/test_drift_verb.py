"""`thaw drift` compares what is logged with the validation images of the version, and says so by its exit code."""

import json
import re
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from stored import Stored, image, png, stored
from thaw import cli, predictor
from thaw.config.limits import Limits
from thaw.config.watch import PredictionLog as Settings
from thaw.data import logged
from thaw.errors import StorageError
from thaw.serving.watch import feedback, metrics
from thaw.serving.watch.drift import figures
from thaw.serving.watch.feedback import Truth
from thaw.serving.watch.log import PredictionLog, Seen


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Stored:
    return stored(tmp_path_factory.mktemp("drift"))


@pytest.fixture(autouse=True)
def forgotten(made):
    """Every test begins with an empty log."""
    yield
    for place in (logged.LOG, logged.FEEDBACK, "serving/drift"):
        made.root.remove(place)


def alike(seed: int) -> np.ndarray:
    return image(1000 + seed)


def reddish(seed: int) -> np.ndarray:
    """Return an image of one colour alone, and darker."""
    return (image(3 * seed) * 0.6).astype(np.uint8)


def log(made: Stored, pictures, ago: int = 0, embedding: bool = True, **settings) -> None:
    """Log the model's answers to some images, of so many days ago."""
    kept = PredictionLog(made.root, Settings(share=1, **settings), Limits(), {"colours"}, lambda *_: None)
    placed = [predictor.place(made.bundle.description.preprocess, one) for one in pictures]
    for place, (answers, vector) in enumerate(predictor.answer_and_embed(made.bundle, placed)):
        kept.offer(
            Seen(
                f"r{place}", "colours", 1, None, answers, png(pictures[place]), vector if embedding else None,
                datetime.now(UTC) - timedelta(days=ago),
            )
        )  # fmt: skip
    kept.close()


def ran(made: Stored, capsys, *arguments):
    code = cli.run(["drift", made.reference, "--storage", str(made.root), "--json", *arguments])
    return code, json.loads(capsys.readouterr().out or "{}")


def test_images_like_those_of_validation_have_not_drifted(made, capsys):
    log(made, [alike(seed) for seed in range(60)])
    code, told = ran(made, capsys)
    assert (code, told["drifted"], told["answers"]) == (0, [], 60)
    assert told["images"]["seen"] == [24, 60]
    assert told["tasks"]["colour"]["images"] == [24, 60]
    assert set(told["tasks"]) == {"colour", "tags"}


def test_other_images_and_other_answers_have_and_the_exit_code_says_so(made, capsys):
    log(made, [reddish(seed) for seed in range(60)], image="thumbnail")
    code, told = ran(made, capsys)
    assert code == 1
    assert {"images", "answers of colour"} <= set(told["drifted"])
    assert told["images"]["auc"] > 0.9
    page = made.root.read_bytes(told["report"]).decode()
    assert "colours/1 has drifted, by 60 answers from" in page
    assert re.search(r": images, answers of colour and answers of tags\.|: images and answers of colour\.", page)
    assert page.count("data:image/jpeg") == 12
    assert not re.search(r"(src|href)=.https?:", page)


def test_bounds_decide_what_is_large(made, capsys):
    log(made, [reddish(seed) for seed in range(60)])
    _, told = ran(made, capsys, "--auc", "1", "--index", "1000")
    assert told["images"]["auc"] <= 1
    assert [one for one in told["drifted"] if one != "images"] == []
    assert cli.run(["drift", made.reference, "--storage", str(made.root), "--auc", "0.4"]) == 2
    assert "--auc" in capsys.readouterr().err


def test_only_the_last_days_count(made, capsys):
    log(made, [reddish(seed) for seed in range(60)], ago=9)
    log(made, [alike(seed) for seed in range(60)], ago=2)
    assert ran(made, capsys, "--days", "3")[1]["answers"] == 60
    assert ran(made, capsys, "--days", "30")[1]["answers"] == 120


def test_whole_images_are_as_good_as_kept_vectors(made, capsys):
    log(made, [alike(seed) for seed in range(40)], embedding=True)
    _, kept = ran(made, capsys)
    made.root.remove(logged.LOG)
    log(made, [alike(seed) for seed in range(40)], embedding=False, image="full")
    _, computed = ran(made, capsys)
    assert computed["images"]["auc"] == pytest.approx(kept["images"]["auc"], abs=0.02)
    made.root.remove(logged.LOG)
    log(made, [alike(seed) for seed in range(40)], embedding=False)
    assert ran(made, capsys)[1]["images"] is None


def test_the_reference_is_computed_once(made, capsys):
    log(made, [alike(seed) for seed in range(30)])
    ran(made, capsys)
    first = made.root.stamps(["serving/reference/colours/1.parquet"])
    ran(made, capsys)
    assert made.root.stamps(["serving/reference/colours/1.parquet"]) == first


def test_what_was_said_of_answers_gives_live_accuracy_with_an_interval(made, capsys):
    log(made, [alike(seed) for seed in range(30)])
    names = ("blue", "green", "red")
    rows = logged.read(
        made.root, logged.files(made.root, logged.LOG, "colours", logged.Span())[0], ["request_id", "decided"]
    )
    answered = {
        row["request_id"]: next(one["label"] for one in row["decided"] if one["task"] == "colour")
        for row in rows.to_pylist()
    }
    wrong = {"r0", "r1"}
    said = [
        Truth(request_id=name, task="colour", label=names[(names.index(label) + 1) % 3] if name in wrong else label)
        for name, label in answered.items()
    ]
    strangers = [Truth(request_id="elsewhere", task="colour", label="red")]
    feedback.keep(made.root, "colours", [*said[:20], *strangers], None)
    _, told = ran(made, capsys)
    found = told["accuracy"]["colour"]
    assert found["images"] == 20
    assert found["metrics"]["accuracy"]["value"] == pytest.approx(0.9)
    assert found["metrics"]["accuracy"]["low"] < 0.9 < found["metrics"]["accuracy"]["high"]
    assert "tags" not in told["accuracy"]


def test_what_was_found_are_numbers_for_prometheus(made, capsys):
    assert list(figures.figures(made.root, "colours")) == []
    log(made, [reddish(seed) for seed in range(60)])
    _, told = ran(made, capsys)
    found = {(one.name, one.labels.get("task")): one for one in figures.figures(made.root, "colours")}
    assert found["thaw_drift_images_auc", None].value == told["images"]["auc"]
    assert found["thaw_drift_answers_index", "colour"].value == told["tasks"]["colour"]["index"]["value"]
    assert found["thaw_drift_found", None].value == len(told["drifted"])
    assert all(one.labels["version"] == "1" for one in found.values())
    text = metrics.exposed(figures.families(made.root, "colours")).decode()
    assert "# TYPE thaw_drift_images_auc gauge" in text
    assert f'thaw_drift_found{{model="colours",version="1"}} {float(len(told["drifted"]))}' in text
    made.root.write_json("serving/drift/colours/9.json", {"model": "colours"})
    with pytest.raises(StorageError, match="nothing that `thaw drift` wrote"):
        list(figures.figures(made.root, "colours"))


def test_a_version_of_which_nothing_is_kept_is_named(made, capsys):
    assert cli.run(["drift", made.reference, "--storage", str(made.root)]) == 2
    assert "no answer of colours/1 is kept of the last 7 days; set serve.log.share" in capsys.readouterr().err
