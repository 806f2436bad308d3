"""Running programs in the session's folder. Off unless OPENCLAW_PI_RUN_PROGRAMS is on.

A program runs as the user that Pi runs as, and may read what that user may
read: switching this on trusts everyone who may write to Pi.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import Any

from pi.tools import ToolError
from pi.tools.files import Files

RUN_SECONDS = 30.0
REST_SECONDS = 0.2
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
        ours, its = os.pipe()
        process = None
        try:
            process = await asyncio.create_subprocess_exec(
                *("/bin/sh", "-c", command),
                cwd=folder,
                env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": folder, "LANG": "C.UTF-8"},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=its,
                stderr=its,
                start_new_session=True,
            )
        finally:
            os.close(its)
            if process is None:
                os.close(ours)
        run = _Run(process)
        try:
            await run.listen(ours)
            await run.wait(self._seconds)
            return run.outcome(self._seconds)
        finally:
            await run.end()

    def _made_folder(self) -> str:
        os.close(self._files.open_folder())
        return str(self._files.folder)


class _Run:
    """A running program and what it has said. The pipe is ours, so that no child can hold us."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._output = bytearray()
        self._transport: asyncio.ReadTransport | None = None
        self._tasks: tuple[asyncio.Task[Any], ...] = ()

    async def listen(self, pipe: int) -> None:
        """Begin to gather its output."""
        reader = asyncio.StreamReader()
        self._transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(pipe, "rb", 0)
        )
        gathering = asyncio.create_task(self._gather(reader))
        self._tasks = (gathering, asyncio.create_task(self._process.wait()))

    async def wait(self, seconds: float) -> None:
        """Until it ends, has said too much, or the time is over.

        What it leaves in the background may keep the pipe open: that is not waited for.
        """
        gathering, ending = self._tasks
        await asyncio.wait(self._tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if ending.done():
            await asyncio.wait([gathering], timeout=REST_SECONDS)
        elif gathering.done() and len(self._output) < MAX_OUTPUT:
            await asyncio.wait([ending], timeout=seconds)

    def outcome(self, seconds: float) -> str:
        """Its output and how it ended. Raises `ToolError` where it did not."""
        text = self._output[:MAX_OUTPUT].decode("utf-8", "replace").rstrip()
        if len(self._output) >= MAX_OUTPUT:
            return f"{text}\n[stopped: more than {MAX_OUTPUT} bytes of output]"
        if self._process.returncode is None:
            raise ToolError(f"Stopped after {seconds:g} seconds.")
        return f"{text}\n[exit code {self._process.returncode}]".lstrip()

    async def end(self) -> None:
        """The whole group, also what it left behind."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        if self._transport is not None:
            self._transport.close()
        for task in self._tasks[:1]:
            task.cancel()
        await self._process.wait()

    async def _gather(self, reader: asyncio.StreamReader) -> None:
        while len(self._output) < MAX_OUTPUT and (piece := await reader.read(4096)):
            self._output += piece
