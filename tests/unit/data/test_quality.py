"""Every file decodes to the right pixels or is refused for the right reason; nothing else ever happens."""

import io
import os
import pickle
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError

import hostile
from thaw.config.experiment import Limits
from thaw.data.quality import BadImage, decode, format_of

LIMITS = Limits(max_bytes=20_000_000, max_pixels=50_000_000)
FILES = hostile.files()
GOOD = sorted(name for name, (_, reason) in FILES.items() if reason is None)
BAD = sorted(FILES.keys() - set(GOOD))
BOMBS = [name for name in BAD if name.startswith("bomb_")]


def _reason(data: bytes, limits: Limits = LIMITS) -> str:
    with pytest.raises(BadImage) as caught:
        decode(data, limits)
    return caught.value.reason


def _rgb(colour: tuple[int, ...], size: tuple[int, int] = (8, 8)) -> bytes:
    return hostile.encode(Image.new("RGB", size, colour), "PNG")


def _grey(values: NDArray[np.generic], kind: str = "TIFF") -> NDArray[np.uint8]:
    """Return the (H, W) grey that comes back for these values, after checking that it is grey."""
    pixels = decode(hostile.encode(Image.fromarray(values), kind), LIMITS)
    assert (pixels == pixels[:, :, :1]).all()
    return pixels[:, :, 0]


def _in_a_fresh_process(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``code`` with the import path of these tests: memory, modules, filters and output are its own."""
    paths = os.pathsep.join(path for path in sys.path if path)
    command = [sys.executable, "-W", "always", "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": paths}, check=True)


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_for_its_reason(name: str) -> None:
    data, reason = FILES[name]
    assert _reason(data) == reason


@pytest.mark.parametrize("name", GOOD)
def test_a_good_file_shows_its_colours_upright(name: str) -> None:
    pixels = decode(FILES[name][0], LIMITS)
    assert pixels.dtype == np.uint8
    if name.startswith("red_"):
        assert (np.abs(pixels.astype(int) - (255, 0, 0)) <= 8).all()
        return
    assert pixels.shape == (hostile.HEIGHT, hostile.WIDTH, 3)
    tolerance = 25 if "lab" in name else 8  # 8 bits of Lab cannot hold pure sRGB colours
    for spot, colour in hostile.shows(name).items():
        assert np.abs(pixels[hostile.SPOTS[spot]].astype(int) - colour).max() <= tolerance, spot


def test_the_folder_holds_every_file_and_its_answer(tmp_path: Path) -> None:
    answers = hostile.write(tmp_path)
    assert answers == {name: reason for name, (_, reason) in FILES.items()}
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        name: data for name, (data, _) in FILES.items()
    }


@pytest.mark.parametrize(("name", "shape"), [("red_line_1x3000.png", (3000, 1, 3)), ("red_pixel_1x1.png", (1, 1, 3))])
def test_rows_come_before_columns(name: str, shape: tuple[int, ...]) -> None:
    assert decode(FILES[name][0], LIMITS).shape == shape


def test_lossless_colour_comes_through_bit_for_bit() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (31, 17, 3), dtype=np.uint8)
    np.testing.assert_array_equal(decode(hostile.encode(Image.fromarray(picture), "PNG"), LIMITS), picture)


@pytest.mark.parametrize("name", ["bitmap.bmp", "grey_16bit.png", "alpha_rgba.png"])
def test_pixels_are_writable_and_in_one_piece(name: str) -> None:
    pixels = decode(FILES[name][0], LIMITS)
    assert pixels.flags.writeable
    assert pixels.flags.c_contiguous


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_every_16_bit_shade_is_scaled_to_the_nearest_of_8_bits(kind: str) -> None:
    shades = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    np.testing.assert_array_equal(_grey(shades, kind), np.rint(shades / 257))


def test_wide_integers_stop_at_the_ends_of_16_bits() -> None:
    assert _grey(np.array([[-5, 0, 65535, 2**31 - 1]], dtype=np.int32)).tolist() == [[0, 0, 255, 255]]


def test_float_grey_counts_to_1_or_else_to_255() -> None:
    assert _grey(np.array([[0, 0.5, 1]], dtype=np.float32)).tolist() == [[0, 128, 255]]
    assert _grey(np.array([[0, 0.5, 100.6, 300]], dtype=np.float32)).tolist() == [[0, 0, 101, 255]]
    assert _grey(np.array([[-1, 0.2, 1]], dtype=np.float32)).tolist() == [[0, 0, 1]]


def test_float_grey_survives_what_is_no_number() -> None:
    odd = np.array([[np.nan, -np.inf, np.inf, 3e38, -3e38]], dtype=np.float32)
    assert _grey(odd).tolist() == [[0, 0, 255, 255, 0]]


def test_limits_are_inclusive() -> None:
    data = _rgb((1, 2, 3), (30, 20))
    exact = Limits(max_bytes=len(data), max_pixels=600)
    assert decode(data, exact).shape == (20, 30, 3)
    assert _reason(data, Limits(max_bytes=exact.max_bytes - 1, max_pixels=600)) == "too_large"
    assert _reason(data, Limits(max_bytes=exact.max_bytes, max_pixels=599)) == "too_many_pixels"


def test_a_file_that_is_too_large_is_not_even_looked_at() -> None:
    assert _reason(b"anything", Limits(max_bytes=7, max_pixels=1)) == "too_large"


def test_the_highest_limit_is_pillows_own() -> None:
    most = Limits(max_bytes=10**9, max_pixels=2 * Image.MAX_IMAGE_PIXELS)
    assert _reason(FILES["bomb_bilevel.png"][0], most) == "too_many_pixels"
    with pytest.raises(ValidationError):
        Limits(max_pixels=2 * Image.MAX_IMAGE_PIXELS + 1)


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_at_once(name: str) -> None:
    start = time.perf_counter()
    _reason(FILES[name][0])
    assert time.perf_counter() - start < 0.2


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_bombs_take_no_memory() -> None:
    code = """
import re, sys, hostile
from pathlib import Path
from thaw.config.experiment import Limits
from thaw.data.quality import BadImage, decode, format_of

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024

files = {name: data for name, (data, _) in hostile.files().items() if name.startswith("bomb_")}
for name, data in files.items():
    before = peak()
    try:
        decode(data, Limits(max_bytes=20_000_000, max_pixels=50_000_000))
    except BadImage:
        print(name, peak() - before)
"""
    grown = [line.split() for line in _in_a_fresh_process(code).stdout.splitlines()]
    assert {name for name, _ in grown} == set(BOMBS)
    assert max(float(megabytes) for _, megabytes in grown) < 16


def test_deep_grey_takes_little_more_than_its_pixels() -> None:
    code = """
import io, re
from pathlib import Path
import numpy as np
from PIL import Image
from thaw.config.experiment import Limits
from thaw.data.quality import decode

buffer = io.BytesIO()
Image.fromarray(np.full((4000, 4000), 40_000, dtype=np.uint16)).save(buffer, "PNG")
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024
before = peak()
assert decode(buffer.getvalue(), Limits())[-1, -1].tolist() == [156] * 3
print(peak() - before)
"""
    assert float(_in_a_fresh_process(code).stdout) < 16 * 8  # 2 bytes a pixel as read, 1 and 3 as made, and some bands


@pytest.mark.skipif(sys.platform != "linux", reason="the limit of address space is Linux's")
def test_running_out_of_memory_is_not_blamed_on_the_picture() -> None:
    code = """
import io, re, resource
from pathlib import Path
from PIL import Image
from thaw.data.quality import Limits, decode

buffer = io.BytesIO()
Image.new("1", (12_000, 8_000)).save(buffer, "PNG")
used = int(re.search(r"VmSize:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (used + 32_000_000, resource.RLIM_INFINITY))
try:
    decode(buffer.getvalue(), Limits(max_bytes=10**9))
except MemoryError:
    print("MemoryError")
"""
    assert _in_a_fresh_process(code).stdout == "MemoryError\n"


def test_nothing_is_printed_and_no_other_program_is_near(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from thaw.config.experiment import Limits
from thaw.data.quality import BadImage, decode, format_of

for path in Path(sys.argv[1]).iterdir():
    try:
        decode(path.read_bytes(), Limits(max_bytes=20_000_000, max_pixels=50_000_000))
    except BadImage:
        pass
assert "PIL.EpsImagePlugin" not in sys.modules  # it would start Ghostscript
"""
    hostile.write(tmp_path)
    ran = _in_a_fresh_process(code, str(tmp_path))
    assert (ran.stdout, ran.stderr) == ("", "")


@pytest.mark.parametrize("name", BAD)
def test_words_for_people_quote_no_address_and_no_path(name: str) -> None:
    with pytest.raises(BadImage) as caught:
        decode(FILES[name][0], LIMITS)
    words = str(caught.value)
    assert words == f"{caught.value.reason}: {caught.value.detail}"
    assert not any(sign in words for sign in ("0x", "<", "/", "\\", "object"))


def test_a_refusal_travels_between_processes() -> None:
    error = BadImage("empty", "the file has no bytes")
    back = pickle.loads(pickle.dumps(error))
    assert (back.reason, back.detail, str(back)) == (error.reason, error.detail, str(error))


def _mutate(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Return ``data`` with bytes changed, cut short, or its tail taken from another file."""
    kind, place = rng.integers(3), int(rng.integers(len(data)))
    if kind == 0:
        return data[:place]
    if kind == 1:
        return data[:place] + other[int(rng.integers(len(other))) :]
    changed = bytearray(data)
    for spot in rng.integers(0, len(data), rng.integers(1, 9)):
        changed[spot] = rng.integers(256)
    return bytes(changed)


@pytest.mark.parametrize("kind", hostile.samples())
def test_mutated_files_give_pixels_or_a_refusal_and_nothing_else(kind: str) -> None:
    samples = hostile.samples()
    rng = np.random.default_rng(sorted(samples).index(kind))
    others = list(samples.values())
    for _ in range(30):
        data = _mutate(samples[kind], others[rng.integers(len(others))], rng)
        try:
            pixels = decode(data, Limits(max_bytes=10**6, max_pixels=10**6))
        except BadImage:
            continue
        assert pixels.dtype == np.uint8
        assert pixels.ndim == 3
        assert pixels.shape[2] == 3


def test_threads_do_not_disturb_each_other() -> None:
    def answer(name: str) -> bytes | str:
        try:
            return decode(FILES[name][0], LIMITS).tobytes()
        except BadImage as error:
            return str(error)

    alone = {name: answer(name) for name in FILES}
    with ThreadPoolExecutor(8) as threads:
        for _ in range(5):
            assert dict(zip(FILES, threads.map(answer, FILES), strict=True)) == alone


def test_odd_files_from_real_collections_decode() -> None:
    if "THAW_DATA" not in os.environ:
        pytest.skip("THAW_DATA is not set: it names a folder with real images in odd/")
    paths = sorted((Path(os.environ["THAW_DATA"]) / "odd").iterdir())
    assert paths
    for path in paths:
        with Image.open(io.BytesIO(path.read_bytes())) as image:
            assert decode(path.read_bytes(), LIMITS).shape == (image.height, image.width, 3)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("JPEG", "JPEG"), ("PNG", "PNG"), ("GIF", "GIF"), ("WEBP", "WebP"), ("BMP", "BMP"), ("TIFF", "TIFF")],
)
def test_the_format_is_told_by_the_content(name: str, wanted: str) -> None:
    assert format_of(hostile.encode(Image.new("RGB", (8, 8)), name)) == wanted


@pytest.mark.parametrize(
    ("content", "wanted"),
    [(b"\0\0\0\x18ftypheic", "HEIC"), (b"%PDF-1.7", "PDF"), (b" <svg >", "SVG"), (b"hello", None), (b"", None)],
)
def test_formats_that_are_not_read_are_told_too(content: bytes, wanted: str | None) -> None:
    assert format_of(content) == wanted
