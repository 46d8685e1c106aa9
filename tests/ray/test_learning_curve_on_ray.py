"""Learning curves on Ray: the whole way from an experiment to a page, and what is refused."""

import json

import pytest

from thaw import cli
from thaw.config import load
from thaw.probe.curve import on_ray as curve
from thaw.probe.curve.result import JSON, PAGE, Result
from thaw.storage import open_root
from tiny import changed


@pytest.fixture
def written(experiment, tmp_path):
    """An experiment with enough images for a curve."""
    path = tmp_path / "boards.yaml"
    path.write_text(load.dump(changed(experiment, name="boards", data__source__images=200)))
    return str(path)


def test_a_curve_is_printed_and_kept_with_its_page(experiment, written, capsys):
    assert cli.run(["learning-curve", written, "--target", "verdict=0.9", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    page = told.pop("picture")
    found = Result.model_validate(told)
    by_task = {one.task: one for one in found.curves}
    assert set(by_task) == {"verdict", "layout"}
    assert by_task["verdict"].target.value == 0.9
    assert by_task["layout"].target is None
    assert by_task["verdict"].sizes[-1] == by_task["verdict"].images
    root = open_root(experiment.storage.root)
    assert Result.model_validate(root.read_json(f"{found.dataset}/{JSON}")) == found
    assert page == f"{found.dataset}/{PAGE}"
    assert root.read_bytes(page).startswith(b"<!DOCTYPE html>")


def test_fewer_images_are_learnt_from_as_if_there_were_no_others(written):
    part = curve.measure(load.load(written), {}, max_images=80)
    assert {one.images for one in part.curves} == {80}


def test_few_images_have_no_curve_and_it_is_said_why(experiment, prepared):
    found = curve.measure(experiment, {})
    assert found.curves == ()
    assert set(found.left_out) == {"verdict", "layout"}
    assert all("validation images with a label show too little" in why for why in found.left_out.values())


def test_a_target_of_no_task_is_refused_before_anything_is_done(written, capsys):
    assert cli.run(["learning-curve", written, "--target", "verdcit=0.9"]) == 2
    assert "did you mean 'verdict'" in capsys.readouterr().err
