"""Child processes that do not outlive us, not even when we are killed with SIGKILL.

Each child is the first of a session of its own, and beside it in its process group
is a guard: a shell that waits for the end of a pipe whose other end only we hold.
When that end closes, the guard ends the group. (Works the same on Linux and macOS
and on every event loop, with nothing to be done inside the child.) A session of its
own also keeps the terminal's Ctrl-C from it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import Callable, Mapping, Sequence

MAX_LINE_BYTES = 64 * 1024
"""Longer lines are handed on in pieces, so that no child can fill our memory."""

_GUARDED = """
exec 3<&0
( ( trap '' TERM INT HUP; read -r _ <&3; kill -TERM 0; sleep {seconds}; kill -KILL 0 ) \\
  >/dev/null 2>&1 & )
exec "$@" 3<&- </dev/null
"""


async def spawn(command: Sequence[str], env: Mapping[str, str], grace_seconds: float) -> Process:
    """Start a program with this environment and no other. Raises `OSError`.

    `grace_seconds` lie between SIGTERM and SIGKILL when we die. After its end: `disband`.
    """
    if not command or shutil.which(command[0], path=env.get("PATH")) is None:
        raise FileNotFoundError(f"no such program: {command[0] if command else ''!r}")
    return await asyncio.create_subprocess_exec(
        "/bin/sh",
        "-c",
        _GUARDED.format(seconds=round(grace_seconds)),
        "sh",
        *command,
        stdin=PIPE,
        stdout=PIPE,
        stderr=STDOUT,
        env=dict(env),
        start_new_session=True,
    )


def disband(child: Process) -> None:
    """End whatever is left of a child's group, at once: what it started, and its guard."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)  # the guard holds the number, so it is still ours
    if child.stdin is not None:
        child.stdin.close()


async def relay(output: asyncio.StreamReader, tell: Callable[[str], None]) -> None:
    """Hand on a child's output line by line, until its end."""
    rest = b""
    while chunk := await output.read(MAX_LINE_BYTES):
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) >= MAX_LINE_BYTES:
            lines.append(rest)
            rest = b""
        for line in lines:
            tell(line.decode(errors="replace").rstrip("\r"))
    if rest:
        tell(rest.decode(errors="replace"))


def describe_ending(code: int) -> str:
    """How a child ended, in words, from asyncio's return code (negative for a signal)."""
    if code >= 0:
        return f"ended with exit status {code}"
    return f"was ended by {signal.Signals(-code).name}"
