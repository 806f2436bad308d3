"""`manage.py up`: everything on one machine, for a laptop or a first try."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import socket
import sys
from collections.abc import Iterator
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.checks import ERROR, WARNING, run_checks
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from gateway import first_start
from gateway.checks import TAG
from gateway.invitations import base_url, invitation_url
from gateway.supervisor import Pace, Program, Supervisor, stop_on_signals

LOCAL_USER, LOCAL_NAME = "guest_owner", "You"
"""Whoever starts it chats as this guest, the same one at every start."""

COLOURS = {"gateway": 36, "worker": 35, "pi": 33, "up": 32}  # of the terminal, by name
NAME_WIDTH = max(map(len, COLOURS))
STOP_GRACE_SECONDS = 8.0
"""On top of OPENCLAW_DRAIN_SECONDS, before a child that is to end is killed."""


class Command(BaseCommand):
    """Starts gateway, worker and bundled agent, and says where to go."""

    help = (
        "Run gateway, worker and bundled agent side by side; Ctrl-C ends them. "
        "Example: OPENCLAW_PORT=8001 python manage.py up"
    )
    requires_system_checks: list[str] = []  # _check says it more shortly, and starts all the same

    def handle(self, *args: Any, **options: Any) -> None:
        """Blocks until Ctrl-C. Raises `CommandError` where it cannot start."""
        self._check()
        with only_one():
            look_for_port("OPENCLAW_PORT", settings.OPENCLAW_HOST, "the gateway")
            call_command("migrate", verbosity=0)
            self._tell("up", f"The database in {settings.OPENCLAW_DATA_DIR} is up to date.")
            first_start.ensure_default_agent()
            with_pi = first_start.bundled_agent_wanted()
            if with_pi:
                look_for_port("OPENCLAW_PI_PORT", "127.0.0.1", "the bundled agent Pi")
            asyncio.run(self._run(with_pi))

    def _check(self) -> None:
        messages = run_checks(tags=[TAG])
        errors = [f"{m.msg} {m.hint} ({m.id})" for m in messages if m.level >= ERROR]
        if errors:
            raise CommandError("\n".join(errors))
        for message in messages:
            if message.level >= WARNING:
                self._tell("up", f"Warning: {message.msg} {message.hint} ({message.id})")

    async def _run(self, with_pi: bool) -> None:
        pace = Pace(stop=settings.OPENCLAW_DRAIN_SECONDS + STOP_GRACE_SECONDS)
        supervisor = Supervisor(programs(with_pi), self._tell, pace)
        stop_on_signals(supervisor)
        welcome = asyncio.create_task(self._welcome(with_pi))
        await supervisor.run()
        welcome.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await welcome
        if supervisor.killed:
            names = " and ".join(supervisor.killed)
            self._tell("up", f"Had to kill {names}; what it was doing goes on at the next start.")

    async def _welcome(self, with_pi: bool) -> None:
        """When the gateway answers: where to chat, where to look after it."""
        host, port = settings.OPENCLAW_HOST, settings.OPENCLAW_PORT
        while not await is_healthy(host, port):  # noqa: ASYNC110  (another process has no event)
            await asyncio.sleep(0.1)
        # Made only now, so that a start that fails does not use up the one showing of it.
        password = await sync_to_async(first_start.ensure_operator)()
        self._print("\n".join(["", *welcome_lines(password, with_pi), "", ""]))

    def _tell(self, name: str, line: str) -> None:
        """One line of output, behind the name of who said it. JSON stays as it is."""
        if settings.OPENCLAW_LOG_FORMAT != "json" or name == "up":
            label = name.ljust(NAME_WIDTH)
            if self.stdout.isatty() and "NO_COLOR" not in os.environ:
                label = f"\x1b[{COLOURS[name]}m{label}\x1b[0m"
            line = f"{label} │ {line}"
        self._print(line)

    def _print(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()


def programs(with_pi: bool) -> list[Program]:
    """What to run, in the order in which it ends: nobody loses what it still needs."""
    manage = [sys.executable, str(settings.BASE_DIR / "manage.py")]
    env = {"PYTHONUNBUFFERED": "1"}
    if settings.OPENCLAW_LOG_FORMAT == "auto":
        env["OPENCLAW_LOG_FORMAT"] = "text"  # a child writes to a pipe and would choose JSON
    running = [
        Program("gateway", [*manage, "gateway"], env),
        # The checks have been run and shown: once is enough.
        Program("worker", [*manage, "run_huey", "--skip-checks"], env),
    ]
    if with_pi:
        running.append(Program("pi", [sys.executable, "-m", "pi"], env))
    return running


def welcome_lines(password: str | None, with_pi: bool) -> list[str]:
    """What a person needs to know now. The password is shown where it was made just now."""
    lines = ["  The gateway is ready. Ctrl-C ends it.", ""]
    if "webchat" in settings.OPENCLAW_CHANNELS:
        lines.append(f"  Chat      {invitation_url(LOCAL_USER, LOCAL_NAME, base_url())}")
    lines.append(f"  Admin     {base_url()}/admin/")
    if password:
        lines.append(f"  Operator  {first_start.OPERATOR}, password {password} (shown only now)")
    if with_pi:
        lines.append("  Agent     the bundled Pi; docs/agent-protocol.md says how to connect yours")
    return lines


@contextlib.contextmanager
def only_one() -> Iterator[None]:
    """Nobody else does this with the same data folder. Raises `CommandError`."""
    with (settings.OPENCLAW_DATA_DIR / "up.lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise CommandError(
                f"It is running already: {file.read().strip() or 'starting just now'}. "
                "End it with Ctrl-C in its terminal, or run a second one beside it:\n"
                "  OPENCLAW_DATA_DIR=var2 OPENCLAW_PORT=8001 OPENCLAW_PI_PORT=9001 make run"
            ) from None
        file.truncate(0)
        file.write(f"process {os.getpid()}, {base_url()}\n")
        file.flush()
        yield
        file.truncate(0)


def look_for_port(setting: str, host: str, who: str) -> None:
    """Raises `CommandError` with the way out where the port cannot be had."""
    port = getattr(settings, setting)
    try:
        try_port(host, port)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise CommandError(f"Cannot listen on {host} port {port}: {error.strerror}.") from error
        raise CommandError(
            f"Port {port} is taken, and {who} needs it. "
            f"Choose another: {setting}={next_free(host, port)} make run"
        ) from error


def try_port(host: str, port: int) -> None:
    """Listen for a moment, as a server would. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        probe.listen(1)


def next_free(host: str, port: int) -> int:
    """A port close by that is free now."""
    for candidate in range(port + 1, min(port + 100, 65536)):
        with contextlib.suppress(OSError):
            try_port(host, candidate)
            return candidate
    return port + 1


async def is_healthy(host: str, port: int) -> bool:
    """Whether the gateway answers /healthz with 200."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  (compared)
    try:
        async with asyncio.timeout(5):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")
                return b" 200 " in await reader.readline()
            finally:
                writer.close()
    except OSError:  # TimeoutError among them
        return False
