"""A headless Chromium spoken to over a pipe: enough of its debugging protocol for a page to be opened, clicked and looked at."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_PATIENCE_S = 90.0
# Advice for whoever reads pixels back, as the tests do.
_HINT = "willReadFrequently"


def find_chromium() -> str | None:
    """The browser of ``FASTCMP_CHROMIUM``, or the first of `NAMES` on the PATH."""
    named = os.environ.get("FASTCMP_CHROMIUM")
    return named or next((path for path in map(shutil.which, NAMES) if path), None)


class Page:
    """One page in a browser of its own; a context manager.

    Attributes
    ----------
    problems : list of str
        Errors and warnings of the console, exceptions, refusals of the policy, and whatever the browser logs.
    requests : list of str
        Addresses asked for, but for the page itself and ``data:`` and ``blob:``.
    """

    def __init__(self, browser: str, profile: Path, width: int = 1400, height: int = 1000) -> None:
        self.problems: list[str] = []
        self.requests: list[str] = []
        self._answers: dict[int, dict[str, Any]] = {}
        self._number = 0
        self._buffer = b""
        command_read, self._write_fd = os.pipe()
        self._read_fd, answer_write = os.pipe()
        options = [
            "--headless=new",
            "--no-sandbox",
            "--use-angle=swiftshader",
            "--enable-unsafe-swiftshader",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-extensions",
        ]
        options += ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars"]
        options += [f"--user-data-dir={profile}", f"--window-size={width},{height}", "--remote-debugging-pipe", "about:blank"]
        # The browser reads commands from 3 and answers on 4.
        shell = f'exec "$0" "$@" 3<&{command_read} 4>&{answer_write}'
        self._process = subprocess.Popen(
            ["/bin/bash", "-c", shell, browser, *options],
            pass_fds=(command_read, answer_write),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(command_read)
        os.close(answer_write)
        self._session = ""
        targets = self._call("Target.getTargets")["targetInfos"]
        target = next(one["targetId"] for one in targets if one["type"] == "page")
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def __enter__(self) -> Page:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._write_fd)
        os.close(self._read_fd)

    def open(self, path: Path) -> None:
        """Load a file and wait until its script says that it is ready, or what went wrong."""
        answer = self._call("Page.navigate", url=path.resolve().as_uri())
        if answer.get("errorText"):
            raise AssertionError(f"{path}: {answer['errorText']}")
        self.wait_for("document.documentElement?.dataset.ready === 'yes' || !(document.getElementById('problem') || {hidden: true}).hidden")
        self.settle()

    def settle(self) -> None:
        """Wait until two frames have been drawn."""
        self.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 150))))")

    def wait_for(self, condition: str) -> None:
        """Wait until a JavaScript expression is true."""
        until = time.monotonic() + _PATIENCE_S
        while not self.evaluate(condition):
            if time.monotonic() > until:
                raise AssertionError(f"never came true: {condition}; problems: {self.problems}")
            time.sleep(0.05)

    def evaluate(self, expression: str) -> Any:
        """The JSON value of a JavaScript expression; promises are waited for."""
        answer = self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise AssertionError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def move(self, x: float, y: float) -> None:
        """Move the pointer there, in pixels of the window."""
        self._call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        self.settle()

    def click(self, x: float, y: float) -> None:
        """Press and release the left button there."""
        self.move(x, y)
        for kind in ("mousePressed", "mouseReleased"):
            self._call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
        self.settle()

    def screenshot(self, path: Path, *, whole: bool = True, clip: dict[str, float] | None = None) -> None:
        """A PNG of the window, of the whole page, or of a part of it."""
        more: dict[str, Any] = {} if clip is None else {"clip": {"scale": 1, **clip}}
        answer = self._call("Page.captureScreenshot", format="png", captureBeyondViewport=whole, **more)
        path.write_bytes(base64.b64decode(answer["data"]))

    def print(self, path: Path) -> None:
        """A PDF as the printer would get it."""
        path.write_bytes(base64.b64decode(self._call("Page.printToPDF", printBackground=False)["data"]))

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        rest = memoryview(json.dumps(message).encode() + b"\0")
        while rest:
            rest = rest[os.write(self._write_fd, rest) :]
        until = time.monotonic() + _PATIENCE_S
        while self._number not in self._answers:
            self._read(until)
        answer = self._answers.pop(self._number)
        if "error" in answer:
            raise AssertionError(f"{method}: {answer['error']}")
        result: dict[str, Any] = answer["result"]
        return result

    def _read(self, until: float) -> None:
        ready, _, _ = select.select([self._read_fd], [], [], max(0.0, until - time.monotonic()))
        if not ready:
            raise AssertionError(f"the browser did not answer within {_PATIENCE_S} s")
        content = os.read(self._read_fd, 1 << 20)
        if not content:
            raise AssertionError(f"the browser ended with {self._process.poll()}")
        *messages, self._buffer = (self._buffer + content).split(b"\0")
        for message in map(json.loads, messages):
            if "id" in message:
                self._answers[message["id"]] = message
            else:
                self._note(message["method"], message["params"])

    def _note(self, method: str, facts: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            details = facts["exceptionDetails"]
            self.problems.append(f"exception: {details.get('exception', {}).get('description', details['text'])}")
        elif method == "Runtime.consoleAPICalled" and facts["type"] in ("error", "warning", "assert"):
            self.problems.append(f"{facts['type']}: {' '.join(str(one.get('value', one.get('description'))) for one in facts['args'])}")
        elif method == "Log.entryAdded" and facts["entry"]["level"] in ("error", "warning") and _HINT not in facts["entry"]["text"]:
            self.problems.append(f"log: {facts['entry']['text']}")
        elif method == "Network.requestWillBeSent" and not facts["request"]["url"].startswith(("file:", "data:", "blob:", "about:")):
            self.requests.append(facts["request"]["url"])
        elif method == "Page.javascriptDialogOpening":
            self.problems.append(f"dialog: {facts['message']}")
