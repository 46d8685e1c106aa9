"""Which .json files of a folder are COCO's, and where their images lie."""

from collections.abc import Container, Mapping, Sequence
from typing import Any

from thaw.data.files import Folder
from thaw.data.sources._coco_json import File, everything, load
from thaw.data.sources.contract import Recognised, split_in
from thaw.errors import DataError

_TRIED = 20
"""Images of each file that are looked for."""


def recognise(folder: Folder) -> Recognised | None:
    """Return what speaks for .json files; see `thaw.data.sources.coco.recognise`."""
    inner = [f"{name}/{one}" for name in folder.folders() for one in folder.names(name)]
    files = {
        path: file for path in (*folder.names(), *inner) if path.endswith(".json") and (file := _read(folder, path))
    }
    if not files:
        return None
    there, found = set(folder.below()), {}
    for path, file in files.items():
        names = [image["file_name"] for image in list(file.images.values())[:_TRIED]]
        found[path] = _images_folder(folder, path, names, there)
    good, left_out = _one_a_split({path: files[path] for path, images in found.items() if images is not None}, found)
    if not good:
        path, file = next(iter(files.items()))
        name = next(iter(file.images.values()))["file_name"]
        raise DataError(f"{folder.shown(path)} names images that are not in {folder}, such as {name}")
    images = {path: found[path] or "." for path in good}
    plain = set(images) == {one for one in folder.names() if one.endswith(".json")} and len(set(images.values())) == 1
    lone = len(images) == 1 and plain
    return Recognised(
        confidence=0.9,
        seen=f"{', '.join(images)} with {sum(len(files[path].images) for path in good)} images",
        options=_images_option(images, plain or lone),
        unsure=tuple(f"whether {path} is wanted too: it is not read" for path in left_out),
    )


def _images_option(images: Mapping[str, str], plain: bool) -> dict[str, Any]:
    if not plain:
        return {"images": dict(images)}
    [images_of_all] = set(images.values())
    return {} if images_of_all == "." else {"images": images_of_all}


def _read(folder: Folder, path: str) -> File | None:
    """Return what a file says if it is laid out as COCO is and says where things are."""
    try:
        file = load(folder, path)
    except DataError:
        return None
    told = any(one.get("bbox") or one.get("segmentation") for one in everything(file))
    return file if file.images and told else None


def _images_folder(folder: Folder, path: str, names: Sequence[str], there: Container[str]) -> str | None:
    """Return the folder below which most of the named images lie; of several, one of the file's split, or its own."""
    near = path.rpartition("/")[0]
    tops = folder.folders()
    places = [near, "", *tops, *(f"{top}/{inner}" for top in tops for inner in folder.folders(top))]
    counts = {place: sum(f"{place}/{name}".lstrip("/") in there for name in names) for place in places}
    best = max(counts, key=lambda place: (counts[place], split_in(place) == split_in(path)))
    return best if counts[best] else None


def _one_a_split(files: Mapping[str, File], images: Mapping[str, str | None]) -> tuple[list[str], list[str]]:
    """Return the files of which each names other images than those before it, and the rest; ``instances`` first."""
    good: list[str] = []
    seen: set[tuple[str | None, str]] = set()
    for path in sorted(files, key=lambda one: ("instances" not in one, one)):
        named = {(images[path], image["file_name"]) for image in files[path].images.values()}
        if not named & seen:
            good.append(path)
            seen |= named
    return good, sorted(set(files) - set(good))
