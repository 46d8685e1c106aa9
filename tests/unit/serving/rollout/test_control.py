"""What is decided of a rollout, from what the store says and what replicas have counted."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from thaw import cli
from thaw.config.rollout import Rollout
from thaw.errors import ConfigError, StorageError
from thaw.registry import store
from thaw.registry.store import Lineage
from thaw.serving.rollout import kept
from thaw.serving.rollout.control import Beat, Control
from thaw.serving.rollout.counts import Tally
from thaw.serving.rollout.plan import Plan
from thaw.storage import open_root


@pytest.fixture
def root(tmp_path):
    """Three versions of a model, of which the third answers another task; the first one is champion."""
    made = open_root(str(tmp_path / "store"))
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    for task in ("verdict", "verdict", "other"):
        (bundle / "bundle.json").write_text(json.dumps({"tasks": {task: {}}}))
        store.register(made, "boards", bundle, Lineage(run_id="run", dataset_fingerprint="f" * 12))
    store.set_alias(made, "boards", "champion", 1)
    return made


@pytest.fixture
def control(root):
    return Control(root, "boards", "champion", Rollout(min_requests=50))


def counts(answered=200, errors=0, differed=0.0):
    made = Tally()
    for _ in range(answered):
        made.answer(0.01, 0.0)
        made.comparison(differed)
    for _ in range(errors):
        made.failure("model_error")
    return made.counts()


def step(control, *beats):
    """Let replicas tell, the control look, and return the plan."""
    for beat in beats:
        control.heard(beat)
    control.step()
    return control.plan


def test_the_alias_is_followed(root, control):
    assert step(control) == Plan("boards", 1)
    store.set_alias(root, "boards", "champion", 2)
    assert step(control) == Plan("boards", 2)


def test_a_trial_begins_grows_and_goes_on_counting(root, control):
    first = kept.begin(root, "boards/2", "canary", 0.1, {"max_errors": 0.5})
    assert step(control) == Plan("boards", 1, first, 0.5)
    grown = kept.begin(root, "boards/2", "canary", 0.5, {"compared": 0.2})
    assert (grown.id, grown.share, grown.bounds) == (first.id, 0.5, {"max_errors": 0.5, "compared": 0.2})
    plan = step(control, Beat("a", first.id, {2: counts(10, errors=3), 1: counts()}))
    assert plan == Plan("boards", 1, grown, 0.2)


@pytest.mark.parametrize(
    ("seen", "why"), [({"answered": 0, "errors": 30}, "max_errors"), ({"differed": 0.9}, "max_disagreement")]
)
def test_a_bad_version_is_taken_back_with_the_evidence(root, control, capsys, seen, why):
    tried = kept.begin(root, "boards/2", "canary", 0.1, {})
    plan = step(control, Beat("a", tried.id, {2: counts(**seen), 1: counts()}))
    assert plan == Plan("boards", 1)
    assert kept.read(root, "boards") is None
    record = kept.last(root, "boards")
    assert (record.outcome, record.version, record.champion, record.bad) == ("rolled_back", 2, 1, True)
    assert record.reasons[0].startswith(why)
    assert record.figures[0].failed == ({"model_error": 30} if "errors" in seen else {})
    assert record.figures[1].answered == 200
    assert record.bounds["min_requests"] == 50
    assert "boards/2 is taken back (rolled_back)" in capsys.readouterr().err
    assert {family.name: list(family.values.values()) for family in control.families()}["thaw_rollbacks"] == [1]
    assert step(control) == Plan("boards", 1)


def test_what_several_replicas_saw_is_judged_together(root, control):
    tried = kept.begin(root, "boards/2", "canary", 0.1, {})
    one, other = (Beat(name, tried.id, {2: counts(30, differed=0.9), 1: counts()}) for name in "ab")
    assert step(control, one).tried == tried
    assert step(control, one, one).tried == tried
    assert step(control, other).tried is None


def test_counts_of_another_trial_are_not_judged(root, control):
    tried = kept.begin(root, "boards/2", "canary", 0.1, {})
    assert step(control, Beat("a", "earlier", {2: counts(differed=0.9), 1: counts()})).tried == tried


def test_a_control_begun_anew_judges_what_replicas_still_know(root, control):
    tried = kept.begin(root, "boards/2", "shadow", 0.5, {})
    step(control)
    again = Control(root, "boards", "champion", Rollout(min_requests=50))
    assert step(again, Beat("a", tried.id, {2: counts(differed=0.9)})).tried is None


def test_a_version_that_cannot_be_loaded_is_not_tried(root, control):
    tried = kept.begin(root, "boards/2", "canary", 0.1, {})
    assert step(control, Beat("a", failed={2: "golden image 3 is 0.4 off"})).tried is None
    record = kept.record_of(root, "boards", tried.id)
    assert (record.outcome, record.reasons) == ("not_loaded", ("golden image 3 is 0.4 off",))


def test_a_promoted_version_that_cannot_be_loaded_is_told_once(root, control, capsys):
    store.set_alias(root, "boards", "champion", 2)
    beat = Beat("a", failed={2: "broken"}, champion=1)
    for _ in range(3):
        assert step(control, beat).champion == 2
    record = kept.last(root, "boards")
    assert (record.kind, record.outcome, record.version, record.champion) == ("alias", "not_loaded", 2, 1)
    assert capsys.readouterr().err.count("cannot be loaded") == 1
    assert step(control, replace(beat, failed={})).champion == 2


def test_a_promoted_canary_is_no_longer_tried_and_keeps_what_was_counted(root, control):
    tried = kept.begin(root, "boards/2", "canary", 0.1, {})
    step(control, Beat("a", tried.id, {2: counts(60), 1: counts()}))
    store.set_alias(root, "boards", "champion", 2)
    assert step(control) == Plan("boards", 2)
    assert kept.read(root, "boards") is None
    record = kept.last(root, "boards")
    assert (record.outcome, record.champion, record.figures[0].answered) == ("promoted", 1, 60)


def test_closing_the_record_of_a_promotion_moves_no_alias_that_was_moved_back(root, control):
    tried = kept.begin(root, "boards/2", "canary", 0.1, {})
    assert kept.finish(root, "boards", "promoted", only=tried.id).outcome == "promoted"
    assert store.aliases(root, "boards") == {"champion": 1}


def test_without_the_store_what_was_decided_goes_on_and_a_bad_version_is_still_taken_back(root, control, capsys):
    tried = kept.begin(root, "boards/2", "canary", 0.1, {})
    step(control)
    models = Path(root.path_of("models"))
    models.rename(models.with_name("aside"))
    models.write_bytes(b"no folder")
    assert step(control).tried == tried
    assert step(control).tried == tried
    assert capsys.readouterr().err.count("what answers now goes on") == 1
    assert step(control, Beat("a", tried.id, {2: counts(0, errors=30), 1: counts()})) == Plan("boards", 1)
    models.unlink()
    models.with_name("aside").rename(models)
    assert step(control) == Plan("boards", 1)
    assert kept.read(root, "boards") is None
    assert step(control) == Plan("boards", 1)
    assert kept.last(root, "boards").outcome == "rolled_back"


def test_endpoints_of_another_alias_try_nothing(root):
    kept.begin(root, "boards/2", "canary", 0.1, {})
    store.set_alias(root, "boards", "staging", 3)
    assert step(Control(root, "boards", "staging", Rollout())) == Plan("boards", 3)


def test_what_cannot_be_tried_is_refused(root):
    with pytest.raises(StorageError, match="is version 1 already"):
        kept.begin(root, "boards/1", "canary", 0.1, {})
    with pytest.raises(StorageError, match="no complete version 9"):
        kept.begin(root, "boards/9", "canary", 0.1, {})
    with pytest.raises(ConfigError, match="does not answer task verdict"):
        kept.begin(root, "boards/3", "canary", 0.1, {})
    with pytest.raises(ConfigError, match=r"--bounds: .*max_disagreement"):
        kept.begin(root, "boards/2", "canary", 0.1, {"max_disagrement": 0.1})
    with pytest.raises(ConfigError, match="--bounds: max_errors: .*less than or equal to 1"):
        kept.begin(root, "boards/2", "canary", 0.1, {"max_errors": 2})
    kept.begin(root, "boards/2", "canary", 0.1, {})
    with pytest.raises(StorageError, match=r"boards/2 is tried as a canary .* --stop"):
        kept.begin(root, "boards/2", "shadow", 0.1, {})


def test_a_rollout_that_somebody_wrote_by_hand_is_refused_where_it_is_wrong(root, control, capsys):
    tried = kept.begin(root, "boards/2", "canary", 0.1, {})
    for wrong in ({**tried.model_dump(mode="json"), "bounds": {"speed": 1}}, {"version": 2}, []):
        root.write_json("models/boards/rollout.json", wrong)
        with pytest.raises(StorageError, match="not a rollout"):
            kept.read(root, "boards")
        step(control)
    assert "not a rollout" in capsys.readouterr().err
    root.write_bytes("models/boards/rollout.json", b"{")
    store.set_alias(root, "boards", "champion", 2)
    assert step(control) == Plan("boards", 2), "an alias is followed all the same"
    code, line = told(capsys, "boards", "--stop", "--storage", root.uri)
    assert (code, kept.read(root, "boards")) == (0, None)
    assert "is removed" in line


def test_how_a_trial_has_ended_is_not_overwritten_by_what_was_counted_before(root, control):
    tried = kept.begin(root, "boards/2", "canary", 0.1, {})
    step(control, Beat("a", tried.id, {2: counts(60), 1: counts()}))
    late = kept.last(root, "boards")
    assert late.outcome == "running"
    kept.finish(root, "boards", "stopped")
    kept.write(root, late)
    assert kept.last(root, "boards").outcome == "stopped"


def test_a_version_that_was_taken_back_meanwhile_is_not_promoted(root, control, capsys):
    tried = kept.begin(root, "boards/2", "canary", 0.1, {})
    kept.end(root, "boards", tried)
    assert told(capsys, "boards", "--promote", "--storage", root.uri)[0] == 2
    assert store.aliases(root, "boards") == {"champion": 1}
    other = kept.begin(root, "boards/2", "shadow", 0.1, {})
    assert kept.finish(root, "boards", "stopped", only="another") is None
    assert kept.read(root, "boards") == other


def told(capsys, *arguments):
    """Return the exit code of `thaw rollout` and what it printed."""
    code = cli.run(["rollout", *arguments])
    printed = capsys.readouterr()
    return code, printed.out + printed.err


def test_the_verb_begins_shows_stops_and_promotes(root, control, capsys):
    storage = ["--storage", root.uri]
    assert told(capsys, "boards", *storage) == (0, "boards: no version was tried yet\n")
    code, line = told(capsys, "boards/2", "--canary", "0.1", "--bounds", "max_errors=0.2", *storage)
    assert (code, line) == (0, "boards/2 is tried as a canary of 0.1 of boards@champion\n")
    tried = kept.read(root, "boards")
    assert tried.bounds == {"max_errors": 0.2}
    step(control, Beat("a", tried.id, {2: counts(60), 1: counts()}))
    code, line = told(capsys, "boards", "--status", *storage)
    assert code == 0
    assert "version 2: 60 answered, none failed, 95 % within 0.012 s" in line
    code, line = told(capsys, "boards", "--stop", *storage)
    assert (code, kept.read(root, "boards")) == (0, None)
    assert "boards/2 canary of 0.1: stopped" in line
    code, line = told(capsys, "boards", "--stop", *storage)
    assert code == 2
    assert "no version is tried" in line
    told(capsys, "boards/2", "--shadow", "0.5", *storage)
    assert told(capsys, "boards", "--promote", *storage)[0] == 0
    assert store.aliases(root, "boards") == {"champion": 2}
    assert kept.last(root, "boards").outcome == "promoted"


def test_the_status_of_what_was_taken_back_is_1(root, control, capsys):
    tried = kept.begin(root, "boards/2", "canary", 0.1, {})
    step(control, Beat("a", tried.id, {2: counts(0, errors=30), 1: counts()}))
    capsys.readouterr()
    code, line = told(capsys, "boards", "--storage", root.uri)
    assert code == 1
    assert "rolled back" in line
    assert "max_errors: 1 beside 0" in line
    assert told(capsys, "bords", "--storage", root.uri)[0] == 2
