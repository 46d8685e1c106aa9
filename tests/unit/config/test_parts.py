"""Parts: what ``type`` names checks the options, and errors keep their full place."""

from typing import Annotated, Literal

import pytest
from pydantic import ValidationError

from thaw import catalog
from thaw.config.experiment import TaskOptions
from thaw.config.load import parse
from thaw.config.parts import Part, PartOf, Section
from thaw.data.sources import boards
from thaw.errors import ConfigError
from thaw.tasks import classification


class Holder(Section):
    """A section with one part."""

    source: Annotated[Part, PartOf("data.sources")]


def refusal(tasks=None, source=None):
    values = {
        "name": "x",
        "data": {"source": source or {"type": "boards"}},
        "tasks": tasks or {"verdict": {"type": "classification"}},
    }
    with pytest.raises(ConfigError) as caught:
        parse(values, "e.yaml")
    return str(caught.value)


def test_the_type_chooses_the_options():
    assert isinstance(Holder(source={"type": "boards", "images": 3}).source, boards.Options)
    assert Holder(source={"type": "boards", "images": 3}).source.images == 3


def test_options_that_are_built_already_are_kept():
    options = boards.Options(type="boards", images=3)
    assert Holder(source=options).source is options


def test_an_unknown_type_lists_every_part_and_the_nearest():
    known = ", ".join(catalog.names("data.sources"))
    message = refusal(source={"type": "bords"})
    assert message == f"e.yaml: data.source: type: 'bords' is not one of {known}; did you mean 'boards'?"


@pytest.mark.parametrize("value", [3, "boards", [], {}, {"images": 3}, {"type": 3}, {"type": None}])
def test_what_names_no_type_is_told_which_there_are(value):
    with pytest.raises(
        ValidationError,
        match="needs a mapping with type: one of boards, coco, feedback, folder, masks, table, voc, yolo",
    ):
        Holder(source=value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weigth": 1}, "tasks.verdict: unknown key 'weigth'; known here: type, "),
        ({"weight": 0}, "tasks.verdict.weight: Input should be greater than 0 (got 0)"),
        ({"label_smoothing": 1}, "tasks.verdict.label_smoothing: Input should be less than 1 (got 1)"),
        ({"classes": ["a", 3]}, "tasks.verdict.classes[1]: Input should be a valid string (got 3)"),
    ],
)
def test_a_mistake_inside_a_task_has_its_full_place(options, message):
    assert refusal(tasks={"verdict": {"type": "classification", **options}}).startswith(f"e.yaml: {message}")


def test_a_mistake_inside_a_source_has_its_full_place():
    message = refusal(source={"type": "boards", "images": 0})
    assert message == "e.yaml: data.source.images: Input should be greater than or equal to 1 (got 0)"


def test_mistakes_in_several_parts_are_all_named():
    broken = {"type": "classification", "weight": -1}
    lines = refusal(tasks={"one": broken, "two": broken}, source={"type": "folder"}).splitlines()
    assert [line.split(": ")[1] for line in lines] == ["data.source.path", "tasks.one.weight", "tasks.two.weight"]


def test_a_part_is_dumped_with_its_own_fields():
    dumped = Holder(source={"type": "boards", "images": 3}).model_dump(mode="json")
    assert dumped == {"source": {"type": "boards", "images": 3, "size": 256, "seed": 0}}


def test_a_part_belongs_to_its_folder_only():
    with pytest.raises(
        ValidationError, match="'classification' is not one of boards, coco, feedback, folder, masks, table, voc, yolo"
    ):
        Holder(source={"type": "classification"})


def test_every_part_declares_its_own_name_as_its_type():
    for folder in ("data.sources", "tasks"):
        for name in catalog.names(folder):
            assert catalog.part(folder, name).Options.model_fields["type"].annotation == Literal[name]


def test_tasks_add_to_the_common_options():
    assert set(TaskOptions.model_fields) < set(classification.Options.model_fields)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_numbers_that_are_none_are_refused(bad):
    with pytest.raises(ValidationError, match="finite"):
        classification.Options(type="classification", weight=bad)
