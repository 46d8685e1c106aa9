"""What may stand before an application."""

from starlette.responses import JSONResponse

from thaw.serving.page.routes import is_page

CARD = "# tiny/7\n\n<script>document.title = 'broken'</script>\n\n| metric | value |\n|---|---:|\n| accuracy | 0.9 |\n"
KEY = "thaw_secret"


class Before:
    """What stands before an endpoint and may refuse: a gateway that asks for a key, or is busy."""

    def __init__(self, app) -> None:
        self.app, self.refusals, self.keyed = app, [], False

    async def __call__(self, scope, receive, send):
        refused = self._refused(scope)
        await (refused or self.app)(scope, receive, send)

    def _refused(self, scope):
        shown = _header(scope, b"authorization")
        if self.keyed and not is_page(scope["path"], _header(scope, b"accept")) and shown != f"Bearer {KEY}":
            detail = f"{shown.removeprefix('Bearer ') or 'no key'} opens nothing here"
            return JSONResponse({"error": "unknown_key", "detail": detail, "request_id": "key-1"}, 401)
        if self.refusals and scope["path"] == "/predict":
            status, detail, headers = self.refusals.pop(0)
            return JSONResponse({"error": "x", "detail": detail, "request_id": "busy-1"}, status, headers=headers)
        return None


def _header(scope, name: bytes) -> str:
    return dict(scope["headers"]).get(name, b"").decode()
