"""URLs: images fetched for a caller, over https, from hosts of an allow-list alone.

The address that was checked is the one that is connected to, so that a name cannot lead elsewhere in between.
"""

import asyncio
import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from fnmatch import fnmatchcase
from functools import partial
from urllib.parse import SplitResult, urljoin, urlsplit

from thaw.serving.api.contract import Refused

_REDIRECTS = 3
_LEADS_ON = (301, 302, 303, 307, 308)
_MOST_S = 10.0
_RESOLVING_S = 1.0
"""Seconds more after which nobody waits for a fetch: the system's resolver knows no bound."""
_CHUNK = 64 * 2**10
_HTTPS = 443

_FETCHERS = ThreadPoolExecutor(8, "fetch")
"""Threads of their own, so that slow hosts hold up no other work."""
_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")
"""Where networks without IPv4 have its addresses: RFC 6052."""
_TRANSLATED_HERE = ipaddress.ip_network("64:ff9b:1::/48")
"""Where they have those of their own networks: RFC 8215."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


async def fetched(url: str, allowed: Sequence[str], max_bytes: int, left_s: float) -> bytes:
    """Return what lies at a URL, by `fetch` in a thread."""
    wanted = partial(fetch, url, allowed, max_bytes, left_s)
    try:
        async with asyncio.timeout(min(left_s, _MOST_S) + _RESOLVING_S):
            return await asyncio.get_running_loop().run_in_executor(_FETCHERS, wanted)
    except TimeoutError:
        raise _unfetched("nothing can be had from there") from None


def fetch(
    url: str, allowed: Sequence[str], max_bytes: int, left_s: float, trust: ssl.SSLContext | None = None
) -> bytes:
    """Return what lies at a URL; it blocks.

    Args:
        allowed: hosts, and address blocks that they may lie in though these are private; see ``serve.urls``.
        left_s: seconds that it may take in all.
        trust: whose certificates are believed; those of the system when left out.

    Raises:
        Refused: it leads to no allowed place, or nothing of at most so many bytes comes from there in time.
    """
    until = time.monotonic() + min(left_s, _MOST_S)
    try:
        for _ in range(_REDIRECTS + 1):
            place = checked(url, allowed)
            made = _Connection(place, _address(place, allowed), until, trust or ssl.create_default_context())
            with closing(made) as connection, connection.cut_off(), closing(connection.asked(place)) as response:
                if response.status not in _LEADS_ON:
                    return _content(response, max_bytes, until)
                url = urljoin(url, response.headers.get("location", ""))
    except (OSError, http.client.HTTPException, ValueError):
        raise _unfetched("nothing can be had from there") from None
    raise _unfetched(f"it leads on more than {_REDIRECTS} times")


def checked(url: str, allowed: Sequence[str]) -> SplitResult:
    """Return the parts of a URL that may be fetched.

    Raises:
        Refused: it is none.
    """
    try:
        place = urlsplit(url)
        host, port = (place.hostname or "").lower(), place.port or _HTTPS
    except ValueError:
        raise Refused(400, "bad_url", "url: not a URL") from None
    if place.scheme != "https" or not host or place.username is not None or not url.isascii() or not url.isprintable():
        raise Refused(400, "bad_url", "url: https://host/path is needed, without a user")
    shown = host if port == _HTTPS else f"{host}:{port}"
    hosts = [one.lower() for one in allowed if "/" not in one]
    if not any(shown == one or (one.startswith("*.") and fnmatchcase(shown, one)) for one in hosts):
        raise Refused(
            403, "url_not_allowed", "url: its host is none of those that images are fetched from (serve.urls)"
        )
    return place


def may_be(address: Address, allowed: Sequence[str]) -> bool:
    """Return whether an address may be connected to: a public one, or one in a block that is allowed."""
    real = _meant(address)
    blocks = [ipaddress.ip_network(one, strict=False) for one in allowed if "/" in one]
    return (real.is_global and not real.is_multicast) or any(
        real.version == block.version and real in block for block in blocks
    )


def _meant(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 one stands for, where it does."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _TRANSLATED or 1 < int(address) < 2**32:  # ::1 is this machine, and no address of IPv4
        return ipaddress.IPv4Address(int(address) % 2**32)
    if address in _TRANSLATED_HERE:
        return ipaddress.IPv4Address(0)
    return address.ipv4_mapped or address.sixtofour or address


def _address(place: SplitResult, allowed: Sequence[str]) -> str:
    """Return an address of a host, all of which may be connected to.

    Raises:
        Refused: one may not.
    """
    found = socket.getaddrinfo(place.hostname, place.port or _HTTPS, type=socket.SOCK_STREAM)
    addresses = [str(one[4][0]) for one in found]
    if not all(may_be(ipaddress.ip_address(one.partition("%")[0]), allowed) for one in addresses):
        raise Refused(403, "url_not_allowed", "url: its host lies at an address that nothing is fetched from")
    return addresses[0]


class _Connection(http.client.HTTPSConnection):
    """A connection to one address of a host, whose certificate must be of the host's name."""

    def __init__(self, place: SplitResult, address: str, until: float, trust: ssl.SSLContext) -> None:
        super().__init__(str(place.hostname), place.port or _HTTPS, timeout=_left(until), context=trust)
        self._address, self._until, self._trust = address, until, trust
        self._open: ssl.SSLSocket | None = None

    def connect(self) -> None:
        plain = socket.create_connection((self._address, self.port), _left(self._until))
        try:
            self._open = self._trust.wrap_socket(plain, server_hostname=self.host, do_handshake_on_connect=False)
            self._open.do_handshake()
            self.sock = self._open
        except BaseException:
            (self._open or plain).close()
            raise

    @contextmanager
    def cut_off(self) -> Iterator[None]:
        """End the connection when the time is over: a timeout of a socket begins anew with each byte."""
        timer = threading.Timer(_left(self._until), self._cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _cut(self) -> None:
        with suppress(OSError):
            if self._open is not None:
                self._open.shutdown(socket.SHUT_RDWR)

    def asked(self, place: SplitResult) -> http.client.HTTPResponse:
        """Return the response to a request for a place on the host."""
        path = (place.path or "/") + (f"?{place.query}" if place.query else "")
        self.request("GET", path, headers={"accept": "image/*", "accept-encoding": "identity", "user-agent": "thaw"})
        return self.getresponse()


def _content(response: http.client.HTTPResponse, max_bytes: int, until: float) -> bytes:
    if response.status != 200:
        raise _unfetched(f"its host answers with {response.status}")
    if (response.length or 0) > max_bytes:
        raise Refused(413, "too_large", f"more than the {max_bytes} bytes that are allowed")
    content = bytearray()
    while chunk := response.read1(_CHUNK):
        content += chunk
        if len(content) > max_bytes:
            raise Refused(413, "too_large", f"more than the {max_bytes} bytes that are allowed")
        _left(until)
    _left(until)  # what was cut off looks as if it had come to its end
    return bytes(content)


def _left(until: float) -> float:
    """Return the seconds that are left.

    Raises:
        TimeoutError: none are.
    """
    left_s = until - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s


def _unfetched(why: str) -> Refused:
    return Refused(422, "not_fetched", f"url: {why}")
