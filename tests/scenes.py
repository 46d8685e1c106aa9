"""Scenes: pictures with as much in them as photographs have, drawn by number, and what is done to copies of them."""

import io

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from thaw.data import facts


def scene(number: int, width: int = 160, height: int = 120) -> Image.Image:
    """Return a picture whose waves are as large as they are long, like those of photographs, in colour."""
    draw = np.random.default_rng(number)
    often = np.hypot(np.fft.fftfreq(height)[:, None] * height, np.fft.fftfreq(width) * width)
    waves = draw.normal(size=(3, height, width)) + 1j * draw.normal(size=(3, height, width))
    shown = np.fft.ifft2(waves / np.maximum(often, 1)).real
    shown = shown.mean(axis=0) + 0.3 * shown
    low, high = np.quantile(shown, [0.02, 0.98])
    return Image.fromarray(np.moveaxis(np.clip((shown - low) / (high - low) * 255, 0, 255).astype(np.uint8), 0, -1))


def compressed(image: Image.Image, quality: int = 30) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def cropped(image: Image.Image, left: float, top: float, right: float, bottom: float) -> Image.Image:
    """Cut shares of the sides off."""
    wide, high = image.size
    return image.crop((round(left * wide), round(top * high), round((1 - right) * wide), round((1 - bottom) * high)))


def resized(image: Image.Image, share: float) -> Image.Image:
    return image.resize((round(image.width * share), round(image.height * share)))


def brightened(image: Image.Image, times: float = 0.8) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(times)


CHANGES = {
    "compressed": compressed,
    "halved": lambda image: resized(image, 0.5),
    "enlarged": lambda image: resized(image, 1.5),
    "cropped at one corner": lambda image: cropped(image, 0.2, 0.2, 0, 0),
    "cropped all around": lambda image: cropped(image, 0.03, 0.12, 0.11, 0.05),
    "mirrored": ImageOps.mirror,
    "darkened": brightened,
    "grey": lambda image: image.convert("L").convert("RGB"),
    "cropped, mirrored, halved, darkened and compressed": lambda image: compressed(
        brightened(resized(ImageOps.mirror(cropped(image, 0.02, 0.1, 0.13, 0.03)), 0.7)), 50
    ),
}


def signature(image: Image.Image) -> str:
    """Return the signature that preparing gives a picture."""
    found: str = facts.measure(b"", np.asarray(image))["signature"]
    return found
