"""Several: the images of one request, asked together."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from thaw.serving.api.contract import Answered, Asked, Endpoint


async def each(endpoint: Endpoint, images: Sequence[Asked]) -> list[Answered | BaseException]:
    """Return what became of each image.

    Raises:
        Exception: what was wrong with the first one, where none is answered.
    """
    found = await asyncio.gather(*map(endpoint.answer, images), return_exceptions=True)
    if isinstance(found[0], BaseException) and all(isinstance(one, BaseException) for one in found):
        raise found[0]
    return found


async def by_one_version(endpoint: Endpoint, images: Sequence[Asked]) -> list[Answered]:
    """Return the answers to all images, from the same version of a model.

    Raises:
        Exception: what was wrong with the first image that has no answer.
    """
    found = await _all(endpoint, images)
    if len({one.version for one in found}) > 1:  # one was promoted meanwhile
        found = await _all(endpoint, [replace(one, version=found[0].version) for one in images])
    return found


async def _all(endpoint: Endpoint, images: Sequence[Asked]) -> list[Answered]:
    found: list[Answered] = []
    for one in await asyncio.gather(*map(endpoint.answer, images), return_exceptions=True):
        if isinstance(one, BaseException):
            raise one
        found.append(one)
    return found
