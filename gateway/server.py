"""Daphne, with the limits and the manners that a gateway needs.

What differs from plain Daphne, and why:

- `await send(…)` waits while the far end does not read. Daphne's own returns at
  once, so one slow reader of a busy stream fills the memory.
- A request body above the limit is answered 413 before it is buffered.
- Finished connections are forgotten at once, not once a second, and an
  application that fails is answered at once.
- A port that is taken ends the start with one clear line; Twisted's errors reach
  `logging`; stopping first drains, then closes.

Importing this module installs Twisted's reactor on a uvloop event loop: that has
to happen before `daphne.server`, which otherwise installs a slower one.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import uvloop
from twisted.internet import asyncioreactor

if "twisted.internet.reactor" not in sys.modules:
    asyncioreactor.install(uvloop.new_event_loop())  # type: ignore[no-untyped-call]

from daphne import server as daphne_server
from django.conf import settings
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogBeginner

from gateway.connections import Factory, Socket, SocketFactory

reactor: Any = daphne_server.reactor
logger = logging.getLogger(__name__)

SOCKET_MESSAGE_BYTES = 64 * 1024
"""Longest message a websocket client may send; above it the connection closes with 1009."""

STOP_GRACE_SECONDS = 5.0
"""On top of OPENCLAW_DRAIN_SECONDS: when `on_stop` is given up."""

BACKLOG = 1024
"""Connections that may wait to be accepted; Twisted's 50 drops bursts for a second."""


class PortTaken(SystemExit):
    """The port cannot be listened on; ends the process with status 1."""

    def __init__(self, host: str, port: int, reason: str) -> None:
        super().__init__(1)
        self.message = (
            f"Cannot listen on {host} port {port}: {reason}. "
            f"Choose another port, for example OPENCLAW_PORT={port + 1 if port < 65535 else 8001}."
        )


def report_error(event: LogEvent) -> None:
    """Hand Twisted's errors to `logging`; the rest of what it says is noise."""
    if event.get("log_level") not in (LogLevel.error, LogLevel.critical):
        return
    failure = event.get("log_failure")
    trace = (failure.type, failure.value, failure.getTracebackObject()) if failure else None
    logger.error("%s", formatEvent(event), exc_info=trace)


class Server(daphne_server.Server):
    """One listening port. `run` blocks until the process is told to stop."""

    def __init__(
        self,
        application: Any,
        host: str,
        port: int,
        on_ready: Callable[[], Awaitable[None]],
        on_stop: Callable[[], Awaitable[None]],
    ) -> None:
        super().__init__(
            application,
            endpoints=[f"tcp:{port}:interface={host}"],
            websocket_max_message_size=SOCKET_MESSAGE_BYTES,
            websocket_max_frame_size=SOCKET_MESSAGE_BYTES,
            server_name="",
        )
        self.host, self.port = host, port
        self._on_ready, self._on_stop = on_ready, on_stop
        self._stopping = False
        self._hurry = asyncio.Event()
        self._failure: BaseException | None = None

    def run(self) -> None:
        """Listen and serve. Raises `PortTaken`, or what `on_ready` raised."""
        self.connections: dict[Any, dict[str, Any]] = {}
        self.http_factory = Factory(self)
        self.ws_factory = self._make_socket_factory()
        observer: Any = report_error  # its interface is zope's, which mypy cannot see
        globalLogBeginner.beginLoggingTo([observer], discardBuffer=True, redirectStandardIO=False)
        self._listen()
        loop = reactor._asyncioEventloop
        asyncio.set_event_loop(loop)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        self._starting = loop.create_task(self._start())
        reactor.callLater(1, self.application_checker)
        reactor.callLater(2, self.timeout_checker)
        reactor.addSystemEventTrigger("before", "shutdown", self.kill_all_applications)
        # Twisted's own handlers would take SIGCHLD away from asyncio's child processes.
        reactor.run(installSignalHandlers=False)
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Stop listening, drain, leave. Called again: leave without waiting."""
        if self._stopping:
            self._hurry.set()
            return
        self._stopping = True
        reactor.stop()

    def kill_all_applications(self) -> Deferred[None]:
        """What the reactor waits for before it stops."""
        return Deferred.fromFuture(asyncio.ensure_future(self._leave()))

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
        """Start the application for one connection; returns its queue of events."""
        queue = super().create_application(protocol, scope)
        if queue is not None:
            task = self.connections[protocol]["application_instance"]
            task.add_done_callback(lambda _: self._reap(protocol))
        return queue

    def protocol_disconnected(self, protocol: Any) -> None:
        """A connection, or one request on it, is over."""
        if protocol in self.connections:
            self.connections[protocol].setdefault("disconnected", time.time())
            self._reap(protocol)

    async def handle_reply(self, protocol: Any, message: dict[str, Any]) -> None:
        """The application's `send`: returns when there is room for the next."""
        await super().handle_reply(protocol, message)
        if protocol.flow is not None and message["type"] != "websocket.close":
            await protocol.flow.wait()

    def application_checker(self) -> None:
        """Once a second: end applications that outlive their connection for too long."""
        latest = time.time() - self.application_close_timeout
        for protocol, details in list(self.connections.items()):
            task = details.get("application_instance")
            if task is not None and details.get("disconnected", latest) < latest:
                logger.warning("%r outlived its connection and was cancelled", protocol)
                task.cancel()
        reactor.callLater(1, self.application_checker)

    def _reap(self, protocol: Any) -> None:
        """Forget a connection whose application ended and whose client is gone."""
        details = self.connections.get(protocol)
        if details is None:
            return
        task = details.get("application_instance")
        if task is not None:
            if not task.done():
                return
            del details["application_instance"]
            if not task.cancelled() and (error := task.exception()) is not None:
                logger.error("An application failed: %r", error, exc_info=error)
                if "disconnected" not in details:
                    protocol.handle_exception(error)
        if "disconnected" in details:
            self.connections.pop(protocol, None)

    def _make_socket_factory(self) -> SocketFactory:
        factory = SocketFactory(self, server=None)
        factory.setProtocolOptions(
            autoPingTimeout=self.ping_timeout,
            failByDrop=False,  # tell a client why, for example 1009 for a huge message
            allowNullOrigin=True,  # origins are checked by the application, which knows ours
            openHandshakeTimeout=self.websocket_handshake_timeout,
            maxMessagePayloadSize=self.websocket_max_message_size,
            maxFramePayloadSize=self.websocket_max_frame_size,
        )
        return factory

    def _listen(self) -> None:
        try:
            self._port = reactor.listenTCP(
                self.port, self.http_factory, backlog=BACKLOG, interface=self.host
            )
        except CannotListenError as error:
            reason = getattr(error.socketError, "strerror", None) or str(error.socketError)
            raise PortTaken(self.host, self.port, reason.lower()) from None
        self._port.stopReading()  # connections wait in the backlog until we are ready
        self.port = self._port.getHost().port
        self.listening_addresses.append((self.host, self.port))

    async def _start(self) -> None:
        try:
            await self._on_ready()
        except Exception as error:  # noqa: BLE001  (raised again by run)
            self._failure = error
            self.stop()
        else:
            self._port.startReading()

    async def _leave(self) -> None:
        await self._port.stopListening().asFuture(asyncio.get_running_loop())
        self._starting.cancel()
        await asyncio.gather(self._starting, return_exceptions=True)
        await self._drain()
        tasks = []
        for protocol, details in list(self.connections.items()):
            if isinstance(protocol, Socket) and protocol.state == protocol.STATE_OPEN:
                protocol.sendCloseFrame(code=1012)  # service restart: the page comes back
            task = details.get("application_instance")
            if task is not None:
                task.cancel()
                tasks.append(task)
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _drain(self) -> None:
        draining = asyncio.ensure_future(self._on_stop())
        hurrying = asyncio.ensure_future(self._hurry.wait())
        bound = settings.OPENCLAW_DRAIN_SECONDS + STOP_GRACE_SECONDS
        await asyncio.wait({draining, hurrying}, timeout=bound, return_when=asyncio.FIRST_COMPLETED)
        hurrying.cancel()
        if not draining.done():
            logger.warning("Leaving before everything had ended.")
            draining.cancel()
        results = await asyncio.gather(draining, return_exceptions=True)
        if isinstance(results[0], Exception):
            logger.error("Stopping failed: %r", results[0], exc_info=results[0])


def serve(
    application: Any,
    host: str,
    port: int,
    on_ready: Callable[[], Awaitable[None]],
    on_stop: Callable[[], Awaitable[None]],
) -> None:
    """Serve `application` until SIGTERM or SIGINT. Blocks; main thread only.

    `on_ready` is awaited once the port is bound and before any connection is
    accepted; what it raises ends the process. `on_stop` is awaited after the port
    is closed, for OPENCLAW_DRAIN_SECONDS and a little more; a second signal cuts it
    short. Raises `PortTaken` (exit status 1) after one line on stderr.
    """
    try:
        Server(application, host, port, on_ready, on_stop).run()
    except PortTaken as error:
        sys.stderr.write(f"{error.message}\n")
        raise
