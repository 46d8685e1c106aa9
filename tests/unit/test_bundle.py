"""A bundle holds all that an answer needs, comes back as it was, and refuses what is none."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from thaw import bundle
from thaw.backbones import family
from thaw.bundle import Bundle
from thaw.config import load as config
from thaw.data.labels import LabelSchema
from thaw.errors import ConfigError, ModelError

LABELS = {
    "verdict": LabelSchema(kind="class", names=("bad", "good")),
    "tags": LabelSchema(kind="classes", names=("grün", "red", "blue")),
}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def _create(seed: int = 0, backbone: str = "test_resnet", source: str = "none", **model: Any) -> Bundle:
    values = {
        "name": "tiny",
        "seed": seed,
        "data": {"source": {"type": "boards"}, "image": {"size": 48, "fit": "letterbox"}},
        "tasks": {
            "verdict": {"type": "classification", "label_smoothing": 0.1},
            "tags": {"type": "multilabel", "threshold": 0.3, "weight": 2},
        },
        "model": {"backbone": backbone, "weights": {"source": source}, "dropout": 0.4} | model,
        "finetune": {
            "phases": [{"epochs": 1}],
            "batchnorm": "held" if model.keys() & {"lora", "checkpointing"} else "adapt",
        },
    }
    return bundle.create(config.parse(values, "test"), LABELS)


def _equal(first: Bundle, second: Bundle) -> bool:
    mine, other = first.model.state_dict(), second.model.state_dict()
    return list(mine) == list(other) and all(torch.equal(value, other[name]) for name, value in mine.items())


@pytest.mark.parametrize(
    ("backbone", "source"), [("tf_efficientnet_lite0", "package"), ("test_resnet", "none"), ("test_vit", "none")]
)
def test_the_same_seed_makes_the_same_bundle_and_another_seed_other_heads(backbone: str, source: str) -> None:
    made = _create(3, backbone, source)
    assert _equal(made, _create(3, backbone, source))
    other = _create(4, backbone, source)
    assert not torch.equal(made.model.heads["verdict"][1].weight, other.model.heads["verdict"][1].weight)


def test_creating_a_bundle_leaves_the_random_state_of_the_process_alone() -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    _create()
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_bundle_comes_back_as_it_was_ready_to_answer(tmp_path: Path) -> None:
    made = _create()
    made.save(tmp_path)
    loaded = bundle.load(tmp_path)
    assert _equal(made, loaded)
    assert loaded.description == made.description
    assert not any(module.training for module in loaded.model.modules())
    assert {name: task.options for name, task in loaded.tasks.items()} == {
        name: task.options for name, task in made.tasks.items()
    }
    assert {name: task.labels for name, task in loaded.tasks.items()} == LABELS


def test_a_bundle_says_what_it_was_made_of() -> None:
    said = _create(source="none").description
    assert (said.name, said.model.backbone, said.model.dropout) == ("tiny", "test_resnet", 0.4)
    assert (said.preprocess.size, said.preprocess.fit) == (48, "letterbox")
    assert said.origin["source"] == "none"
    assert len(said.origin["sha256"]) == 64


def test_a_saved_bundle_is_two_files_that_run_no_code(tmp_path: Path) -> None:
    _create().save(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["bundle.json", "model.safetensors"]
    assert "grün" in (tmp_path / "bundle.json").read_text(encoding="utf-8")
    assert safetensors.torch.load_file(tmp_path / "model.safetensors").keys() == _create().model.state_dict().keys()


def _edited(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    change(content)
    (folder / "bundle.json").write_text(json.dumps(content), encoding="utf-8")


def _other_weights(folder: Path) -> None:
    state = _create(backbone="test_efficientnet").model.state_dict()
    safetensors.torch.save_file({name: value.contiguous() for name, value in state.items()}, folder / bundle.WEIGHTS)


def _one_weight_less(folder: Path) -> None:
    state = safetensors.torch.load_file(folder / bundle.WEIGHTS)
    del state["heads.verdict.1.bias"]
    safetensors.torch.save_file(state, folder / bundle.WEIGHTS)


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no description": (lambda folder: (folder / "bundle.json").unlink(), "holds no bundle"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "holds no bundle"),
    "no JSON": (lambda folder: (folder / "bundle.json").write_text("{"), "holds no bundle"),
    "no text": (lambda folder: (folder / "bundle.json").write_bytes(b"\xff\xfe\x00"), "holds no bundle"),
    "JSON of another kind": (lambda folder: (folder / "bundle.json").write_text("[1]"), "holds no bundle"),
    "a later format": (lambda folder: _edited(folder, lambda said: said.update(format=2)), "holds no bundle"),
    "an unknown key": (lambda folder: _edited(folder, lambda said: said.update(extra=1)), "extra"),
    "an unknown task type": (
        lambda folder: _edited(folder, lambda said: said["tasks"]["tags"].update(type="poetry")),
        "poetry",
    ),
    "an unknown backbone": (lambda folder: _edited(folder, lambda said: said.update(backbone="nonesuch")), "nonesuch"),
    "a task without labels": (lambda folder: _edited(folder, lambda said: said["labels"].pop("tags")), "tags"),
    "truncated weights": (
        lambda folder: (folder / bundle.WEIGHTS).write_bytes((folder / bundle.WEIGHTS).read_bytes()[:-100]),
        "holds no bundle",
    ),
    "weights of another backbone": (_other_weights, "weights do not fit test_resnet"),
    "a weight less": (_one_weight_less, "heads.verdict.1.bias"),
    "a class more": (
        lambda folder: _edited(folder, lambda said: said["labels"]["verdict"]["names"].append("ugly")),
        "heads.verdict.1.weight",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_no_whole_bundle_is_refused_saying_why(damage: str, tmp_path: Path) -> None:
    _create().save(tmp_path)
    harm, said = DAMAGES[damage]
    harm(tmp_path)
    with pytest.raises(ModelError, match=said):
        bundle.load(tmp_path)


def test_an_empty_folder_is_refused_naming_it(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        bundle.load(tmp_path / "gone")
    assert str(tmp_path / "gone") in str(caught.value)


@pytest.mark.parametrize("name", ["type", "train", "items"])
def test_a_task_name_that_pytorch_keeps_for_itself_is_refused(name: str) -> None:
    values = {
        "name": "tiny",
        "data": {"source": {"type": "boards"}, "image": {"size": 32}},
        "tasks": {name: {"type": "classification"}},
        "model": {"backbone": "test_resnet", "weights": {"source": "none"}},
    }
    with pytest.raises(ConfigError, match=rf"tasks\.{name}: .* such as {name}_1"):
        bundle.create(config.parse(values, "test"), {name: LabelSchema(kind="class", names=("a", "b"))})


def _base(folder: Path, backbone: str = "test_vit", seed: int = 0) -> Path:
    """Write random weights of a backbone into a file; adapters need some that can be had again."""
    torch.manual_seed(seed)
    path = folder / f"{backbone}-{seed}.safetensors"
    safetensors.torch.save_file(family.of(backbone).create(backbone, 48).body.state_dict(), path)
    return path


def _with_adapters(path: Path, **lora: Any) -> Bundle:
    made = _create(backbone=path.name.split("-")[0], weights={"source": "path", "path": str(path)}, lora=lora)
    for name, tensor in made.model.own_state().items():
        if "lora_B" in name:
            tensor.normal_(std=0.1)
    return made


def _answers(one: Bundle) -> Tensor:
    pixels = torch.randint(0, 256, (2, 3, 48, 48), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    with torch.no_grad():
        return one.model.eval()(pixels)["verdict"]


def test_the_weights_beneath_adapters_are_left_out_and_all_else_comes_back(tmp_path: Path) -> None:
    made = _with_adapters(_base(tmp_path), rank=2, targets=["qkv"])
    made.save(tmp_path)
    saved = safetensors.torch.load_file(tmp_path / bundle.WEIGHTS)
    assert {name.split(".")[0] for name in saved if ".lora_" not in name} == {"heads", "mean", "std"}
    assert len([name for name in saved if ".lora_" in name]) == 12
    loaded = bundle.load(tmp_path)
    assert _equal(made, loaded)
    assert torch.equal(_answers(made), _answers(loaded))
    assert loaded.description == made.description


def test_adapters_of_a_small_transformer_take_less_than_a_hundredth_of_its_bytes(tmp_path: Path) -> None:
    """At their defaults, with a head of ten classes on either side."""

    def saved(folder: str, **model: Any) -> Bundle:
        values = {
            "name": folder,
            "data": {"source": {"type": "boards"}, "image": {"size": 224}},
            "tasks": {"digit": {"type": "classification"}},
            "model": {"backbone": "vit_small_patch16_224", **model},
        }
        labels = {"digit": LabelSchema(kind="class", names=tuple("0123456789"))}
        made = bundle.create(config.parse(values, "test"), labels)
        (tmp_path / folder).mkdir()
        made.save(tmp_path / folder)
        return made

    path = tmp_path / "base.safetensors"
    plain = saved("plain", weights={"source": "none"})
    safetensors.torch.save_file(plain.model.backbone.get_submodule("body").state_dict(), path)
    saved("adapted", weights={"source": "path", "path": str(path)}, lora={})
    whole, adapted = ((tmp_path / one / bundle.WEIGHTS).stat().st_size for one in ("plain", "adapted"))
    assert adapted <= whole / 100, f"{adapted / whole:.3%}: {adapted:,} of {whole:,} bytes"


def test_a_bundle_with_adapters_says_where_the_weights_beneath_them_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _base(tmp_path)
    monkeypatch.chdir(tmp_path)
    said = _with_adapters(Path(path.name), rank=2).description
    plain = _create(backbone="test_vit", weights={"source": "path", "path": str(path)}).description
    assert said.model.weights.path == str(path)
    assert said.origin == plain.origin
    assert plain.model.weights.path is None


def test_heads_begin_alike_with_and_without_adapters(tmp_path: Path) -> None:
    path = _base(tmp_path)
    given = {"backbone": "test_vit", "weights": {"source": "path", "path": str(path)}}
    plain, adapted = _create(**given), _create(**given, lora={})
    mine, other = plain.model.heads.state_dict(), adapted.model.heads.state_dict()
    assert all(torch.equal(value, other[name]) for name, value in mine.items())
    assert torch.equal(_answers(plain), _answers(adapted))


def test_adapters_are_refused_for_other_weights_than_those_they_learnt_on(tmp_path: Path) -> None:
    path = _base(tmp_path)
    _with_adapters(path, rank=2).save(tmp_path)
    shutil.copy(_base(tmp_path, seed=1), path)
    with pytest.raises(
        ModelError, match=rf"{tmp_path}: its adapters belong to weights of test_vit with SHA-256 .{{64}}"
    ):
        bundle.load(tmp_path)


def test_adapters_whose_base_is_gone_are_refused_saying_who_needs_it_where(tmp_path: Path) -> None:
    path = _base(tmp_path)
    _with_adapters(path, rank=2).save(tmp_path)
    path.unlink()
    with pytest.raises(ModelError, match=rf"{tmp_path}: its adapters need .* every node .*{path}"):
        bundle.load(tmp_path)


def test_adapters_that_are_not_all_there_are_refused(tmp_path: Path) -> None:
    _with_adapters(_base(tmp_path), rank=2).save(tmp_path)
    state = safetensors.torch.load_file(tmp_path / bundle.WEIGHTS)
    state.pop("backbone.body.blocks.0.attn.qkv.lora_B.default.weight")
    safetensors.torch.save_file(state, tmp_path / bundle.WEIGHTS)
    with pytest.raises(ModelError, match=r"(?s)weights do not fit test_vit: .*blocks\.0\.attn\.qkv\.lora_B"):
        bundle.load(tmp_path)


@pytest.mark.parametrize("backbone", ["test_vit", "test_resnet"])
def test_a_merged_bundle_answers_alike_without_peft_and_without_the_base(
    backbone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _base(tmp_path, backbone)
    made = _with_adapters(path, rank=2)
    merged = bundle.merged(made)
    torch.testing.assert_close(_answers(merged), _answers(made), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(
        _answers(merged),
        _answers(_create(backbone=backbone, weights=made.description.model.weights.model_dump())),
        atol=1e-2,
    )
    merged.save(tmp_path)
    path.unlink()
    monkeypatch.setitem(sys.modules, "peft", None)
    loaded = bundle.load(tmp_path)
    assert _equal(merged, loaded)
    assert loaded.description.origin["adapters"] == "folded in; rank 2"


def test_merging_a_bundle_without_adapters_changes_nothing() -> None:
    made = _create()
    assert bundle.merged(made) is made


def _gradients(made: Bundle, depth: int) -> tuple[dict[str, torch.Tensor], int]:
    """Return the gradient of every open weight, and the bytes that were kept for the backward pass."""
    made.model.batchnorm = "held"
    made.model.open_groups(depth)
    made.model.train()
    kept: list[int] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.numel() * tensor.element_size())
        return tensor

    torch.manual_seed(0)
    pixels = torch.randint(0, 256, (2, 3, 48, 48), dtype=torch.uint8)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        outputs = made.model(pixels)
    sum(values.square().sum() for values in outputs.values()).backward()
    return {name: weight.grad for name, weight in made.model.named_parameters() if weight.grad is not None}, sum(kept)


@pytest.mark.parametrize(("backbone", "depth"), [("test_efficientnet", 6), ("test_vit", 2)])
def test_gradient_checkpointing_keeps_less_and_changes_no_gradient(backbone: str, depth: int) -> None:
    plain, plain_bytes = _gradients(_create(backbone=backbone), depth)
    thrifty, thrifty_bytes = _gradients(_create(backbone=backbone, checkpointing=True), depth)
    assert plain.keys() == thrifty.keys()
    assert any(name.startswith("backbone.") for name in plain)
    assert all(torch.equal(value, thrifty[name]) for name, value in plain.items())
    assert thrifty_bytes < plain_bytes


def test_a_backbone_without_gradient_checkpointing_is_refused_by_name() -> None:
    with pytest.raises(ModelError, match=r"model.checkpointing: torchvision/shufflenet_v2_x0_5 cannot compute"):
        _create(backbone="torchvision/shufflenet_v2_x0_5", checkpointing=True)


def test_a_bundle_does_not_ask_for_gradient_checkpointing() -> None:
    assert not _create(backbone="test_vit", checkpointing=True).description.model.checkpointing
