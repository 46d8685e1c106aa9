"""Chrome: a headless Chromium, driven through its DevTools protocol with nothing but a WebSocket."""

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)
_PATIENCE_S = 20.0
_LEFT = ("Inspected target navigated or closed", "Execution context was destroyed")
"""What is said of an expression whose page was left meanwhile."""
_KEYS = {
    "Tab": (9, ""),
    "Enter": (13, "\r"),
    " ": (32, " "),
    "ArrowLeft": (37, ""),
    "ArrowRight": (39, ""),
    "Home": (36, ""),
}


def found() -> str | None:
    """Return where a Chromium is, if there is one: what THAW_CHROMIUM says, or one on the PATH."""
    return os.environ.get("THAW_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def started(program: str, profile: Path) -> Iterator["Chrome"]:
    """Run a Chromium with an empty profile while the block runs."""
    command = [program, *_FLAGS, f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        port, path = _address(process, profile / "DevToolsActivePort")
        with connect(f"ws://127.0.0.1:{port}{path}", max_size=None, compression=None) as socket:
            yield Chrome(socket)
    finally:
        process.terminate()
        process.wait(_PATIENCE_S)


def _address(process: subprocess.Popen[bytes], file: Path) -> tuple[str, str]:
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline and process.poll() is None:
        lines = file.read_text().split() if file.exists() else []
        if len(lines) == 2:
            return lines[0], lines[1]
        time.sleep(0.02)
    raise RuntimeError("Chromium did not start")


class PageLeft(RuntimeError):  # noqa: N818 - no mistake of anybody
    """The page was left for another one before it answered."""


class Chrome:
    """A running Chromium."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket, self._number = socket, 0
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """Return what a method of the protocol gives; events that come meanwhile are kept."""
        self._number += 1
        told = {"id": self._number, "method": method, "params": params}
        self._socket.send(json.dumps(told | ({"sessionId": session} if session else {})))
        while True:
            came = json.loads(self._socket.recv(_PATIENCE_S))
            if came.get("id") == self._number:
                if any(told in str(came.get("error", "")) for told in _LEFT):
                    raise PageLeft(method)
                if "error" in came:
                    raise RuntimeError(f"{method}: {came['error']}")
                result: dict[str, Any] = came["result"]
                return result
            self.events.append(came)

    @contextmanager
    def page(self, width: int = 1280, height: int = 900, **features: str) -> Iterator["Page"]:
        """Open a page with storage of its own while the block runs.

        Args:
            width, height: of the window, in CSS pixels; below 500 it is a phone's, that is touched.
            features: what is preferred, such as ``prefers_color_scheme="dark"``.
        """
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        try:
            yield Page(self, session, width, height, features)
        finally:
            self.call("Target.disposeBrowserContext", browserContextId=context)
            self.events.clear()


class Page:
    """One page of it."""

    def __init__(self, chrome: Chrome, session: str, width: int, height: int, features: dict[str, str]) -> None:
        self._chrome, self._session = chrome, session
        for domain in ("Page", "Runtime", "Network", "Log", "DOM", "Accessibility"):
            self.call(f"{domain}.enable")
        self.resize(width, height)
        told = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.call("Emulation.setEmulatedMedia", features=told)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        return self._chrome.call(method, self._session, **params)

    def resize(self, width: int, height: int) -> None:
        phone = width < 500
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1 + phone, mobile=phone
        )
        self.call("Emulation.setTouchEmulationEnabled", enabled=phone)

    def go(self, url: str) -> None:
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete'")

    def js(self, expression: str) -> Any:
        """Return the JSON value of an expression, awaited where it is a promise."""
        told = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in told:
            raise RuntimeError(told["exceptionDetails"]["exception"].get("description", expression))
        return told["result"].get("value")

    def until(self, expression: str) -> None:
        """Wait until an expression holds."""
        deadline = time.monotonic() + _PATIENCE_S
        while not self._holds(expression):
            if time.monotonic() > deadline:
                raise AssertionError(f"never so: {expression}; the page says: {self.js('document.body.innerText')}")
            time.sleep(0.02)

    def _holds(self, expression: str) -> bool:
        """Return whether an expression holds; it does not on a page that is just being left."""
        try:
            return bool(self.js(f"!!({expression})"))
        except PageLeft:
            return False

    def press(self, key: str, times: int = 1) -> None:
        code, text = _KEYS[key]
        name = {"key": key, "code": "Space" if key == " " else key, "windowsVirtualKeyCode": code}
        for _ in range(times):
            self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **name)
            self.call("Input.dispatchKeyEvent", type="keyUp", **name)

    def tab_to(self, condition: str) -> None:
        """Press Tab until a condition on ``e``, the element that has the focus, holds."""
        for _ in range(80):
            self.press("Tab")
            if self.js(f"(e => {condition})(document.activeElement)"):
                return
        raise AssertionError(f"Tab never comes to where {condition}")

    def click(self, selector: str) -> None:
        self.js(f"document.querySelector({json.dumps(selector)}).click()")

    def write(self, text: str) -> None:
        self.call("Input.insertText", text=text)

    def choose(self, selector: str, file: Path) -> None:
        """Put a file into an input, as its dialog would."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", files=[str(file)], nodeId=node)

    def choose_in_dialog(self, opening: Callable[[], None], file: Path) -> None:
        """Choose a file in the dialog that something opens."""
        self.call("Page.setInterceptFileChooserDialog", enabled=True)
        opening()
        deadline = time.monotonic() + _PATIENCE_S
        while not (opened := self.seen("Page.fileChooserOpened")):
            assert time.monotonic() < deadline, "no dialog was opened"
            self.js("1")
        self.call("DOM.setFileInputFiles", files=[str(file)], backendNodeId=opened[-1]["backendNodeId"])

    def drop(self, selector: str, file: Path) -> None:
        """Drag a file over the middle of an element and let it fall there."""
        box = self.js(f"document.querySelector({json.dumps(selector)}).getBoundingClientRect().toJSON()")
        place = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
        data = {"items": [], "files": [str(file)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.call("Input.dispatchDragEvent", type=kind, data=data, **place)

    def seen(self, method: str) -> list[dict[str, Any]]:
        """Return the parameters of all events of a kind so far."""
        mine = [one for one in self._chrome.events if one.get("sessionId") == self._session]
        return [one["params"] for one in mine if one["method"] == method]

    @property
    def asked(self) -> list[str]:
        """Every URL that was asked for."""
        self.js("1")
        return [one["request"]["url"] for one in self.seen("Network.requestWillBeSent")]

    @property
    def complaints(self) -> list[str]:
        """What the browser found wrong: exceptions, and errors in its log, such as of what the page may not do."""
        self.js("1")
        thrown = [str(one["exceptionDetails"]) for one in self.seen("Runtime.exceptionThrown")]
        logged = [one["entry"]["text"] for one in self.seen("Log.entryAdded") if one["entry"]["level"] == "error"]
        return thrown + logged

    def accessible(self) -> list[tuple[str, str]]:
        """Return (role, name) of all that a screen reader is told of."""
        nodes = self.call("Accessibility.getFullAXTree")["nodes"]
        return [(one["role"]["value"], one.get("name", {}).get("value", "")) for one in nodes if not one.get("ignored")]

    def screenshot(self, file: Path, whole: bool = False) -> None:
        told = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        file.write_bytes(base64.b64decode(told["data"]))
