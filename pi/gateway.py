"""The gateway's API as Pi uses it: with the grant of one turn, for its conversation only.

The grant says whose conversation it is; no call here names a session or a
person, so none can name another's.

Errors::

    ToolError
    ├── NoGateway     Pi was asked without a grant: there is nothing to call
    └── NotDone       the gateway refused, or could not be reached
        └── DoneBefore    an earlier try of this turn has done it already
"""

from __future__ import annotations

import hashlib
from typing import Any

import aiohttp
import orjson

from pi.protocol import Ask, Grant
from pi.tools import ToolError

CALL_SECONDS = 10.0
MAX_ANSWER_BYTES = 1024 * 1024
MAX_DETAIL = 300
CONFLICT = 409


class NoGateway(ToolError):
    """There is no gateway behind this request."""


class NotDone(ToolError):
    """The gateway did not do it; the message says why, as far as it told."""


class DoneBefore(NotDone):
    """The same wish of the same turn was carried out before, with other particulars."""


class Gateway:
    """One turn's way to the gateway. Every method raises `ToolError`."""

    def __init__(self, ask: Ask, http: Http) -> None:
        self._grant = ask.grant
        self._turn = ask.turn
        self._http = http

    @property
    def granted(self) -> bool:
        """Whether there is a gateway to ask."""
        return self._grant is not None

    async def me(self) -> dict[str, Any]:
        """This conversation: channel, person, time zone."""
        return _object(await self._call("GET", "/me"))

    async def change_notes(self, changes: dict[str, Any]) -> None:
        """Merge `changes` into the notes about the person; None deletes."""
        await self._call("PATCH", "/me/notes", body=changes)

    async def change_preferences(self, changes: dict[str, Any]) -> None:
        """Merge `changes` into the person's preferences; None deletes."""
        await self._call("PATCH", "/me/preferences", body=changes)

    async def messages(self, query: str = "", limit: int = 20) -> list[dict[str, Any]]:
        """What was said by and to this person, newest first."""
        wanted = {"limit": str(limit), **({"q": query} if query else {})}
        return _items(await self._call("GET", "/me/messages", wanted))

    async def usage(self) -> dict[str, Any]:
        """What this session and this day have used: {"session": {…}, "day": {…}}."""
        return _object(await self._call("GET", "/me/usage"))

    async def schedules(self) -> list[dict[str, Any]]:
        """What is planned in this conversation."""
        return _items(await self._call("GET", "/schedules", {"limit": "200"}))

    async def add_schedule(self, new: dict[str, Any], wish: str) -> dict[str, Any]:
        """Plan something; the same wish within one turn is the same schedule.

        Raises `DoneBefore` where the turn is repeated and the time reads differently by now.
        """
        return _object(await self._call("POST", "/schedules", body=new, wish=wish))

    async def cancel_schedule(self, name: str) -> None:
        """Take a schedule of this conversation away."""
        if not name.replace("_", "").replace("-", "").isalnum():
            raise NotDone("There is no such schedule.")
        await self._call("DELETE", f"/schedules/{name}")

    async def _call(
        self,
        method: str,
        path: str,
        query: dict[str, str] | None = None,
        body: Any = None,
        wish: str = "",
    ) -> Any:
        if self._grant is None:
            raise NoGateway("I can only do that when I am asked through the gateway.")
        data = b"" if body is None else orjson.dumps(body)
        headers = {"Idempotency-Key": self._key(path, wish)} if wish else {}
        return await self._http.call(self._grant, method, path, query, data, headers)

    def _key(self, path: str, wish: str) -> str:
        """The same for the same wish of the same turn: a repeated turn plans nothing twice."""
        return hashlib.sha256("\0".join((self._turn, path, wish)).encode()).hexdigest()


class Http:
    """Pi's one HTTP client for the gateway, opened at the first call."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Let go of the connections."""
        if self._session is not None:
            await self._session.close()

    async def call(
        self,
        grant: Grant,
        method: str,
        path: str,
        query: dict[str, str] | None,
        data: bytes,
        headers: dict[str, str],
    ) -> Any:
        """The JSON of an answer; None where there is none. Raises `NotDone`."""
        headers = {**headers, "Authorization": f"Bearer {grant.token}"}
        if data:
            headers["Content-Type"] = "application/json"
        try:
            async with self._opened().request(
                method,
                grant.url + path,
                params=query,
                data=data or None,
                headers=headers,
                allow_redirects=False,
            ) as response:
                return _answer(response.status, await _read(response))
        except (aiohttp.ClientError, TimeoutError, OSError) as problem:
            raise NotDone("The gateway cannot be reached at the moment.") from problem

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=CALL_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
        return self._session


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for piece in response.content.iter_chunked(64 * 1024):
        body += piece
        if len(body) > MAX_ANSWER_BYTES:
            raise NotDone("The gateway's answer was too large.")
    return bytes(body)


def _answer(status: int, body: bytes) -> Any:
    try:
        data = orjson.loads(body) if body else None
    except orjson.JSONDecodeError:
        data = None
    if status >= 300:
        raise (DoneBefore if status == CONFLICT else NotDone)(_refusal(status, data))
    return data


def _refusal(status: int, data: Any) -> str:
    said = data.get("detail") or data.get("title") if isinstance(data, dict) else None
    if isinstance(said, str) and said.strip():
        return f"The gateway said no: {' '.join(said.split())[:MAX_DETAIL]}"
    return f"The gateway said no (status {status})."


def _object(data: Any) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise NotDone("The gateway gave an answer that I do not understand.")
    return data


def _items(data: Any) -> list[dict[str, Any]]:
    items = data.get("items") if isinstance(data, dict) else data
    if not isinstance(items, list):
        raise NotDone("The gateway gave an answer that I do not understand.")
    return [item for item in items if isinstance(item, dict)]
