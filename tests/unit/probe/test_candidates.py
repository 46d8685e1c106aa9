"""What is compared is what was asked for, each once, with weights from where they were said to be."""

from pathlib import Path

import pytest

from thaw.backbones import family
from thaw.config import load
from thaw.config.experiment import Experiment, Weights
from thaw.errors import ConfigError
from thaw.probe.candidates import DEFAULTS, Candidate, candidates
from tiny import EXPERIMENT


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    return load.parse(EXPERIMENT, "test")


def test_every_default_is_a_backbone_with_published_weights() -> None:
    assert all(family.of(name).has_weights(name) for name in DEFAULTS)
    assert len(set(DEFAULTS)) == len(DEFAULTS)


def test_without_names_these_are_the_experiments_own_and_the_defaults(experiment: Experiment) -> None:
    found = candidates(experiment, None, None, "hub")
    assert found[0] == Candidate("test_efficientnet", Weights(source="none"))
    assert [one.backbone for one in found[1:]] == list(DEFAULTS)
    assert {one.weights.source for one in found[1:]} == {"hub"}


def test_a_name_may_have_weights_of_its_own(experiment: Experiment, tmp_path: Path) -> None:
    file = tmp_path / "mine.pth"
    file.touch()
    found = candidates(experiment, f"resnet18, resnet18=none,resnet18={file},resnet18", None, "hub")
    assert found == [
        Candidate("resnet18", Weights(source="hub")),
        Candidate("resnet18", Weights(source="none")),
        Candidate("resnet18", Weights(source="path", path=str(file))),
    ]


def test_a_folder_holds_a_file_for_every_backbone(experiment: Experiment, tmp_path: Path) -> None:
    (tmp_path / "resnet18.pth").touch()
    found = candidates(experiment, "resnet18,resnet50", None, str(tmp_path))
    assert [one.weights.path for one in found] == [f"{tmp_path}/resnet18.pth", f"{tmp_path}/resnet50.safetensors"]


def test_a_pattern_finds_backbones_of_every_library(experiment: Experiment) -> None:
    found = [one.backbone for one in candidates(experiment, None, "*shufflenet_v2_x1_0", "hub")]
    assert found == ["torchvision/shufflenet_v2_x1_0"]


@pytest.mark.parametrize(
    ("named", "pattern", "where", "told"),
    [
        ("resnet18", "resnet*", "hub", "give one of the two"),
        (",", None, "hub", "names no backbone"),
        (None, "nothing*", "hub", "'nothing\\*' matches no backbone"),
        ("resnet18=hubb", None, "hub", "weights of resnet18: 'hubb' is not hub, package, none, a file or a folder"),
        ("resnet18=", None, "hub", "weights of resnet18: '' is not"),
        ("resnet18", None, "/nowhere", "weights of resnet18: '/nowhere' is not"),
    ],
)
def test_what_makes_no_list_is_refused(
    experiment: Experiment, named: str | None, pattern: str | None, where: str, told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        candidates(experiment, named, pattern, where)
