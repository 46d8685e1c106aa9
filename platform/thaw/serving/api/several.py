"""Several: the images of one request, asked together."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace

from thaw.serving.api.contract import Answered, Asked, Endpoint, Refused

_log = logging.getLogger("thaw.serving")


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

    Where one was promoted meanwhile, or one that is tried has failed on some, all are asked of one that has answered.

    Raises:
        Exception: what was wrong with the first image that has no answer.
    """
    found = await _all(endpoint, images)
    first, *others = dict.fromkeys(one.version for one in found)
    if not others:
        return found
    for version in reversed(others):
        try:
            return await _by(endpoint, images, version)
        except Refused:
            raise
        except Exception as error:  # noqa: BLE001 - another version may do better
            _log.warning("version %s does not answer all images of a request: %s", version, error)
    return await _by(endpoint, images, first)


async def _by(endpoint: Endpoint, images: Sequence[Asked], version: int) -> list[Answered]:
    return await _all(endpoint, [replace(one, version=version, again=True) for one in images])


async def _all(endpoint: Endpoint, images: Sequence[Asked]) -> list[Answered]:
    found: list[Answered] = []
    for one in await asyncio.gather(*map(endpoint.answer, images), return_exceptions=True):
        if isinstance(one, BaseException):
            raise one
        found.append(one)
    return found
