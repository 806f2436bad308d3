"""A gateway between a fake agent and any number of fake platforms, whatever they are.

`World` knows Telegram by heart; a town knows only what every channel offers
(`tests.e2e.channels.base.Channel`), so that crashes and bad weather can be
tried on all of them alike.
"""

from __future__ import annotations

import re
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.channels import channel
from tests.e2e.channels.base import Channel, Reply
from tests.e2e.probe import Probe
from tests.e2e.tally import MARK, NOTICE
from tests.e2e.world import wait_until
from tests.fakes.agent import FakeAgent
from tests.process import Gateway, free_port, fresh_data_dir

_ID = re.compile(r"\bm\d{6}\b")


@dataclass(slots=True)
class Said:
    """One message that somebody wrote, and the replies that name it."""

    channel: str
    person: int
    replies: list[Reply] = field(default_factory=list)


class Town:
    """The platforms, the gateway between them and the agent, and what was said on each."""

    def __init__(
        self, channels: Sequence[Channel], agent: FakeAgent, gateway: Gateway, probe: Probe
    ) -> None:
        self.channels = {one.name: one for one in channels}
        self.agent, self.gateway, self.probe = agent, gateway, probe
        self._said: dict[str, tuple[str, int]] = {}
        self._answered: set[tuple[str, str]] = set()
        self._read: defaultdict[str, list[str]] = defaultdict(list)
        self._lock = threading.Lock()

    def say(self, person: int, where: str = "") -> str:
        """Somebody writes a message with a new id, which is returned."""
        name = where or next(iter(self.channels))
        identity = self.expect(person, name)
        self.channels[name].say(person, identity)
        return identity

    def expect(self, person: int, where: str) -> str:
        """The id of a message that the test hands over itself."""
        with self._lock:
            identity = f"m{len(self._said):06d}"
            self._said[identity] = (where, person)
        return identity

    def said(self) -> dict[str, Said]:
        """Every message with its replies, in the order in which they were said."""
        found = {name: Said(*where) for name, where in list(self._said.items())}
        for name, one in self.channels.items():
            for reply in one.replies():
                for identity in dict.fromkeys(_ID.findall(reply.text)):
                    if identity in found and found[identity].channel == name:
                        found[identity].replies.append(reply)
        return found

    def open(self) -> list[str]:
        """Messages without a reply. Reads only what is new or reads otherwise than before."""
        for name, one in self.channels.items():
            read, texts = self._read[name], [reply.text for reply in one.replies()]
            news = texts[len(read) :] + [
                now for now, before in zip(texts, read, strict=False) if now != before
            ]
            self._answered.update((name, found) for text in news for found in _ID.findall(text))
            self._read[name] = texts
        said = list(self._said.items())
        return [one for one, (where, _) in said if (where, one) not in self._answered]

    def settle(self, seconds: float = 60.0) -> None:
        """Wait until everything said is answered and the gateway has no work left."""
        deadline = time.monotonic() + seconds
        while (missing := self.open()) or (work := self._work()):
            late = time.monotonic() > deadline or self.gateway.returncode is not None
            assert not late, (
                f"{len(missing)} unanswered after {seconds:.0f} s: "
                f"{[(name, self._said[name]) for name in missing[:10]]} {'' if missing else work}\n"
                f"gateway: {self.gateway.returncode}\n{self.gateway.log_text()[-3000:]}"
            )
            time.sleep(0.2)

    def problems(self) -> dict[str, list[str]]:
        """Broken promises by kind; empty when all were kept."""
        said = self.said()
        found = {
            "lost": [name for name, one in said.items() if not one.replies],
            "doubled unlabelled": [name for name, one in said.items() if _doubled(one)],
            "wrong person": [
                name
                for name, one in said.items()
                if any(reply.person != one.person for reply in one.replies)
            ],
            "out of order": _out_of_order(said),
            "unasked": [
                f"{name} to {reply.person}: {reply.text[:60]}"
                for name, one in self.channels.items()
                for reply in one.replies()
                if not _ID.search(reply.text) and NOTICE not in reply.text
            ],
        }
        return {kind: names for kind, names in found.items() if names}

    def marked(self, where: str) -> int:
        """How many messages of this channel carry the mark of a repeat."""
        return sum(MARK in reply.text for reply in self.channels[where].replies())

    def _work(self) -> list[dict[str, object]]:
        return [
            *self.probe.rows("gateway.Turn", "pk", state__in=["queued", "running"]),
            *self.probe.rows("gateway.Delivery", "pk", state__in=["queued", "sending"]),
        ]


def _doubled(said: Said) -> bool:
    return any(MARK not in reply.text for reply in said.replies[1:])


def _out_of_order(said: dict[str, Said]) -> list[str]:
    last: defaultdict[tuple[str, int], float] = defaultdict(float)
    late = []
    for name, one in said.items():
        if one.replies:
            lane = (one.channel, one.person)
            if one.replies[0].at < last[lane]:
                ahead = [other for other, it in said.items() if _overtook(it, one)]
                late.append(f"{name} of {lane}: {one.replies}, before {ahead} {said[ahead[0]]}")
            last[lane] = max(last[lane], one.replies[0].at)
    return late


def _overtook(earlier: Said, later: Said) -> bool:
    same = (earlier.channel, earlier.person) == (later.channel, later.person)
    return same and bool(earlier.replies) and earlier.replies[0].at > later.replies[0].at


@contextmanager
def town(
    parent: Path, names: Sequence[str], *, kind: type[Gateway] = Gateway, **more: str
) -> Iterator[Town]:
    """A town whose gateway is up on all of these channels; all of it is gone at the end."""
    with ExitStack() as stack:
        channels = [stack.enter_context(channel(name)) for name in names]
        agent = stack.enter_context(FakeAgent.in_thread())
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        settings = {
            "OPENCLAW_PORT": str(port),
            "OPENCLAW_PUBLIC_URL": url,
            "OPENCLAW_CHANNELS": ",".join(one.name for one in channels),
            "OPENCLAW_AGENT_URL": agent.url,
            "OPENCLAW_AGENT_RETRY_SECONDS": "0.05",
        }
        for one in channels:
            settings |= one.settings(url)
        gateway = kind(fresh_data_dir(parent), {**settings, **more}, port)
        stack.callback(gateway.remove)
        probe = Probe(gateway.data_dir)
        stack.callback(probe.close)
        for one in channels:
            one.follow(url)
        gateway.spawn()
        for one in channels:
            up = f"channel {one.name} is up"
            wait_until(lambda up=up: up in gateway.log_text(), what=up)
        yield Town(channels, agent, gateway, probe)
