"""Training is refused on what gates find, unless they are let through by name; only cheap ones are asked."""

from pathlib import Path

import few_boards as boards
import pytest

from planted_checks import plant
from thaw.data.dataset import Dataset
from thaw.errors import DataError
from thaw.inspection import gates
from thaw.storage import Root, open_root


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Root:
    return open_root(str(tmp_path_factory.mktemp("store")))


@pytest.fixture(scope="module")
def prepared(root: Root) -> Dataset:
    return boards.prepared(root, boards.experiment())


def test_a_gate_that_fails_refuses_training_with_what_to_do(
    root: Root, prepared: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch, tmp_path)
    with pytest.raises(DataError) as caught:
        gates.check(root, boards.experiment(), prepared)
    told = str(caught.value)
    assert "too_odd: 1 of 16 images is too odd. Mend it." in told
    assert "data.allow=[too_odd]" in told
    assert "rather_odd" not in told
    assert str(root.shown(prepared.path)) in told


def test_all_that_fail_are_named_at_once_and_those_let_through_are_not(
    root: Root,
    prepared: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for word in ("odd", "blue", "green"):
        plant(monkeypatch, tmp_path, word=word)
    with pytest.raises(DataError, match=r"data\.allow=\[too_blue, too_odd\]"):
        gates.check(root, boards.experiment(allow=["too_green"]), prepared)
    gates.check(root, boards.experiment(allow=["too_green", "too_odd", "too_blue"]), prepared)
    assert "let through by data.allow: too_odd: 1 of 16 images is too odd." in capsys.readouterr().err


def test_what_needs_vectors_is_not_asked_before_training(
    root: Root, prepared: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch, tmp_path, needs_vectors=True)
    gates.check(root, boards.experiment(), prepared)


def test_what_is_let_through_is_no_part_of_the_dataset(root: Root, prepared: Dataset) -> None:
    assert boards.prepared(root, boards.experiment(allow=["too_odd"])).fingerprint == prepared.fingerprint
