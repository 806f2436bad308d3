"""A whole world on 127.0.0.1: a real gateway process between a fake Telegram and a fake agent."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.e2e.probe import Probe
from tests.e2e.tally import Tally
from tests.fakes._telegram_parts import message_from
from tests.fakes.agent import FakeAgent
from tests.fakes.telegram import FakeTelegram
from tests.process import Gateway, free_port, fresh_data_dir

SECRET = "a-fake-secret"
TOKEN = "123456789:FAKE-token-of-the-tests"
SETTLE_SECONDS = 60.0
MODES = ("webhook", "polling")


class World:
    """The fakes, the gateway between them, and the tally of what was said and answered."""

    def __init__(
        self, telegram: FakeTelegram, agent: FakeAgent, gateway: Gateway, probe: Probe
    ) -> None:
        self.telegram, self.agent, self.gateway, self.probe = telegram, agent, gateway, probe
        self.tally = Tally(telegram)
        self.update_ids: dict[str, int] = {}
        self._number = 900_000  # far above the ids that the fake gives

    def say(self, user: int, more: str = "", chat: int | None = None) -> str:
        """A user writes a message with a new id, which is returned; `more` follows the id."""
        name = self.tally.new_id(user if chat is None else chat)
        update = self.telegram.say(user, f"{name} {more}".strip(), chat)
        self.update_ids[name] = update["update_id"]
        return name

    def settle(self, seconds: float = SETTLE_SECONDS) -> None:
        """Wait until everything said is answered."""
        deadline = time.monotonic() + seconds
        while not self.tally.all_answered():
            if time.monotonic() > deadline or self.gateway.returncode is not None:
                missing = sorted(self.tally.open)
                raise AssertionError(
                    f"{len(missing)} unanswered after {seconds:.0f} s: {missing[:10]}\n"
                    f"gateway: {self.gateway.returncode}\n{self.gateway.log_text()[-3000:]}"
                )
            time.sleep(0.01)

    def quiet(self, seconds: float = SETTLE_SECONDS) -> None:
        """Wait until the gateway has no work left: nothing queued, running or being sent."""
        deadline = time.monotonic() + seconds
        while work := [
            *self.probe.rows("gateway.Turn", "pk", state__in=["queued", "running"]),
            *self.probe.rows("gateway.Delivery", "pk", state__in=["queued", "sending"]),
        ]:
            assert time.monotonic() < deadline, f"still at work after {seconds} s: {work[:5]}"
            time.sleep(0.05)

    def update(self, user: int, text: str) -> dict[str, Any]:
        """An update to be posted by hand: a message the fake does not deliver itself."""
        self._number += 1
        message = message_from(user, user, self._number, text, {})
        return {"update_id": self._number, "message": message}

    def memory_mib(self) -> float:
        """The most memory the gateway's process has held so far."""
        status = Path(f"/proc/{self.gateway.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024

    def post(
        self, body: bytes | dict[str, Any], secret: str | None = SECRET, path: str = "telegram"
    ) -> int:
        """A webhook call made by hand. Returns the status."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.gateway.url}/webhooks/{path}", data, method="POST")
        request.add_header("Content-Type", "application/json")
        if secret is not None:
            request.add_header("X-Telegram-Bot-Api-Secret-Token", secret)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as refusal:
            with refusal:
                return int(refusal.code)


def wait_until(holds: Any, seconds: float = 30.0, what: str = "what was waited for") -> Any:
    """Returns what `holds()` returns as soon as that is true."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds:.0f} s"
        time.sleep(0.01)
    return found


def settings(
    telegram: FakeTelegram, agent: FakeAgent, mode: str, port: int, **more: str
) -> dict[str, str]:
    """The environment of a gateway between these fakes: no limits on rate, open to everybody."""
    return {
        "OPENCLAW_PORT": str(port),
        "OPENCLAW_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "OPENCLAW_CHANNELS": "telegram",
        "OPENCLAW_TELEGRAM_TOKEN": TOKEN,
        "OPENCLAW_TELEGRAM_SECRET": SECRET,
        "OPENCLAW_TELEGRAM_MODE": mode,
        "OPENCLAW_TELEGRAM_API_URL": telegram.url,
        "OPENCLAW_TELEGRAM_RATE": "unlimited",
        "OPENCLAW_TELEGRAM_ACCESS": "open",
        "OPENCLAW_AGENT_URL": agent.url,
        "OPENCLAW_AGENT_RETRY_SECONDS": "0.05",
        **more,
    }


@contextmanager
def world(
    parent: Path,
    mode: str = "webhook",
    *,
    kind: type[Gateway] = Gateway,
    telegram_kind: type[FakeTelegram] = FakeTelegram,
    start: bool = True,
    **more: str,
) -> Iterator[World]:
    """A world whose gateway is up (unless `start` is false); all of it is gone at the end."""
    with ExitStack() as stack:
        telegram = stack.enter_context(telegram_kind.in_thread(token=TOKEN))
        agent = stack.enter_context(FakeAgent.in_thread())
        port = free_port()
        gateway = kind(fresh_data_dir(parent), settings(telegram, agent, mode, port, **more), port)
        stack.callback(gateway.remove)
        probe = Probe(gateway.data_dir)
        stack.callback(probe.close)
        if start:
            gateway.spawn()
            wait_until(lambda: "channel telegram is up" in gateway.log_text())
        yield World(telegram, agent, gateway, probe)
