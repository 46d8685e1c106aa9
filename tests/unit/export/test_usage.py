"""What stands in usage.json is enough to answer with ONNX Runtime and Pillow alone, without a line of Thaw."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image

import stored as made
from stored import Stored
from thaw import predictor
from thaw.export.usage import usage


def _letterboxed(image: Image.Image, size: int, grey: int) -> np.ndarray:
    """Bring an image to the input as the file says in words, with Pillow."""
    scale = size / max(image.size)
    wide, high = (max(1, round(edge * scale)) for edge in image.size)
    laid = Image.new("RGB", (size, size), (grey,) * 3)
    laid.paste(image.resize((wide, high), Image.Resampling.BILINEAR), ((size - wide) // 2, (size - high) // 2))
    return np.asarray(laid).transpose(2, 0, 1)


def test_a_program_without_thaw_gives_the_same_answers(stored: Stored, written: Path) -> None:
    told = json.loads(json.dumps(usage(stored.bundle)))
    size, grey = told["before"]["size"], told["before"]["grey"]
    assert told["before"]["fit"] == "letterbox"
    images = [made.image(seed) for seed in range(100, 106)]
    pixels = np.stack([_letterboxed(Image.fromarray(one), size, grey) for one in images])
    session = onnxruntime.InferenceSession(written / "model.onnx", providers=["CPUExecutionProvider"])
    assert (pixels.dtype, list(pixels.shape[1:])) == (told["input"]["type"], told["input"]["shape"][1:])
    outputs = [name for task in told["after"].values() for name in task["outputs"]]
    colours, tags = session.run(outputs, {told["input"]["name"]: pixels})
    answers = predictor.answer(stored.bundle, images)
    for row, answer in enumerate(answers):
        names = told["after"]["colour"]["classes"]
        assert names[int(colours[row].argmax())] == answer["colour"].label
        assert dict(zip(names, colours[row], strict=True)) == pytest.approx(answer["colour"].scores, abs=0.02)
        named = zip(told["after"]["tags"]["classes"], tags[row], strict=True)
        assert {name for name, p in named if p >= told["after"]["tags"]["thresholds"][name]} == set(
            answer["tags"].labels
        )


def test_mean_and_std_are_told_on_the_usual_scale(stored: Stored) -> None:
    inside = usage(stored.bundle)["inside"]
    backbone = stored.bundle.model.backbone
    assert inside["mean"] == pytest.approx(backbone.mean, abs=1e-5)
    assert inside["std"] == pytest.approx(backbone.std, abs=1e-5)
