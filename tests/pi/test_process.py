"""`python -m pi` as a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx
import psutil
import pytest

from tests.pi.conftest import KEY, ask, events
from tests.pi.model_server import ModelServer, say

ROOT = Path(__file__).resolve().parents[2]
LIBRARIES_OF_OTHERS = ("gateway", "sessions_app", "adapters", "openclaw_site", "channels")


def environment(**settings: str) -> dict[str, str]:
    kept = {key: os.environ[key] for key in ("PATH", "LANG", "HOME") if key in os.environ}
    return {**kept, "OPENCLAW_ENV_FILE": os.devnull, "OPENCLAW_PI_PORT": "0", **settings}


class Process:
    """A running Pi: its pid, its address and the lines it has logged."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []
        self.client: httpx.AsyncClient

    async def read_line(self) -> str:
        assert self.process.stderr is not None
        line = (await asyncio.wait_for(self.process.stderr.readline(), 60)).decode()
        self.lines.append(line)
        return line

    async def end(self, number: int = signal.SIGTERM) -> int:
        if self.process.returncode is None:
            self.process.send_signal(number)
        assert self.process.stderr is not None
        self.lines.append((await self.process.stderr.read()).decode())
        return await asyncio.wait_for(self.process.wait(), 60)


Run = Callable[..., Awaitable[Process]]


@pytest.fixture
async def run() -> AsyncIterator[Run]:
    """Starts `python -m pi` with these settings and waits until it listens."""
    running: list[Process] = []

    async def run(**settings: str) -> Process:
        pi = Process(
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-W", "error", "-m", "pi"),
                cwd=ROOT,
                env=environment(**settings),
                stderr=asyncio.subprocess.PIPE,
            )
        )
        running.append(pi)
        found = re.search(r"listening on (http://127\.0\.0\.1:[0-9]+)", await pi.read_line())
        assert found, pi.lines
        pi.client = httpx.AsyncClient(base_url=found[1], trust_env=False, timeout=20)
        return pi

    yield run
    for pi in running:
        await pi.client.aclose()
        await pi.end(signal.SIGKILL)


async def test_answers_as_a_process_and_ends_on_sigterm(run: Run) -> None:
    pi = await run()
    assert (await pi.client.get("/health")).json()["brain"] == "rules"
    started = time.monotonic()
    response = await pi.client.post("/rpc/message", json=ask("17% of 240"))
    names = [name for name, _ in events(response.text)]
    assert names == ["tool_call", "tool_result"] + ["token"] * 5 + ["final"]
    assert time.monotonic() - started >= 4 * 0.015  # at a pace one can see
    assert await pi.end() == 0
    logged = [json.loads(line) for line in "".join(pi.lines).splitlines()]
    assert [line["message"].split()[0] for line in logged] == ["listening", "final", "stopped"]
    assert "240" not in "".join(pi.lines)


async def test_starts_soon_and_stays_small(run: Run) -> None:
    # CPU time: what the start costs, whatever else the machine is doing
    pi = await run()
    process = psutil.Process(pi.process.pid)
    assert sum(process.cpu_times()[:2]) < 1.5
    await pi.client.post("/rpc/message", json=ask("2+2"))
    assert process.memory_info().rss < 70 * 1024 * 1024


async def test_model_is_used_with_settings_alone(run: Run, models: ModelServer) -> None:
    pi = await run(
        OPENCLAW_LLM_MODEL="fake", OPENCLAW_LLM_BASE_URL=models.url, OPENCLAW_LLM_API_KEY=KEY
    )
    response = await pi.client.post("/rpc/message", json=ask("hi"))
    assert events(response.text)[-1][1]["content"] == "Hello from the model."
    assert await pi.end() == 0
    assert KEY not in "".join(pi.lines)


async def test_sigterm_lets_a_running_answer_finish(run: Run, models: ModelServer) -> None:
    gate = asyncio.Event()
    models.behaviour = say("all ", "of ", "it", gate=gate)
    pi = await run(OPENCLAW_LLM_MODEL="fake", OPENCLAW_LLM_BASE_URL=models.url)
    async with pi.client.stream("POST", "/rpc/message", json=ask("hi")) as response:
        chunks = response.aiter_text()
        body = await anext(chunks)
        pi.process.send_signal(signal.SIGTERM)
        while await accepts(pi.client):
            await asyncio.sleep(0.01)
        gate.set()
        body += "".join([chunk async for chunk in chunks])
    assert events(body)[-1][1]["content"] == "all of it"
    assert await pi.end() == 0


async def accepts(client: httpx.AsyncClient) -> bool:
    """Whether a new connection is taken."""
    try:
        _, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    except OSError:
        return False
    writer.close()
    return True


def start_and_fail(**settings: str) -> str:
    """What a Pi that cannot start says."""
    done = subprocess.run(
        [sys.executable, "-m", "pi"],
        cwd=ROOT,
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    return done.stderr


def test_taken_port_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = start_and_fail(OPENCLAW_PI_PORT=str(port))
    assert f"port {port} is taken" in said and "OPENCLAW_PI_PORT=" in said


def test_wrong_setting_is_one_clear_line() -> None:
    assert "OPENCLAW_PI_PORT takes" in start_and_fail(OPENCLAW_PI_PORT="nine")


def imported(program: str) -> set[str]:
    """The modules and packages loaded after `program`."""
    done = subprocess.run(
        [sys.executable, "-c", f"{program}\nimport sys\nprint(*sys.modules)"],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return set(done.stdout.split())


ANSWER = """
import asyncio
from pi.brain import Brain
from pi.config import Config
from pi.protocol import Ask, Message

async def answer():
    question = Ask([Message("user", "2+2")])
    return [event.name async for event in Brain(Config({config})).answer(question)]

assert asyncio.run(answer())[-1] == "final"
"""


def test_without_a_model_no_model_library_is_imported() -> None:
    modules = imported(ANSWER.format(config=""))
    assert "pi.rules" in modules
    assert modules.isdisjoint({"pydantic_ai", "openai", "anthropic", "mcp", "fastmcp"})
    assert modules.isdisjoint(LIBRARIES_OF_OTHERS)


def test_pi_listens_before_it_loads_its_brain() -> None:
    modules = imported("import pi.__main__")
    assert "aiohttp" in modules
    assert modules.isdisjoint({"pydantic_ai", "openai", *LIBRARIES_OF_OTHERS})
    # django-environ takes an exception class from Django where that is installed, no more
    assert modules.isdisjoint({"django.conf", "django.db", "django.apps", "django.http"})


def test_model_without_its_library_is_one_clear_line(tmp_path: Path) -> None:
    hide = "import sys; sys.modules['openai'] = None; import runpy; "
    done = subprocess.run(
        [sys.executable, "-c", hide + "runpy.run_module('pi', run_name='__main__')"],
        cwd=ROOT,
        env=environment(OPENCLAW_LLM_MODEL="fake"),
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "pi: OPENCLAW_LLM_MODEL needs the package openai: pip install openai"
    ]
