"""Bodies: the encoded images in a request, never reading more than is allowed."""

import json
import re
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from fastapi import Request
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from thaw.config.serving import Serve
from thaw.serving.api import docs, urls
from thaw.serving.api.asking import while_wanted
from thaw.serving.api.contract import Refused

_ENVELOPE_BYTES = 64 * 2**10
"""What a multipart body may hold besides its images."""
_FIELDS, _FIELD_BYTES = 8, 2**14
"""Most of its fields that are no files, and most bytes of one: nobody reads them."""
_BOUNDARY = re.compile(r"""(?i);\s*boundary=("[0-9a-z'()+_,./:=? -]{1,70}"|[0-9a-z'()+_./:=?-]{1,70})\s*(?:;|$)""")
_IMAGES = frozenset({"image", "images"})
"""Fields that are surely meant to be files; others are passed over."""
_BINARY = {"type": "string", "format": "binary"}
_FILES = {
    "type": "object",
    "title": "ImageFiles",
    "properties": {"image": _BINARY, "images": {"type": "array", "items": _BINARY}},
    "description": "One image or several, as files of any field names.",
}
_URL = {
    "type": "object",
    "title": "ImageUrl",
    "required": ["url"],
    "properties": {"url": {"type": "string", "format": "uri", "example": "https://images.example.com/one.jpg"}},
    "description": "Where the image is fetched from, if serve.urls allows its host.",
}
SCHEMAS: docs.Schemas = {"ImageFiles": _FILES, "ImageUrl": _URL}
"""Name -> schema of bodies, for the OpenAPI document."""


def documented(settings: Serve) -> dict[str, Any]:
    """Return what the OpenAPI document says of the body of a request with images."""
    kinds: dict[str, str | dict[str, Any]] = {
        "image/*": _BINARY,
        "application/octet-stream": _BINARY,
        "multipart/form-data": "ImageFiles",
    }
    return docs.body(kinds | ({"application/json": "ImageUrl"} if settings.urls else {}))


async def images(request: Request, settings: Serve) -> list[bytes]:
    """Return the encoded images of a request, one or more.

    Raises:
        Refused: it holds none, too many, or too many bytes.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return await _files(request, settings)
    if kind.startswith("image/") or kind == "application/octet-stream":
        return [await whole(request, settings.limits.max_bytes)]
    if kind == "application/json" and settings.urls:
        return [await _fetched(request, settings)]
    raise Refused(
        415,
        "unsupported_media_type",
        f"content-type {kind[:80] or 'missing'!r}: send image/*, application/octet-stream or multipart/form-data"
        f"{' or application/json' if settings.urls else ''}",
    )


async def whole(request: Request, max_bytes: int, envelope: int = 0) -> bytes:
    """Return a body of at most so many bytes beside those of its envelope.

    Raises:
        Refused: it is larger.
    """
    return b"".join([chunk async for chunk in _bounded(request, max_bytes, max_bytes + envelope)])


async def _bounded(request: Request, told: int, most: int) -> AsyncIterator[bytes]:
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > most:
        raise _too_large(told)
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > most:
            raise _too_large(told)
        yield chunk


class _InMemory(MultiPartParser):
    """A parser that writes no file to a disk: the whole body is in memory already."""

    spool_max_size = sys.maxsize


async def _files(request: Request, settings: Serve) -> list[bytes]:
    """Return the files of a multipart form."""
    max_bytes = settings.limits.max_bytes
    headers = _headers(request.headers["content-type"])
    body = await whole(request, max_bytes, _ENVELOPE_BYTES)

    async def once() -> AsyncGenerator[bytes, None]:
        yield body

    try:
        form = await _InMemory(
            headers, once(), max_files=settings.max_images, max_fields=_FIELDS, max_part_size=_FIELD_BYTES
        ).parse()
        files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
        words = {name for name, value in form.multi_items() if not isinstance(value, UploadFile)}
        found = [await file.read() for file in files]
        await form.close()
    except (MultiPartException, KeyError, ValueError) as error:
        raise Refused(400, "bad_form", f"the multipart form cannot be read: {error}") from None
    if words & _IMAGES:
        raise Refused(
            400, "bad_form", "the multipart form's field 'image' or 'images' is no file; send images as files"
        )
    if not found:
        raise Refused(400, "bad_form", "the multipart form holds no file; send the image as the file field 'image'")
    if sum(map(len, found)) > max_bytes:
        raise _too_large(max_bytes)
    return found


def _headers(kind: str) -> Headers:
    """Return what a form is parsed by: its boundary alone, for names in a charset of the caller's may take hours.

    Raises:
        Refused: there is none.
    """
    found = _BOUNDARY.search(kind)
    if found is None:
        raise Refused(400, "bad_form", "content-type: a multipart form needs a boundary of 1 to 70 plain characters")
    boundary = found[1].strip('"')
    return Headers({"content-type": f'multipart/form-data; boundary="{boundary}"'})


async def _fetched(request: Request, settings: Serve) -> bytes:
    """Return the image at the URL that a JSON body gives."""
    try:
        given = json.loads(await whole(request, 0, _ENVELOPE_BYTES))
        url = given["url"]
    except (ValueError, KeyError, TypeError, RecursionError):
        url = None
    if not isinstance(url, str):
        raise Refused(400, "bad_request", 'a JSON body is {"url": "https://..."}')
    return await while_wanted(request, urls.fetched(url, settings.urls, settings.limits.max_bytes, settings.timeout_s))


def _too_large(max_bytes: int) -> Refused:
    return Refused(413, "too_large", f"more than the {max_bytes} bytes that are allowed")
