"""Usage: what a program that does without Thaw must do before and after an exported network, as plain values."""

from typing import Any

from thaw.backends.network import INPUT, flat
from thaw.bundle import Bundle
from thaw.data.placement import PAD

_LAYING = {
    "crop": "cut a square as long as the shorter side out of the middle: its left edge is round((width - side) / 2), "
    "its upper one round((height - side) / 2), halves rounded to even",
    "stretch": "the whole image is seen",
    "letterbox": "the whole image is seen; its longer side becomes size, the shorter one keeps the shape, rounded, and "
    "it lies in the middle (offsets rounded down) of a square filled with grey",
}


def usage(bundle: Bundle) -> dict[str, Any]:
    """Return how images become a network's input, and how answers are read off its outputs."""
    preprocess, model = bundle.description.preprocess, bundle.model
    size = preprocess.size
    return {
        "input": {
            "name": INPUT,
            "type": "uint8",
            "shape": ["batch", 3, size, size],
            "layout": "NCHW, channels red, green, blue, values 0 to 255",
        },
        "before": {
            "size": size,
            "fit": preprocess.fit,
            "grey": PAD,
            "resampling": "bilinear with antialiasing, as torchvision.transforms.v2.functional.resize on uint8 and "
            "Pillow's Image.resize with BILINEAR have it",
            "steps": [
                "decode; turn upright by the EXIF orientation; lay transparent images over white; to 8-bit RGB",
                _LAYING[preprocess.fit],
                "bring what is seen to its size in the input by the resampling; an image of that size stays as it is",
            ],
        },
        "inside": {
            "what": "the network scales pixels and subtracts the mean itself: (pixels / 255 - mean) / std by channel",
            "mean": [round(value, 6) for value in (model.mean.flatten() / 255).tolist()],
            "std": [round(value, 6) for value in (model.std.flatten() / 255).tolist()],
        },
        "after": {name: _of_task(name, task.reading()) for name, task in bundle.tasks.items()},
    }


def _of_task(task: str, reading: dict[str, Any]) -> dict[str, Any]:
    """Return a reading with its outputs by the names they have in the file."""
    return {**reading, "outputs": {flat((task, name)): told for name, told in reading["outputs"].items()}}
