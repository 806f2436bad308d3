"""One real gateway with people in it, for the tests of the web chat."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
from django.test import override_settings
from websockets.asyncio.client import ClientConnection, connect

from gateway.invitations import COOKIE, invitation_url, new_guest
from tests.process import Gateway, manage
from tests.web.agent import PlayedAgent

SECRET = "not-a-secret-web-tests"
PASSWORD = "not-a-password-1"
SECONDS = 30.0

_MAKE_ACCOUNTS = """
import json
from django.contrib.auth.models import Group, User
from django.test import Client
keys = {}
for name in ("staff", "demoted", "leaver", "person", "closed"):
    user = User.objects.create_user(
        name, password='not-a-password-1', is_staff=name in ("staff", "demoted", "leaver"))
    if user.is_staff:
        user.groups.add(Group.objects.get(name="viewer"))
    client = Client()
    client.force_login(user)
    keys[name] = client.session.session_key
print(json.dumps(keys))
"""

Frame = dict[str, Any]


class House:
    """The gateway, its played agent, and logins of accounts made beforehand."""

    def __init__(self, gateway: Gateway, agent: PlayedAgent) -> None:
        self.gateway, self.agent, self.url = gateway, agent, gateway.url
        self._people: set[str] = set()
        made = manage(
            "shell",
            "-v",
            "0",
            "-c",
            _MAKE_ACCOUNTS,
            data_dir=gateway.data_dir,
            env={"OPENCLAW_SECRET_KEY": SECRET},
        )
        self.logins: dict[str, str] = json.loads(made.strip().splitlines()[-1])

    @classmethod
    @contextlib.contextmanager
    def open(cls, **env: str) -> Iterator[House]:
        """A house of its own for as long as the context lasts."""
        with PlayedAgent.running() as agent:
            settings = {"OPENCLAW_SECRET_KEY": SECRET, "OPENCLAW_AGENT_URL": agent.url, **env}
            gateway = Gateway.start(settings)
            try:
                yield cls(gateway, agent)
            finally:
                agent.forget()
                gateway.remove()

    def invite(self, name: str = "Ada") -> tuple[str, str]:
        """(link, user id) of a new guest."""
        guest = new_guest(name)
        with override_settings(SECRET_KEY=SECRET):
            return invitation_url(guest.user_id, guest.name, self.url), guest.user_id

    def guest(self, name: str = "Ada") -> Visitor:
        """A guest who has opened their link."""
        link, user_id = self.invite(name)
        answer = httpx.get(link, timeout=SECONDS)
        assert answer.status_code == 302, answer.text
        self._people.add(user_id)
        return Visitor(self, user_id, f"{COOKIE}={answer.cookies[COOKIE]}")

    def part(self) -> None:
        """The test is over: its guests' late questions must not reach the next one."""
        for user in self._people:
            self.agent.part(user)
        self._people.clear()
        self.agent.forget()

    def login(self, name: str) -> Visitor:
        """One of the accounts, logged in."""
        return Visitor(self, name, f"sessionid={self.logins[name]}")

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run one statement on the gateway's database, as the admin in another process would."""
        path = self.gateway.data_dir / "openclaw.sqlite3"
        with contextlib.closing(sqlite3.connect(path, timeout=30)) as database, database:
            return database.execute(statement, values).fetchall()

    def memory(self) -> int:
        """Bytes the gateway's process holds."""
        with open(f"/proc/{self.gateway.pid}/statm") as file:
            return int(file.read().split()[1]) * 4096


class Visitor:
    """Somebody with a cookie."""

    def __init__(self, house: House, user_id: str, cookie: str) -> None:
        self.house, self.user_id, self.cookie = house, user_id, cookie

    def connect(self, path: str, **options: Any) -> connect:
        """A websocket as our own page opens it."""
        headers = {"Cookie": self.cookie} if self.cookie else {}
        options = {"origin": self.house.url, "max_queue": None, **options}
        address = self.house.url.replace("http", "ws") + path
        return connect(address, additional_headers=headers, proxy=None, **options)

    @contextlib.asynccontextmanager
    async def page(self, after: int = 0) -> AsyncIterator[Page]:
        """An open chat page that has said hello."""
        async with self.connect("/ws/chat/") as socket:
            page = Page(socket)
            await page.send(type="hello", after=after)
            await page.until(lambda: page.greeted)
            yield page


class Page:
    """What a page does with what it hears: order, live text, confirmations."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.frames: list[Frame] = []
        self.messages: dict[int, Frame] = {}
        self.partial: dict[str, Frame] = {}
        self.live: dict[str, str] = {}
        self.states: dict[str, str] = {}
        self.accepted: list[str] = []
        self.greeted = False

    async def send(self, **frame: Any) -> None:
        """One frame."""
        await self.socket.send(json.dumps(frame))

    async def say(self, text: str, client_id: str | None = None) -> str:
        """Send a message and wait until it is accepted. Returns its id."""
        client_id = client_id or uuid.uuid4().hex
        before = self.accepted.count(client_id)
        await self.send(type="say", id=client_id, text=text)
        await self.until(lambda: self.accepted.count(client_id) > before)
        return client_id

    async def until(self, holds: Callable[[], bool], seconds: float = SECONDS) -> None:
        """Listen until `holds()`. `TimeoutError` otherwise."""
        async with asyncio.timeout(seconds):
            while not holds():
                await self.hear()

    async def heard(self, kind: str) -> Frame:
        """The next frame of this type."""
        start = len(self.frames)
        await self.until(lambda: any(f["type"] == kind for f in self.frames[start:]))
        return self.frames[-1]

    async def hear(self) -> Frame:
        """Take in one frame."""
        frame: Frame = json.loads(await self.socket.recv())
        self.frames.append(frame)
        match frame["type"]:
            case "history":
                for message in frame["messages"]:
                    self._keep(message)
            case "message":
                self._keep(frame)
            case "accepted":
                self.accepted.append(frame["id"])
            case "status":
                self.greeted = True
            case "live":
                grow(self.live, frame)
                self.states[frame["turn"]] = frame["state"]
        return frame

    def _keep(self, message: Frame) -> None:
        if message["id"] is None:
            self.partial[message["turn"]] = message
        else:
            self.messages[message["id"]] = message

    @property
    def shown(self) -> list[tuple[str, str]]:
        """(role, text) as the page would show it."""
        entries = [*self.messages.values(), *self.partial.values()]
        entries.sort(key=lambda entry: (entry["session"], entry["seq"]))
        return [(entry["role"], entry["text"]) for entry in entries]


def grow(texts: dict[str, str], frame: Frame) -> None:
    """Take in a live frame as a page must: never with a gap."""
    have = texts.get(frame["turn"], "")
    if frame["offset"] == 0:
        texts[frame["turn"]] = frame["text"]
        return
    assert frame["offset"] == len(have), f"a gap: {frame['offset']} after {len(have)}"
    texts[frame["turn"]] = have + frame["text"]
