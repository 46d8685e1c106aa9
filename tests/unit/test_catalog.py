"""The catalog: the folder is the registry, and a wrong name is answered with the right ones."""

import subprocess
import sys

import pytest

from thaw import catalog
from thaw.errors import ConfigError


def test_names_are_the_sorted_files_of_the_folder():
    assert catalog.names("data.sources") == ("boards", "coco", "feedback", "folder", "masks", "table", "voc", "yolo")
    assert {"classification", "multilabel"} <= set(catalog.names("tasks"))


@pytest.mark.parametrize("folder", ["data.sources", "tasks"])
def test_private_files_contracts_and_ray_adapters_are_no_parts(folder):
    assert not [name for name in catalog.names(folder) if name.startswith("_")]
    assert not {"contract", "on_ray"} & set(catalog.names(folder))


@pytest.mark.parametrize("name", ["contract", "_boards_drawing", "__init__", "../quality", "os", ""])
def test_what_is_not_listed_cannot_be_had_as_a_part(name):
    with pytest.raises(ConfigError):
        catalog.part("data.sources", name)


@pytest.mark.parametrize("folder", ["data.sources", "tasks"])
def test_every_listed_part_is_there_with_its_options(folder):
    for name in catalog.names(folder):
        module = catalog.part(folder, name)
        assert module.__name__ == f"thaw.{folder}.{name}"
        assert "type" in module.Options.model_fields


def test_an_unknown_part_is_answered_with_the_known_ones_and_the_nearest():
    with pytest.raises(ConfigError) as caught:
        catalog.part("data.sources", "tabel")
    assert (
        str(caught.value)
        == "'tabel' is not one of boards, coco, feedback, folder, masks, table, voc, yolo; did you mean 'table'?"
    )


def test_a_word_near_to_nothing_gets_no_hint():
    assert catalog.did_you_mean("zzzz", ("train", "seed")) == ""
    assert catalog.did_you_mean("sede", ("train", "seed")) == "; did you mean 'seed'?"


def test_listing_parts_imports_none_of_them():
    code = (
        "import sys; from thaw import catalog; catalog.names('data.sources'); catalog.names('tasks'); "
        "sys.exit(any(name.startswith(('thaw.data.', 'thaw.tasks.', 'torch')) for name in sys.modules))"
    )
    paths = ":".join(path for path in sys.path if path)
    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": paths}).returncode == 0
