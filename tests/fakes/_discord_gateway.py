"""The fake's gateway: sessions with sequences, resumed with a replay of what was missed."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web

MESSAGE_CONTENT = 1 << 15
REPLAYED = 5000
ROUND_TRIP_SECONDS = 0.02  # a quicker answer than any real one confuses discord.py's clock


@dataclass(slots=True)
class Session:
    """One IDENTIFY and all its connections."""

    id: str
    sequence: int = 0
    sent: list[dict[str, Any]] = field(default_factory=list)
    socket: web.WebSocketResponse | None = None


class FakeGateway:
    """`ready` gives READY's data and the GUILD_CREATEs that follow."""

    def __init__(
        self,
        token: str | None,
        ready: Callable[[], tuple[dict[str, Any], list[dict[str, Any]]]],
        notify: Callable[[], None],
    ) -> None:
        self.token = token
        self.message_content = True
        self.heartbeat_seconds = 20.0
        self.refusals = 0
        self.identifies: list[dict[str, Any]] = []
        self.resumes: list[dict[str, Any]] = []
        self.heartbeats = 0
        self.sessions: dict[str, Session] = {}
        self._ready, self._notify = ready, notify
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed_here: set[web.WebSocketResponse] = set()

    @property
    def connected(self) -> list[Session]:
        """Sessions with an open socket."""
        return [s for s in self.sessions.values() if s.socket is not None and not s.socket.closed]

    def dispatch(self, kind: str, data: Any) -> None:
        """An event for every session; one that is away gets it when it resumes."""
        for session in self.sessions.values():
            self._put(session, kind, data)
        self._notify()

    def _put(self, session: Session, kind: str, data: Any) -> None:
        session.sequence += 1
        frame = {"op": 0, "t": kind, "s": session.sequence, "d": data}
        session.sent.append(frame)
        del session.sent[:-REPLAYED]
        self._post(session, frame)

    def _post(self, session: Session, frame: dict[str, Any]) -> None:
        if session.socket is not None and not session.socket.closed:
            self._spawn(self._send(session.socket, frame))

    async def _send(self, socket: web.WebSocketResponse, frame: dict[str, Any]) -> None:
        try:
            await socket.send_str(json.dumps(frame))
        except (ConnectionError, RuntimeError):  # it went away meanwhile
            return

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- what a test does ---------------------------------------------------

    def reconnect(self) -> None:
        """Asks for a new connection (op 7)."""
        for session in self.connected:
            self._post(session, {"op": 7, "d": None})

    def invalidate(self, resumable: bool) -> None:
        """Tells that the session is no good (op 9)."""
        for session in self.connected:
            self._post(session, {"op": 9, "d": resumable})
            if not resumable:
                del self.sessions[session.id]

    def drop(self) -> None:
        """Cuts every connection without a word."""
        for session in self.connected:
            socket, session.socket = session.socket, None
            assert socket is not None
            if socket._req is not None and socket._req.transport is not None:
                socket._req.transport.abort()

    def forget(self) -> None:
        """Resumes are refused from now on: the sessions are too old."""
        self.sessions.clear()

    def close(self, code: int) -> None:
        """Closes every connection with `code`."""
        for session in self.connected:
            assert session.socket is not None
            self._spawn(self._close(session.socket, code))

    async def _close(self, socket: web.WebSocketResponse, code: int) -> None:
        self._closed_here.add(socket)
        await socket.close(code=code)
        self._closed_here.discard(socket)

    async def stop(self) -> None:
        """Every connection ends."""
        self.drop()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- a connection -------------------------------------------------------

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """One websocket, from HELLO to its end."""
        if self.refusals > 0:
            self.refusals -= 1
            self._notify()
            return web.Response(status=503)
        socket = web.WebSocketResponse(timeout=1.0, compress=False)
        await socket.prepare(request)
        hello = {"heartbeat_interval": int(self.heartbeat_seconds * 1000)}
        await self._send(socket, {"op": 10, "d": hello})
        session: Session | None = None
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                break
            frame = json.loads(message.data)
            if frame["op"] == 1:
                self.heartbeats += 1
                await asyncio.sleep(ROUND_TRIP_SECONDS)
                await self._send(socket, {"op": 11})
                self._notify()
            elif session is None and frame["op"] in (2, 6):
                start = self._identify if frame["op"] == 2 else self._resume
                session = await start(socket, frame["d"])
                self._notify()
        if session is not None and session.socket is socket:
            session.socket = None
            done = socket not in self._closed_here and socket.close_code in (1000, 1001)
            if done:  # says the client
                self.sessions.pop(session.id, None)
            self._notify()
        return socket

    async def _identify(
        self, socket: web.WebSocketResponse, data: dict[str, Any]
    ) -> Session | None:
        self.identifies.append(data)
        if self.token is not None and data.get("token") != self.token:
            await socket.close(code=4004, message=b"Authentication failed.")
            return None
        if data.get("intents", 0) & MESSAGE_CONTENT and not self.message_content:
            await socket.close(code=4014, message=b"Disallowed intent(s).")
            return None
        session = Session(secrets.token_hex(16), socket=socket)
        for other in self.connected:  # one bot, one connection: as with one shard
            assert other.socket is not None
            self._spawn(self._close(other.socket, 4000))
        self.sessions = {session.id: session}
        ready, guilds = self._ready()
        self._put(session, "READY", {**ready, "session_id": session.id})
        for guild in guilds:
            self._put(session, "GUILD_CREATE", guild)
        return session

    async def _resume(self, socket: web.WebSocketResponse, data: dict[str, Any]) -> Session | None:
        self.resumes.append(data)
        session = self.sessions.get(str(data.get("session_id")))
        if session is None:
            await self._send(socket, {"op": 9, "d": False})
            return None
        missed = [frame for frame in session.sent if frame["s"] > (data.get("seq") or 0)]
        session.socket = socket
        for frame in missed:
            self._post(session, frame)
        self._put(session, "RESUMED", {})
        return session
