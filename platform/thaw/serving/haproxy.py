"""HAProxy: how Ray's configuration of it is told what it has no settings for.

Ray writes HAProxy's configuration out of a template, and some of its variables are texts that get there as they are. A
value of several lines adds directives where it stands: that of what is tried again to the section for all
(``defaults``), that of the interval of health checks to the one with the replicas (``backend``).
"""

import json

from thaw.config.serving import Serve

BUFFER_BYTES = 256 * 2**10
"""What HAProxy keeps of a request to send it again: requests up to about this size survive their replica."""
RETRIES = 3
_OTHERS = 64
"""Requests without a body that may wait for a replica, such as those of probes and of the page."""
_HELD_S = 1
"""Seconds that a refusal is held back, so that whoever asks again at once is slowed down."""
_ID = "%[var(txn.id)]"
"""The id of a request, in HAProxy's words."""


def environment(settings: Serve) -> dict[str, str]:
    """Return the variables with which Ray must be started on every node.

    Answering an image changes nothing, so that a request whose replica dies may be sent to another one. HAProxy can
    only do that while it holds the whole request: it must wait for all of it before it sends the first byte on, and its
    buffer must have room for it.
    """
    return {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_HAPROXY_RETRIES": str(RETRIES),
        "RAY_SERVE_HAPROXY_TUNE_BUFSIZE": str(BUFFER_BYTES),
        "RAY_SERVE_HAPROXY_RETRY_ON": _lines("conn-failure empty-response", *_sending_again()),
        "RAY_SERVE_HAPROXY_BALANCE_ALGORITHM": _lines("leastconn", *_errors()),
        "RAY_SERVE_HAPROXY_HEALTH_CHECK_INTER": _lines(f"5s maxconn {settings.max_queued}", *_backend()),
    }


def _sending_again() -> list[str]:
    return ["option http-buffer-request", f"timeout tarpit {_HELD_S}s"]


def _errors() -> list[str]:
    """Return how HAProxy tells its own errors: Ray would make an Internal Server Error of each."""
    told = {
        502: ("replica_ended", "the replica that had this request ended before it answered; send it again"),
        503: ("no_replica", "no replica answers at present; send it again later"),
        504: ("deadline", "no replica answered in time"),
    }
    return [
        f"http-error status {status} content-type application/json hdr retry-after {_HELD_S} "
        f"hdr x-request-id {_ID} lf-string '{_problem(error, detail)}'"
        for status, (error, detail) in told.items()
    ]


def _backend() -> list[str]:
    """Return what is said of the replicas: each is given so many requests, and what would wait beyond is refused.

    The last line is one that Ray's own words may follow.
    """
    refusal = _problem("overloaded", "every replica is busy; send it again later")
    headers = f"hdr retry-after {_HELD_S} hdr x-request-id {_ID}"
    return [
        "http-request set-var(txn.id) uuid()",
        "http-request set-var(txn.id) req.hdr(x-request-id) if { req.hdr(x-request-id) -m reg ^[A-Za-z0-9._-]{1,64}$ }",
        f"http-request tarpit deny_status 503 content-type application/json {headers} lf-string '{refusal}' "
        f"if METH_POST {{ queue ge 1 }} or {{ queue ge {_OTHERS} }}",
        "default-server",
    ]


def _problem(error: str, detail: str) -> str:
    """Return a `Problem` as it is written in HAProxy's configuration."""
    return json.dumps({"error": error, "detail": detail, "request_id": _ID})


def _lines(*lines: str) -> str:
    return "\n    ".join(lines)
