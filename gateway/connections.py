"""Single connections of the server: an HTTP request, a websocket, and their bounds.

Imported by gateway/server.py, after it has chosen Twisted's reactor. Daphne and
Twisted name the methods; they are called by them.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from daphne.http_protocol import HTTPFactory, WebRequest
from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol
from django.conf import settings
from twisted.internet import reactor as _reactor
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer  # type: ignore[import-untyped]  # it has no types

reactor: Any = _reactor
logger = logging.getLogger(__name__)

HIGH_WATER_BYTES = 256 * 1024
"""How much one websocket may have waiting to be read before its sender waits."""

SOCKET_WAITING_MESSAGES = 200
"""Messages a websocket client may send ahead of us before it is cut off (code 4429)."""

LINGER_SECONDS = 5.0
LINGER_BYTES = 64 * 1024 * 1024
"""A refused body is read and dropped this long: closing with bytes unread resets the
connection, and the client would never see the 413."""


@implementer(IPushProducer)
class Flow:
    """Holds a sender back while its transport has more than enough to write."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self._open.set()

    def pauseProducing(self) -> None:
        """The transport's buffer is full."""
        self._open.clear()

    def resumeProducing(self) -> None:
        """The transport's buffer is empty again."""
        self._open.set()

    def stopProducing(self) -> None:
        """The connection is gone; nobody need wait for it."""
        self._open.set()

    async def wait(self) -> None:
        """Returns when there is room."""
        await self._open.wait()


class Request(WebRequest):  # type: ignore[misc]  # daphne has no types
    """An HTTP request with a bounded body, and an answer that waits for its reader."""

    flow: Flow | None = None
    _refused = False
    _received = 0
    _linger: Any = None

    def gotLength(self, length: int | None) -> None:
        """The headers are in; `length` is None for a chunked body."""
        if length is not None and length > settings.OPENCLAW_MAX_BODY_BYTES:
            self._refuse()
            length = 0
        super().gotLength(length)

    def handleContentChunk(self, data: bytes) -> None:
        """More of the body."""
        self._received += len(data)
        if self._refused:
            if self._received > LINGER_BYTES:
                self._abort()
        elif self._received > settings.OPENCLAW_MAX_BODY_BYTES:
            self._refuse()
        else:
            super().handleContentChunk(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """The body is complete."""
        if self._refused:
            self.channel.loseConnection()
        else:
            super().requestReceived(command, path, version)

    def _refuse(self) -> None:
        self._refused = True
        logger.warning("a body of over %d bytes was refused", settings.OPENCLAW_MAX_BODY_BYTES)
        self.requestHeaders.removeHeader(b"expect")  # no "100 Continue" after a 413
        body = b"The request is larger than this server takes.\n"
        self.channel.transport.write(
            b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\n"
            b"Content-Type: text/plain; charset=utf-8\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        self._linger = reactor.callLater(LINGER_SECONDS, self._abort)

    def _abort(self) -> None:
        if self.channel is not None:
            self.channel.transport.abortConnection()

    def handle_reply(self, message: dict[str, Any]) -> None:
        """Part of the answer."""
        if message.get("more_body") and self.flow is None and self.channel and not self.finished:
            self.flow = Flow()
            self.registerProducer(self.flow, True)
        super().handle_reply(message)

    def finish(self) -> None:
        """The answer is complete."""
        if self.producer is not None:
            self.unregisterProducer()
        super().finish()

    def connectionLost(self, reason: Any) -> None:
        """The client is gone."""
        if self.flow is not None:
            self.flow.stopProducing()
        if self._linger is not None and self._linger.active():
            self._linger.cancel()
        super().connectionLost(reason)


class Factory(HTTPFactory):  # type: ignore[misc]  # daphne has no types
    """Makes our requests; writes no access log, whose lines nobody would see."""

    def buildProtocol(self, addr: Any) -> Any:
        """One accepted connection."""
        protocol = super().buildProtocol(addr)
        protocol.requestFactory = Request
        return protocol

    def log(self, request: Any) -> None:
        """Twisted would format a line per request for its own log, which is off."""


class Socket(WebSocketProtocol):  # type: ignore[misc]  # daphne has no types
    """A websocket whose sender waits for a slow reader, and whose reader is bounded."""

    flow: Flow | None = None
    muted: bool = False
    maxMessagePayloadSize: int

    def onConnect(self, request: Any) -> Any:
        """The handshake arrived."""
        self.flow = Flow()
        self.transport.unregisterProducer()  # the HTTP channel that read the handshake
        self.transport.bufferSize = HIGH_WATER_BYTES
        self.transport.registerProducer(self.flow, True)
        return super().onConnect(request)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """A message from the client."""
        if not self.muted and self.application_queue.qsize() >= SOCKET_WAITING_MESSAGES:
            self.sendClose(code=4429)
            self.application_queue.put_nowait({"type": "websocket.disconnect", "code": 4429})
            self.muted = True
        super().onMessage(payload, isBinary)

    def onClose(self, wasClean: bool, code: int, reason: str) -> None:
        """The connection is gone."""
        if self.flow is not None:
            self.flow.stopProducing()
        if hasattr(self, "server"):  # a failed handshake ends here without having begun
            super().onClose(wasClean, code, reason)

    def serverSend(self, content: Any, binary: bool = False) -> None:
        """A message to the client; dropped once the connection is closing."""
        if self.state not in (self.STATE_CONNECTING, self.STATE_OPEN):
            return
        # Autobahn means its limit for both directions; ours is for what comes in.
        limit, self.maxMessagePayloadSize = self.maxMessagePayloadSize, 0
        try:
            super().serverSend(content, binary)
        finally:
            self.maxMessagePayloadSize = limit


class SocketFactory(WebSocketFactory):  # type: ignore[misc]  # daphne has no types
    """Makes our websockets."""

    protocol = Socket
