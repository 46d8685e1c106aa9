"""Fetching images for callers: over https, from listed hosts, never from inside, and never too much."""

import asyncio
import datetime
import http.server
import ipaddress
import ssl
import threading
import time
from contextlib import suppress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from thaw.config.serving import Serve
from thaw.serving.api import urls
from thaw.serving.api.contract import Refused


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate of localhost with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    place = tmp_path_factory.mktemp("tls") / "localhost.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    place.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return place


class Host(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        status, headers, body = {
            "/image": (200, {}, b"an image"),
            "/away": (302, {"location": "https://example.com/image"}, b""),
            "/near": (302, {"location": "/image"}, b""),
            "/round": (302, {"location": "/round"}, b""),
            "/missing": (404, {}, b"nothing"),
            "/large": (200, {}, b"x" * 2000),
            "/dripping": (200, {}, b""),
            "/stalling": (200, {}, b""),
        }[self.path]
        if self.path == "/stalling":
            with suppress(OSError):
                self.wfile.write(b"HTTP/1.0 200 OK\r\n\r\nhalf an image")
                time.sleep(3)
            return
        if self.path == "/dripping":
            with suppress(OSError):
                for byte in b"HTTP/1.0 200 OK\r\n" + b"x-slow: " + b"x" * 200:
                    self.wfile.write(bytes([byte]))
                    time.sleep(0.05)
            return
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()  # without a length, so that what comes must be counted
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def fetch(certificate):
    """Fetch a path from a host that lies at 127.0.0.1."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Host)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    trust = ssl.create_default_context(cafile=str(certificate))
    host = f"localhost:{server.server_port}"

    def fetched(path, allowed=(host, "127.0.0.0/8", "::1/128"), trust=trust, left_s=30.0):
        return urls.fetch(f"https://{host}{path}", allowed, 1000, left_s, trust)

    yield fetched, host
    server.shutdown()
    server.server_close()


def refusal(call, *args, **options):
    with pytest.raises(Refused) as refused:
        call(*args, **options)
    return refused.value.status, refused.value.error


def test_what_lies_at_an_allowed_url_comes_and_a_redirect_is_followed(fetch):
    assert fetch[0]("/image") == fetch[0]("/near") == b"an image"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/away", (403, "url_not_allowed")),
        ("/round", (422, "not_fetched")),
        ("/missing", (422, "not_fetched")),
        ("/large", (413, "too_large")),
    ],
)
def test_what_leads_away_or_in_circles_or_is_too_much_is_refused(fetch, path, expected):
    assert refusal(fetch[0], path) == expected


def test_a_private_address_is_refused_unless_its_block_is_named(fetch):
    fetched, host = fetch
    assert refusal(fetched, "/image", allowed=(host,)) == (403, "url_not_allowed")


def test_a_certificate_that_nobody_vouches_for_is_refused(fetch):
    assert refusal(fetch[0], "/image", trust=ssl.create_default_context()) == (422, "not_fetched")


@pytest.mark.parametrize(
    "url",
    [
        "http://a.com/x", "ftp://a.com/x", "//a.com/x", "a.com", "", "https://", "https:///x", "https://user@a.com/x",
        "https://a.com:99999/x", "https://a.com:x/", "https://ä.com/x", "https://[::1", "file:///etc/passwd",
    ],
)  # fmt: skip
def test_what_is_no_plain_https_url_is_refused(url):
    assert refusal(urls.checked, url, ("a.com", "*")) == (400, "bad_url")


@pytest.mark.parametrize(
    ("url", "allowed", "is_allowed"),
    [
        ("https://a.com/x", ("a.com",), True),
        ("https://A.COM/x", ("a.com",), True),
        ("https://a.com:443/x", ("a.com",), True),
        ("https://a.com:8443/x", ("a.com",), False),
        ("https://a.com:8443/x", ("a.com:8443",), True),
        ("https://b.a.com/x", ("*.a.com",), True),
        ("https://a.com/x", ("*.a.com",), False),
        ("https://evila.com/x", ("*.a.com",), False),
        ("https://a.com.evil.com/x", ("a.com", "*.a.com"), False),
        ("https://a.com/x", (), False),
    ],
)
def test_only_hosts_that_are_named_are_allowed(url, allowed, is_allowed):
    if is_allowed:
        assert urls.checked(url, allowed).hostname
    else:
        assert refusal(urls.checked, url, allowed) == (403, "url_not_allowed")


@pytest.mark.parametrize(
    ("address", "is_public"),
    [
        ("93.184.216.34", True), ("127.0.0.1", False), ("10.0.0.1", False), ("169.254.169.254", False),
        ("192.168.1.1", False), ("0.0.0.0", False), ("224.0.0.1", False), ("::1", False), ("fe80::1", False),
        ("::ffff:127.0.0.1", False), ("::ffff:93.184.216.34", True), ("fd00::1", False), ("100.64.0.1", False),
        ("64:ff9b::a9fe:a9fe", False), ("64:ff9b::5db8:d822", True), ("64:ff9b:1::5db8:d822", False),
        ("2002:a9fe:a9fe::1", False), ("::169.254.169.254", False), ("2606:2800:220:1:248:1893:25c8:1946", True),
    ],
)  # fmt: skip
def test_only_public_addresses_are_connected_to(address, is_public):
    assert urls.may_be(ipaddress.ip_address(address), ("a.com",)) == is_public
    assert urls.may_be(ipaddress.ip_address("10.1.2.3"), ("10.1.0.0/16",))
    assert urls.may_be(ipaddress.ip_address("::1"), ("::1/128",))


def test_a_host_that_sends_byte_by_byte_is_cut_off(fetch):
    began = time.monotonic()
    assert refusal(fetch[0], "/dripping", left_s=0.5) == (422, "not_fetched")
    assert refusal(fetch[0], "/stalling", left_s=0.5) == (422, "not_fetched")
    assert time.monotonic() - began < 3


def test_nobody_waits_for_a_name_that_is_never_resolved(monkeypatch):
    monkeypatch.setattr(urls.socket, "getaddrinfo", lambda *_, **__: ended.wait(20))
    monkeypatch.setattr(urls, "_RESOLVING_S", 0.1)
    ended, began = threading.Event(), time.monotonic()
    waiting = urls.fetched("https://images.example.com/one", ("images.example.com",), 1000, 0.1)
    assert refusal(asyncio.run, waiting) == (422, "not_fetched")
    assert time.monotonic() - began < 5
    ended.set()


def test_it_takes_no_longer_than_is_left():
    assert refusal(urls.fetch, "https://localhost:1/x", ("localhost:1", "127.0.0.0/8", "::1/128"), 10, 0.0) == (
        422,
        "not_fetched",
    )
    with pytest.raises(TimeoutError):
        urls._left(time.monotonic() - 1)


@pytest.mark.parametrize("host", ["a.com", "*.a.com", "a.com:8443", "localhost", "10.0.0.0/8", "fd00::/8"])
def test_settings_take_hosts_and_blocks(host):
    assert Serve(urls=(host,)).urls == (host,)


@pytest.mark.parametrize("host", ["https://a.com", "a.com/x", "*", "", "a b", "*.*", "999.0.0.0/8", "10.0.0.0/99"])
def test_settings_take_nothing_else(host):
    with pytest.raises(ValueError):
        Serve(urls=(host,))
