"""Headless Chromium over its debugging pipe: screenshots, DOM values, input, console messages and requests."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--hide-scrollbars",
    "--no-first-run",
    "--mute-audio",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
LONGEST_WAIT = 300.0
"""Seconds until a missing answer is an error."""


class Browser:
    """One page. `messages` are errors and warnings of the console, `requests` the URLs that the page requested."""

    def __init__(self, profile: Path) -> None:
        (theirs_in, self._out), (self._in, theirs_out) = os.pipe(), os.pipe()
        start = f'exec "$0" "$@" 3<&{theirs_in} 4>&{theirs_out}'  # dash knows file numbers of one digit only
        command = [CHROMIUM, *OPTIONS, "--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank"]
        self._process = subprocess.Popen(
            ["bash", "-c", start, *command], pass_fds=(theirs_in, theirs_out), stderr=subprocess.DEVNULL
        )
        os.close(theirs_in)
        os.close(theirs_out)
        os.set_blocking(self._in, False)
        self._buffer, self._count, self._session = b"", 0, ""
        self.messages: list[str] = []
        self.requests: list[str] = []
        self._loaded = False
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Log", "Network", "Runtime"):
            self._call(f"{domain}.enable")

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=30)
        os.close(self._in)
        os.close(self._out)

    def open(self, path: Path, width: int, height: int, dark: bool = False, scripts: bool = True) -> None:
        """Opens a file at a window size in CSS pixels, and waits until it is loaded."""
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self._call("Emulation.setEmulatedMedia", media="", features=features)
        self._call("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.messages.clear()
        self.requests.clear()
        self._loaded = False
        self._call("Page.navigate", url=path.as_uri())
        self._wait(lambda: self._loaded)
        self.wait_for_pictures()

    def evaluate(self, expression: str) -> Any:
        """Returns the value of a JavaScript expression; promises are awaited."""
        answer = self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for_pictures(self) -> None:
        """Waits until the visible images in the window are loaded."""
        pending = """[...document.images].filter(i => i.checkVisibility({contentVisibilityAuto: true}) &&
          !(i.complete && i.naturalWidth) &&
          i.getBoundingClientRect().top < innerHeight && i.getBoundingClientRect().bottom > 0).length"""
        self._wait(lambda: self.evaluate(pending) == 0)

    def screenshot(self, whole: bool = False) -> np.ndarray:
        """Returns the pixels of the window, or of the whole page, uint8 (H, W, 3)."""
        self.wait_for_pictures()
        data = self._call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))

    def pdf(self) -> bytes:
        """Prints the page."""
        return base64.b64decode(self._call("Page.printToPDF", preferCSSPageSize=True, printBackground=True)["data"])

    def press(self, key: str, code: int, text: str = "") -> None:
        """Presses a key by its name and virtual key code."""
        options = {"key": key, "windowsVirtualKeyCode": code} | ({"text": text} if text else {})
        for kind in ("keyDown", "keyUp"):
            self._call("Input.dispatchKeyEvent", type=kind, **options)

    def _wait(self, done: Any) -> None:
        deadline = time.monotonic() + LONGEST_WAIT
        while not done():
            assert time.monotonic() < deadline, "Chromium did not finish loading"
            self._receive(0.05)

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + LONGEST_WAIT
        while time.monotonic() < deadline:
            for answer in self._receive(0.02):
                if answer.get("id") == self._count:
                    assert "error" not in answer, answer["error"]
                    return answer["result"]
        raise AssertionError(f"Chromium did not answer {method}")

    def _receive(self, pause: float) -> list[dict[str, Any]]:
        try:
            while chunk := os.read(self._in, 1 << 20):
                self._buffer += chunk
        except BlockingIOError:
            time.sleep(pause)
        *whole, self._buffer = self._buffer.split(b"\0")
        messages = [json.loads(each) for each in whole]
        for message in messages:
            if message.get("sessionId") == self._session:
                self._note(message.get("method", ""), message.get("params", {}))
        return messages

    def _note(self, method: str, params: dict[str, Any]) -> None:
        if method == "Page.loadEventFired":
            self._loaded = True
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Log.entryAdded":
            self.messages.append(params["entry"]["text"])
        elif method == "Runtime.exceptionThrown":
            self.messages.append(str(params["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled":
            self.messages.append(str(params["args"]))
