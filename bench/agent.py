"""The tests' fake agent as a process of its own: twenty tokens at once, without a pause."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Self

import aiohttp

from tests.process import ROOT, free_port

TOKENS = 20
READY_SECONDS = 20.0


class Agent:
    """`async with Agent() as agent:`; `agent.url` is where the agent protocol is spoken."""

    async def __aenter__(self) -> Self:
        port = free_port()
        self._base = f"http://127.0.0.1:{port}"
        self.url = f"{self._base}/rpc/message"
        self._http = aiohttp.ClientSession()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.fakes.agent", "--port", str(port)],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(READY_SECONDS):
                while not await self._is_up():
                    await asyncio.sleep(0.02)
            await self.forget()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        await self._http.close()

    async def forget(self) -> None:
        """Drop the calls it keeps, so that a long run does not fill its memory."""
        await self._tell("reset", {})
        await self._tell("behaviour", {"tokens": TOKENS})

    async def _tell(self, what: str, how: dict[str, int]) -> None:
        async with self._http.post(f"{self._base}/_ctl/{what}", json=how) as answer:
            answer.raise_for_status()

    async def _is_up(self) -> bool:
        try:
            async with self._http.get(f"{self._base}/health") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False
