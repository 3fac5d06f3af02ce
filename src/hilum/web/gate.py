"""What stands before every route: name, rate, token and origin are checked, the body is counted while it arrives, and
every answer gets its headers. What goes wrong inside ends here as one sentence, without names in the log."""

import asyncio
import json
import time
import traceback
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hilum.progress import say
from hilum.web.limits import Busy, Places, Rate
from hilum.web.metrics import Metrics
from hilum.web.security import HEADERS, Doorkeeper, Forbidden, check_host, check_origin
from hilum.web.settings import Settings
from hilum.web.uploads import BadUpload

HOLD = "hilum.hold"
"""Where the scope of a request has the function that counts further bytes, those of an unpacked zip."""

OPEN = ("/healthz", "/readyz", "/login")
"""Paths that need no token; the files of the page are open as well."""


class Gate:
    """An ASGI application around another one. `memory`: bytes of requests that may be held at a time."""

    def __init__(
        self, app: ASGIApp, settings: Settings, doorkeeper: Doorkeeper, memory: Places, metrics: Metrics
    ) -> None:
        self.app, self.settings, self.doorkeeper = app, settings, doorkeeper
        self.memory, self.metrics = memory, metrics
        self.rate = Rate(settings.limits.requests_per_second, settings.limits.burst)
        self.logins = Rate(0.5, 10)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = _Exchange(self, scope, receive, send)
        started = time.perf_counter()
        try:
            self._check(scope)
            await self.app(scope, exchange.receive, exchange.send)
        except Busy as busy:
            await exchange.refuse(str(busy), 429, {"retry-after": str(busy.seconds)})
        except (Forbidden, BadUpload) as refused:
            await exchange.refuse(str(refused), refused.status, _extra(refused.status))
        except _Login:
            await exchange.redirect("/login")
        except Exception as error:
            say(f"an answer failed: {described(error)}")
            await exchange.refuse("the service could not answer; see its terminal", 500)
        finally:
            exchange.close()
            route = getattr(scope.get("route"), "path", "other")
            method = scope["method"] if scope["method"] in ("GET", "HEAD", "POST", "DELETE") else "other"
            self.metrics.requests.labels(route, method, str(exchange.status)).inc()
            self.metrics.seconds.labels(route).observe(time.perf_counter() - started)

    def _check(self, scope: Scope) -> None:
        headers = _headers(scope)
        check_host(headers.get("host"), self.settings)
        address = scope["client"][0] if scope.get("client") else ""
        self.rate.check(address)
        path = scope["path"]
        if path == "/login" and scope["method"] == "POST":
            self.logins.check(address)
        check_origin(scope["method"], headers, scope["scheme"])
        if path in OPEN or path.startswith("/static/") or self.doorkeeper.knows(headers):
            return
        if scope["method"] == "GET" and "text/html" in headers.get("accept", ""):
            raise _Login
        raise Forbidden("this service asks for its token; send the header Authorization: Bearer TOKEN", 401)


class _Login(Exception):
    """A browser without a token: it is shown the form."""


def _headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


def _extra(status: int) -> dict[str, str]:
    return {"www-authenticate": "Bearer"} if status == 401 else {}


class _Exchange:
    """One request and its answer."""

    def __init__(self, gate: Gate, scope: Scope, receive: Receive, send: Send) -> None:
        self.gate, self.scope = gate, scope
        self._receive, self._send = receive, send
        limits = gate.settings.limits
        self.most, self.held, self.received, self.status = limits.upload_bytes, 0, 0, 0
        self.until = time.monotonic() + limits.receive_seconds
        self.is_received = False
        stated = _headers(scope).get("content-length", "0")
        self.is_too_large = stated.isdigit() and int(stated) > self.most
        scope[HOLD] = self.hold

    def hold(self, number: int) -> None:
        """Counts bytes as held until the request is answered. Busy when memory is full."""
        self.gate.memory.take(number)
        self.held += number

    async def receive(self) -> Message:
        """A part of the body, counted. BadUpload when it is too large or too slow; Busy when memory is full."""
        if (
            self.is_received
        ):  # what follows is the end of the connection, which may take as long as the answer
            return await self._receive()
        if self.is_too_large:
            raise self._too_large()
        try:
            async with asyncio.timeout(max(0.0, self.until - time.monotonic())):
                message = await self._receive()
        except TimeoutError:
            raise BadUpload("the upload took too long; send fewer files at a time", 408) from None
        if message["type"] == "http.disconnect":
            raise BadUpload("the client has gone", 400)
        number = len(message.get("body", b""))
        self.is_received = not message.get("more_body", False)
        if self.received + number > self.most:
            raise self._too_large()
        self.received += number
        self.hold(number)
        return message

    def _too_large(self) -> BadUpload:
        return BadUpload(
            f"the upload has more than {self.most:,} bytes; send fewer or smaller files at a time", 413
        )

    async def send(self, message: Message) -> None:
        """An answer, with the headers of every answer."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            given = {name.lower() for name, _ in message["headers"]}
            more = dict(HEADERS)
            if not self.scope["path"].startswith("/static/"):
                more["cache-control"] = "no-store"
            added = [
                (name.encode(), value.encode()) for name, value in more.items() if name.encode() not in given
            ]
            message = {**message, "headers": [*message["headers"], *added]}
        await self._send(message)

    async def refuse(
        self, sentence: str, status: int, headers: MutableMapping[str, str] | None = None
    ) -> None:
        """One sentence as JSON, unless an answer has begun."""
        await self._whole(status, json.dumps({"error": sentence}).encode(), "application/json", headers or {})

    async def redirect(self, where: str) -> None:
        """The browser goes elsewhere."""
        await self._whole(303, b"", "text/plain", {"location": where})

    async def _whole(self, status: int, body: bytes, kind: str, headers: MutableMapping[str, str]) -> None:
        if self.status:
            return
        pairs: dict[str, Any] = {"content-type": kind, "content-length": str(len(body)), **headers}
        start = [(name.encode(), str(value).encode()) for name, value in pairs.items()]
        await self.send({"type": "http.response.start", "status": status, "headers": start})
        await self.send({"type": "http.response.body", "body": body})

    def close(self) -> None:
        """The body no longer counts as held."""
        self.gate.memory.give_back(self.held)
        self.held = 0


def described(error: BaseException) -> str:
    """An unexpected error by its kind and place, without its message, which may hold a name.

    >>> described(ValueError("Quixano^Alonso"))
    'ValueError'
    """
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    places = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames))
    return f"{type(error).__name__} at {places}" if places else type(error).__name__
