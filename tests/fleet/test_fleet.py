"""Managed agents: programs that the gateway starts, watches and ends."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from gateway import instances
from gateway.agents.base import AgentError, Final, Limits, Question, Target
from gateway.agents.client import AgentClient
from gateway.fleet import Fleet, _from_ps, resident_mb
from gateway.http import make_transport
from gateway.instances import Care, Instance, Plan
from tests.core.kit import until

PROGRAM = f"{sys.executable} {Path(__file__).parent / 'program.py'} {{port}}"
ONE = 1


class Yard:
    """A fleet with a client, and what its programs printed."""

    def __init__(self, client: AgentClient, hasty: AgentClient, fleet: Fleet) -> None:
        self.client, self.hasty, self.fleet = client, hasty, fleet

    async def ask(
        self, text: str, session: str = "sess_a", agent: int = ONE, hasty: bool = False
    ) -> str:
        """One turn's call; a hasty one waits for nobody."""
        client = self.hasty if hasty else self.client
        question = Question(
            "turn_1", session, "testchat", "u", "c",
            [json.dumps({"role": "user", "content": text}).encode()],
        )  # fmt: skip
        target = Target(name="own", url="", stream=False)
        async with self.fleet.place(agent, target, session) as there:
            async for event in client.ask(there, question):
                if isinstance(event, Final):
                    return event.content
        raise AssertionError("no end")

    def instance(self, session: str = "") -> Instance:
        return self.fleet._instances[ONE, session]

    async def pid(self, session: str = "sess_a") -> int:
        return int(await self.ask("#pid", session))


@asynccontextmanager
async def yard(home: Path, plan: Plan, **care: float) -> AsyncIterator[Yard]:
    transport = make_transport()
    client = AgentClient(transport, Limits())
    hasty = AgentClient(transport, Limits(first_token_seconds=0.1))
    environment = {"PATH": os.environ["PATH"], "HOME": str(home)}
    fleet = Fleet(client.probe, Care(environment=environment, **({"stop_seconds": 2.0} | care)))
    fleet.follow({ONE: plan})
    try:
        yield Yard(client, hasty, fleet)
    finally:
        await fleet.stop()
        await hasty.aclose()
        await client.aclose()
        await transport.aclose()


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that ended and was not yet waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


SHARED = Plan("own", PROGRAM)
EACH = Plan("own", PROGRAM, per_session=True, max_instances=2)


async def test_one_for_everybody_is_started_answers_and_is_ended(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "agent.own")
    async with yard(tmp_path, replace(SHARED, command=PROGRAM + " --child")) as here:
        pid = await here.pid("sess_a")
        assert await here.pid("sess_b") == pid
        assert here.fleet.standing(ONE) is None
        given = json.loads(await here.ask("#env"))
        assert given.keys() - {"LC_CTYPE", "PWD", "SHLVL", "_", "OLDPWD"} == {
            "PATH",
            "HOME",
            "PORT",
        }
        (child,) = [int(r.message.split()[1]) for r in caplog.records if "child" in r.message]
        assert is_alive(child)
    assert not is_alive(pid)
    await until(lambda: not is_alive(child))
    assert any("listening on" in record.message for record in caplog.records)


async def test_what_ends_by_itself_is_started_again(tmp_path: Path) -> None:
    async with yard(tmp_path, SHARED) as here:
        pid = await here.pid()
        with pytest.raises(AgentError) as caught:
            await here.ask("#die now")
        assert (caught.value.code, caught.value.retryable) == ("interrupted", True)
        assert await here.ask("#die now") == "ack #die now"  # waits for the new one
        assert await here.pid() != pid
        assert here.instance().starts == 2


async def test_what_hangs_is_ended_and_started_again_what_is_only_slow_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with yard(tmp_path, SHARED) as here:
        pid = await here.pid()
        monkeypatch.setattr("gateway.agents.client.PROBE_SECONDS", 30.0)
        with pytest.raises(AgentError, match="timeout_first"):
            await here.ask("#slow", hasty=True)
        assert await here.pid() == pid
        monkeypatch.setattr("gateway.agents.client.PROBE_SECONDS", 0.3)
        with pytest.raises(AgentError, match="timeout_first"):
            await here.ask("#hang", hasty=True)
        assert await here.ask("#hang") == "ack #hang"
        assert await here.pid() != pid


async def test_what_grows_too_large_is_ended_and_the_others_are_not(tmp_path: Path) -> None:
    async with yard(tmp_path, EACH, max_memory_mb=90) as here:
        well = await here.pid("sess_a")
        leaking = asyncio.create_task(here.ask("#leak", "sess_b"))
        async with asyncio.timeout(30):
            while not leaking.done():
                await here.fleet.tend(())
                await asyncio.sleep(0.05)
        with pytest.raises(AgentError, match="interrupted"):
            await leaking
        await until(lambda: here.instance("sess_b").starts == 2)
        assert await here.ask("#leak", "sess_b") == "ack #leak"
        assert await here.pid("sess_a") == well


async def test_each_session_has_its_own_and_it_ends_with_the_session(tmp_path: Path) -> None:
    async with yard(tmp_path, EACH) as here:
        assert here.fleet.sessions() == []
        one, two = await asyncio.gather(here.pid("sess_a"), here.pid("sess_b"))
        assert one != two
        assert json.loads(await here.ask("#env", "sess_b"))["OPENCLAW_SESSION_ID"] == "sess_b"
        await here.fleet.tend(["sess_a"])
        assert here.fleet.sessions() == ["sess_b"]
        await until(lambda: not is_alive(one))
        assert await here.pid("sess_b") == two


async def test_an_idle_one_ends(tmp_path: Path) -> None:
    async with yard(tmp_path, replace(EACH, idle_seconds=60)) as here:
        pid = await here.pid("sess_a")
        await here.fleet.tend(())
        assert here.fleet.sessions() == ["sess_a"]
        here.instance("sess_a").used_at -= 60
        await here.fleet.tend(())
        assert here.fleet.sessions() == []
        await until(lambda: not is_alive(pid))


async def test_at_most_so_many_run_and_the_one_unused_for_longest_gives_way(tmp_path: Path) -> None:
    async with yard(tmp_path, EACH) as here:
        first = await here.pid("sess_a")
        await here.pid("sess_b")
        await here.pid("sess_c")
        assert sorted(here.fleet.sessions()) == ["sess_b", "sess_c"]
        assert not is_alive(first)


async def test_when_all_are_busy_turns_wait_and_it_is_no_failure(tmp_path: Path) -> None:
    async with yard(tmp_path, EACH) as here:
        texts = await asyncio.gather(*(here.ask("#slow", f"sess_{n}") for n in range(4)))
        assert texts == ["ack #slow"] * 4
        assert len(here.fleet.sessions()) == 2


async def test_what_cannot_start_says_why_and_goes_on_trying(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(instances, "FIRST_PAUSE", 0.01)
    for command in (
        "no-such-program {port}",
        f"{sys.executable} -c 'raise SystemExit(7)'",
        "unclosed 'quote",
        PROGRAM + " --deaf",
    ):
        async with yard(tmp_path, replace(SHARED, command=command), start_seconds=0.5) as here:
            with pytest.raises(AgentError, match="unreachable") as caught:
                await here.ask("hi")
            assert caught.value.retryable
            await until(lambda: "again" in caplog.text)
            assert here.fleet.standing(ONE) is not None
        caplog.clear()


async def test_a_changed_row_is_effective_at_once(tmp_path: Path) -> None:
    async with yard(tmp_path, SHARED) as here:
        pid = await here.pid()
        here.fleet.follow({ONE: SHARED})
        assert await here.pid() == pid
        here.fleet.follow({ONE: replace(SHARED, command=PROGRAM + " again")})
        assert await here.pid() != pid
        here.fleet.follow({})
        with pytest.raises(AgentError, match="no_agent"):
            await here.ask("hi")
        assert not here.fleet._instances


async def test_memory_is_read_without_and_with_proc() -> None:
    mine = os.getpid()
    for sizes in (await resident_mb([mine]), await _from_ps([mine])):
        assert 10 < sizes[mine] < 4000
    assert await resident_mb([2**22 + 1]) == {}


def test_two_programs_that_start_at_once_get_two_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until a program listens, its port looks free."""
    offered = iter([4001, 4001, 4001, 4002, 4001])

    class Probe:
        def __exit__(self, *_: object) -> None: ...

        def bind(self, address: object) -> None: ...

        def __enter__(self) -> Probe:
            self.port = next(offered)
            return self

        def getsockname(self) -> tuple[str, int]:
            return ("127.0.0.1", self.port)

    monkeypatch.setattr(instances, "socket", SimpleNamespace(socket=Probe))
    assert [instances.take_port(), instances.take_port()] == [4001, 4002]
    instances.give_back(4001)
    assert instances.take_port() == 4001
    instances.give_back(4001)
    instances.give_back(4002)
