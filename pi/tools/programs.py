"""Running programs in the session's folder. Off unless OPENCLAW_PI_RUN_PROGRAMS is on.

A program runs as the user that Pi runs as, and may read what that user may
read: switching this on trusts everyone who may write to Pi.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal

from pi.tools import ToolError
from pi.tools.files import Files

RUN_SECONDS = 30.0
MAX_OUTPUT = 20_000


class Programs:
    """A tool. It raises `ToolError`."""

    def __init__(self, files: Files, seconds: float = RUN_SECONDS) -> None:
        self._files = files
        self._seconds = seconds

    async def run_program(self, command: str) -> str:
        """Run a shell command in this conversation's folder; gives its output and exit code.

        Args:
            command: for /bin/sh.
        """
        folder = await asyncio.to_thread(self._made_folder)
        process = await asyncio.create_subprocess_exec(
            *("/bin/sh", "-c", command),
            cwd=folder,
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": folder, "LANG": "C.UTF-8"},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            return await asyncio.wait_for(_outcome(process), self._seconds)
        except TimeoutError:
            raise ToolError(f"Stopped after {self._seconds:g} seconds.") from None
        finally:
            await _end(process)

    def _made_folder(self) -> str:
        os.close(self._files.open_folder())
        return str(self._files.folder)


async def _outcome(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    output = b""
    while len(output) < MAX_OUTPUT and (piece := await process.stdout.read(4096)):
        output += piece
    text = output[:MAX_OUTPUT].decode("utf-8", "replace").rstrip()
    if len(output) >= MAX_OUTPUT:
        return f"{text}\n[stopped: more than {MAX_OUTPUT} bytes of output]"
    return f"{text}\n[exit code {await process.wait()}]".lstrip()


async def _end(process: asyncio.subprocess.Process) -> None:
    """The whole group, also what it left behind."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
