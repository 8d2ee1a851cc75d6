"""The worker's health, and the HTTP port that shows it: /health as JSON, /metrics for Prometheus."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

logger = logging.getLogger("mtmedformer")

Status = Literal["ok", "degraded", "paused", "stopping"]
PAUSING = ("disk",)
"""Problems for which no more images are taken; with others, the worker goes on as far as it can."""


class Health:
    """The problems that the worker has at present; safe to use from several threads."""

    def __init__(self) -> None:
        self._problems: dict[str, str] = {}
        self._lock, self.stopping = threading.Lock(), False

    def set(self, name: str, message: str) -> bool:
        """Sets a problem, or clears it with ''; returns whether it appeared or disappeared."""
        with self._lock:
            changed = bool(message) != (name in self._problems)
            if message:
                self._problems[name] = message
            else:
                self._problems.pop(name, None)
        if changed:
            logger.log(*((logging.WARNING, "%s: %s") if message else (logging.INFO, "%s: solved%s")), name, message)
        return changed

    @property
    def problems(self) -> Mapping[str, str]:
        """{name: sentence} of the present problems."""
        with self._lock:
            return dict(self._problems)

    @property
    def status(self) -> Status:
        """'ok', 'degraded' (some steps wait), 'paused' (no images are taken), or 'stopping'."""
        if self.stopping:
            return "stopping"
        problems = self.problems
        if any(name in problems for name in PAUSING):
            return "paused"
        return "degraded" if problems else "ok"


class HealthServer:
    """Answers GET /health and GET /metrics in a thread of its own.

    Args:
        host: address to listen on.
        port: port; 0 takes a free one.
        describe: returns the content of /health; 'status' other than 'ok' is answered with code 503.
        metrics: returns the content of /metrics in Prometheus' text format.
    """

    def __init__(
        self, host: str, port: int, describe: Callable[[], Mapping[str, object]], metrics: Callable[[], bytes]
    ) -> None:
        class Handler(BaseHTTPRequestHandler):
            timeout = 10.0

            def do_GET(self) -> None:
                if self.path == "/health":
                    content = describe()
                    code = HTTPStatus.OK if content["status"] == "ok" else HTTPStatus.SERVICE_UNAVAILABLE
                    self._answer(code, "application/json", json.dumps(content).encode())
                elif self.path == "/metrics":
                    self._answer(HTTPStatus.OK, "text/plain; version=0.0.4; charset=utf-8", metrics())
                else:
                    self._answer(HTTPStatus.NOT_FOUND, "text/plain", b"/health and /metrics are here\n")

            def _answer(self, code: HTTPStatus, kind: str, body: bytes) -> None:
                self.send_response(code)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Requests are not logged."""

        self._server = ThreadingHTTPServer((host, port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Stops listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
