"""Files: what cannot be read, is not what its name says, or shows little.

What is called small, dark or blurred must be so by itself and among the images of its set, so that photographs through
a microscope are not all bright, nor panoramas all of an odd shape.
"""

from collections.abc import Iterator
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from thaw.data.preprocess import Preprocess
from thaw.inspection.finding import Finding, Level
from thaw.inspection.material import Material
from thaw.inspection.outliers import distances
from thaw.inspection.told import are, set_aside, worst

GATES: tuple[str, ...] = ()
NEEDS_VECTORS = False

_LOOK = "Look at them, and leave out what shows nothing of what the model shall see."

_SET_ASIDE = {
    "unreadable": ("their files cannot be opened", "Check that the files exist and may be read on every node."),
    "empty": ("their files have no bytes", "Copy them again, or take them out of the source."),
    "truncated": ("their files end before the picture does", "Copy or download them again."),
    "corrupt": ("their content is broken", "Copy or download them again."),
    "not_an_image": ("their content is not that of a picture", "Take them out of the source."),
    "unsupported_format": ("their format is not read here", "Convert them to JPEG or PNG."),
    "too_large": ("their files exceed data.limits.max_bytes", "Make them smaller, or raise data.limits.max_bytes."),
    "too_many_pixels": ("they exceed data.limits.max_pixels", "Make them smaller, or raise data.limits.max_pixels."),
    "too_many_scans": ("a JPEG of so many scans is made to stall its reader", "Find out where they come from."),
}

_SUFFIXES = {
    ("jpg", "jpeg", "jpe", "jfif", "mpo"): "JPEG",
    ("png", "apng"): "PNG",
    ("gif",): "GIF",
    ("webp",): "WebP",
    ("bmp", "dib"): "BMP",
    ("tif", "tiff"): "TIFF",
}
_FORMATS = {suffix: name for suffixes, name in _SUFFIXES.items() for suffix in suffixes}

_ENLARGED = 1.5
"""How many times larger an image is made for the model before that is said: there is nothing to see in between."""
_SIZE = 10.0
"""Times more or fewer pixels than usual: three times the side. An image made from another one differs by less."""
_ASPECT, _UNUSUAL = 1 / 0.35, 2.0
"""From which longer to shorter side an aspect is odd (CleanVision's default), if it is also so many times the usual."""
_ONE_COLOUR = 4
"""Grey levels within which all but 1 % of the pixels lie; compression alone moves them by one or two."""
_FAR = 4.0
"""Standard deviations from the set's median from which an image is unlike the others."""
_BLUR, _BLUR_LEAST = 0.5, 0.03
"""Blur that looks unsharp at 256 pixels, and least deviation. Of photographs, those blurred with a sigma of 2 pixels at
that size were found in 99 % of cases, and 1 in 1,000 others."""
_DARK, _BRIGHT = 0.32 * 255, 0.95 * 255
"""Grey value that 99 % of the pixels of a dark image do not exceed, and 95 % of a bright one do (CleanVision's)."""
_LIGHT_LEAST = 0.1
"""Least deviation of the logarithm of light: what a tenth more or less makes is seen by nobody."""


def check(material: Material) -> Iterator[Finding]:
    """Yield what is wrong with files and pictures."""
    yield from set_aside(material, _SET_ASIDE, "files", ("image", "images"))
    for look in (_wrong_extension, _enlarged, _odd_size, _odd_aspect, _one_colour, _blurred, _dark, _bright):
        if material.ids:
            yield from look(material)


def _wrong_extension(material: Material) -> Iterator[Finding]:
    said = [_FORMATS.get(PurePosixPath(one).suffix.lower().removeprefix(".")) for one in material.ids]
    shown = material.facts["format"].to_pylist()
    wrong = np.array([name not in (None, content) for name, content in zip(said, shown, strict=True)])
    if wrong.any():
        yield Finding(
            name="files_wrong_extension",
            level="note",
            told=f"{are(int(wrong.sum()), len(wrong))} of another format than their names say.",
            advice="Nothing needs to be done for Thaw, which goes by the content; rename them for other programs.",
            count=int(wrong.sum()),
            cases=worst(material.ids, wrong, np.zeros(len(wrong)), lambda row: f"is {shown[row]}"),
        )


def _enlarged(material: Material) -> Iterator[Finding]:
    """Yield images that are much smaller than the model's input; where most are, that is how the set is."""
    image = material.experiment.data.image
    widths, heights = material.fact("width"), material.fact("height")
    places = [Preprocess.of(image).place(high, wide) for wide, high in zip(widths, heights, strict=True)]
    times = np.array([max(one.filled.width / one.seen.width, one.filled.height / one.seen.height) for one in places])
    usual = float(np.median(times))
    yield from _found(
        material,
        times > _ENLARGED,
        times,
        name="images_smaller_than_input",
        level="note" if usual > _ENLARGED else "warning",
        told=f"made more than {_ENLARGED:g} times larger to fill the model's input of {image.size} pixels.",
        advice="Take larger images of the same things, or lower data.image.size, which also saves time.",
        figures={"median_times": round(usual, 3)},
    )


def _odd_size(material: Material) -> Iterator[Finding]:
    pixels = np.log10(material.fact("width").astype(float) * material.fact("height"))
    apart = np.abs(pixels - np.median(pixels))
    usual = 10 ** float(np.median(pixels))
    yield from _found(
        material,
        apart > np.log10(_SIZE),
        apart,
        name="images_odd_size",
        level="note",
        told=f"more than {_SIZE:g} times larger or smaller than is usual here, {usual:,.0f} pixels.",
        advice="Look where they come from: thumbnails and scans show things at another scale than the other images.",
        figures={"median_pixels": round(usual)},
    )


def _odd_aspect(material: Material) -> Iterator[Finding]:
    aspects = np.log(material.fact("width") / material.fact("height"))
    odd, usual = np.abs(aspects), float(np.median(aspects))
    what = {
        "letterbox": "of such an image most of the input is grey",
        "stretch": "such an image is squeezed",
        "crop": "of such an image less than a third or so is seen",
    }
    yield from _found(
        material,
        (odd > np.log(_ASPECT)) & (np.abs(aspects - usual) > np.log(_UNUSUAL)),
        odd,
        name="images_odd_aspect",
        level="warning",
        told=f"more than {_ASPECT:.2g} times longer one way than the other: with data.image.fit "
        f"{material.experiment.data.image.fit}, {what[material.experiment.data.image.fit]}.",
        advice="Cut out of them what matters, or leave them out.",
        figures={"median_aspect": round(float(np.exp(usual)), 3)},
    )


def _one_colour(material: Material) -> Iterator[Finding]:
    spread = material.fact("spread")
    yield from _found(
        material,
        _plain(material),
        -spread,
        name="images_one_colour",
        level="warning",
        told="of one colour.",
        advice="Leave them out: there is nothing to be learnt from them but their label.",
    )


def _plain(material: Material) -> NDArray[np.bool_]:
    """Return which images are of one colour; those are not said to be blurred, dark or bright as well."""
    plain: NDArray[np.bool_] = material.fact("spread") <= _ONE_COLOUR
    return plain


def _blurred(material: Material) -> Iterator[Finding]:
    blur = material.fact("blur")
    yield from _found(
        material,
        (blur > _BLUR) & (distances(blur, _BLUR_LEAST) > _FAR) & ~_plain(material),
        blur,
        name="images_blurred",
        level="warning",
        told="blurred, by themselves and compared with the others.",
        advice=_LOOK + " If served images will be blurred too, keep them, and set data.augment.blur.",
        figures={"median_blur": round(float(np.median(blur)), 3)},
    )


def _dark(material: Material) -> Iterator[Finding]:
    far = -distances(np.log1p(material.fact("brightness")), _LIGHT_LEAST)
    yield from _found(
        material,
        (material.fact("high") < _DARK) & (far > _FAR) & ~_plain(material),
        far,
        name="images_dark",
        level="warning",
        told="almost black, and much darker than the others.",
        advice=_LOOK,
    )


def _bright(material: Material) -> Iterator[Finding]:
    far = -distances(np.log1p(255 - material.fact("brightness")), _LIGHT_LEAST)
    yield from _found(
        material,
        (material.fact("low") > _BRIGHT) & (far > _FAR) & ~_plain(material),
        far,
        name="images_bright",
        level="warning",
        told="almost white, and much brighter than the others.",
        advice=_LOOK,
    )


def _found(
    material: Material,
    chosen: NDArray[np.bool_],
    by: NDArray[np.float64],
    *,
    name: str,
    level: Level,
    told: str,
    advice: str,
    figures: dict[str, float] | None = None,
) -> Iterator[Finding]:
    """Yield the finding of the chosen images, if there are any; ``told`` goes on after ``3 of 9 images are``."""
    if not chosen.any():
        return
    sizes = list(zip(material.fact("width").tolist(), material.fact("height").tolist(), strict=True))
    splits = material.splits
    yield Finding(
        name=name,
        level=level,
        told=f"{are(int(chosen.sum()), len(chosen))} {told}",
        advice=advice,
        count=int(chosen.sum()),
        cases=worst(material.ids, chosen, by, lambda row: f"{splits[row]}, {sizes[row][0]} x {sizes[row][1]}"),
        figures=figures or {},
    )
