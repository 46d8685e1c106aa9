"""Served: an application on a port of this machine, and what may stand before it."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.responses import JSONResponse

CARD = "# tiny/7\n\n<script>document.title = 'broken'</script>\n\n| metric | value |\n|---|---:|\n| accuracy | 0.9 |\n"
KEY = "thaw_secret"


@contextmanager
def served(app) -> Iterator[str]:
    """Serve an application on a free port of this machine while the block runs."""
    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", ws="none", lifespan="off")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join()


class Before:
    """What stands before an endpoint and may refuse: a gateway that asks for a key, or is busy."""

    def __init__(self, app) -> None:
        self.app, self.refusals, self.keyed = app, [], False

    async def __call__(self, scope, receive, send):
        refused = self._refused(scope)
        await (refused or self.app)(scope, receive, send)

    def _refused(self, scope):
        shown = dict(scope["headers"]).get(b"authorization", b"").decode()
        if self.keyed and scope["path"] in ("/predict", "/card") and shown != f"Bearer {KEY}":
            detail = f"{shown.removeprefix('Bearer ') or 'no key'} opens nothing here"
            return JSONResponse({"error": "unknown_key", "detail": detail, "request_id": "key-1"}, 401)
        if self.refusals and scope["path"] == "/predict":
            status, detail, headers = self.refusals.pop(0)
            return JSONResponse({"error": "x", "detail": detail, "request_id": "busy-1"}, status, headers=headers)
        return None
