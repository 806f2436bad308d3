"""Managed agents: programs that the gateway starts, watches and ends.

`shared`: one for everybody, from the gateway's start on. `session`: one for each
session, from its first turn until the session ends or has been idle for long; at
most so many at once. When there are too many, the one unused for longest ends;
when all are answering, turns wait: that is no failure.

What one program does (crash, hang, grow) touches only the turns it answers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from django.conf import settings

from gateway.agents.base import AgentError, Target
from gateway.instances import Care, Instance, Plan, Probe

logger = logging.getLogger(__name__)

HUNG = ("timeout_first", "timeout_between", "timeout_total", "interrupted", "unreachable")
"""Ends of a call after which a program has to show that it is alive."""

PROC = Path("/proc/self/status")

Key = tuple[int, str]


@asynccontextmanager
async def direct(agent: int, target: Target, session: str) -> AsyncIterator[Target]:
    """Where no agent is managed: each is where its row says."""
    yield target


class Fleet:
    """The programs of this process. `follow` tells what there should be; at the end `stop`."""

    def __init__(self, probe: Probe, care: Care) -> None:
        self._probe, self._care = probe, care
        self._plans: dict[int, Plan] = {}
        self._instances: dict[Key, Instance] = {}
        self._turnstiles: dict[int, asyncio.Lock] = {}
        self._left = asyncio.Event()
        self._ends: set[asyncio.Task[None]] = set()
        self._stopping = False

    def follow(self, plans: Mapping[int, Plan]) -> None:
        """These, and no others: what changed begins anew, what is gone ends."""
        if self._stopping or plans == self._plans:
            return
        for key, instance in list(self._instances.items()):
            if plans.get(key[0]) != instance.plan:
                self._dismiss(key)
        self._plans = dict(plans)
        for agent, plan in plans.items():
            if not plan.per_session and (agent, "") not in self._instances:
                self._begin(agent, plan, "")

    @asynccontextmanager
    async def place(self, agent: int, target: Target, session: str) -> AsyncIterator[Target]:
        """Where a turn's agent is, for as long as it is asked. Raises `AgentError`."""
        plan = self._plans.get(agent)
        if plan is None:
            if not target.url:
                raise AgentError("no_agent", "the agent is just being set up", retryable=True)
            yield target
            return
        instance = await self._admit(agent, plan, session if plan.per_session else "")
        try:
            yield replace(target, url=await instance.address())
        except AgentError as error:
            if error.code in HUNG:
                instance.doubt()
            raise
        finally:
            instance.users -= 1
            instance.used_at = asyncio.get_running_loop().time()
            self._left.set()

    def sessions(self) -> list[str]:
        """Sessions that have a program of their own."""
        return [session for _, session in self._instances if session]

    def standing(self, agent: int) -> str | None:
        """Why a managed agent cannot be asked; None where it can."""
        mine = [one for (number, _), one in self._instances.items() if number == agent]
        plan = self._plans.get(agent)
        if plan is None:
            return "not started"
        if plan.per_session:
            bad = [one for one in mine if not one.ready and one.starts > 1]
            return f"a session's program {bad[0].detail}" if bad and len(bad) == len(mine) else None
        return None if mine and mine[0].ready else f"the program {mine[0].detail}" if mine else "?"

    async def tend(self, ended: Collection[str]) -> None:
        """End programs of `ended` sessions and idle ones, and those that have grown too large."""
        now = asyncio.get_running_loop().time()
        for key, instance in list(self._instances.items()):
            idle = now - instance.used_at > instance.plan.idle_seconds
            if key[1] and instance.users == 0 and (idle or key[1] in ended):
                self._dismiss(key)
        if limit := self._care.max_memory_mb:
            running = {one: one.pid for one in self._instances.values() if one.pid is not None}
            sizes = await resident_mb([pid for pid in running.values() if pid])
            for instance, pid in running.items():
                if pid and instance.pid == pid and sizes.get(pid, 0.0) > limit:
                    instance.kill(f"holds {sizes[pid]:.0f} MB, more than {limit:g}")

    async def stop(self) -> None:
        """End all."""
        self._stopping = True
        for key in list(self._instances):
            self._dismiss(key)
        if self._ends:
            await asyncio.wait(self._ends)

    async def _admit(self, agent: int, plan: Plan, session: str) -> Instance:
        """The session's program with one more user; made where there is none and room."""
        if (instance := self._instances.get((agent, session))) is not None:
            instance.users += 1
            return instance
        async with self._turnstiles.setdefault(agent, asyncio.Lock()):  # first come, first served
            while True:
                if agent not in self._plans:
                    raise AgentError("no_agent", "the agent was removed", retryable=True)
                plan = self._plans[agent]
                instance = self._instances.get((agent, session))
                if instance is None and await self._room(agent, plan):
                    instance = self._instances.get((agent, session))
                    instance = instance or self._begin(agent, plan, session)
                if instance is not None:
                    instance.users += 1
                    return instance
                self._left.clear()
                await self._left.wait()

    async def _room(self, agent: int, plan: Plan) -> bool:
        """Whether one more may be started; the one unused for longest gives way."""
        mine = [(key, one) for key, one in self._instances.items() if key[0] == agent]
        if not plan.per_session or len(mine) < plan.max_instances:
            return True
        unused = [(one.used_at, key) for key, one in mine if one.users == 0]
        if not unused:
            return False
        await self._dismiss(min(unused)[1])
        return True

    def _begin(self, agent: int, plan: Plan, session: str) -> Instance:
        if self._stopping:
            raise AgentError("unreachable", "the gateway is stopping", retryable=True)
        instance = self._instances[agent, session] = Instance(
            plan, session, self._probe, self._care
        )
        instance.start()
        return instance

    def _dismiss(self, key: Key) -> asyncio.Task[None]:
        task = asyncio.create_task(self._instances.pop(key).end(), name=f"end of {key}")
        self._ends.add(task)
        task.add_done_callback(self._dismissed)
        return task

    def _dismissed(self, task: asyncio.Task[None]) -> None:
        self._ends.discard(task)
        self._left.set()
        if not task.cancelled() and (error := task.exception()):
            logger.error("a program could not be ended", exc_info=error)


def program_care() -> Care:
    """As the settings say."""
    return Care(
        start_seconds=settings.OPENCLAW_AGENT_START_SECONDS,
        max_memory_mb=settings.OPENCLAW_AGENT_MAX_MEMORY_MB,
        environment=settings.PROGRAM_ENVIRONMENT,
    )


async def resident_mb(pids: Collection[int]) -> dict[int, float]:
    """Memory that these processes hold, in MB: from /proc, elsewhere (macOS) from `ps`."""
    if PROC.exists():  # noqa: ASYNC240  (no file: the kernel answers at once)
        return await asyncio.to_thread(_from_proc, pids)
    return await _from_ps(pids) if pids else {}


async def _from_ps(pids: Collection[int]) -> dict[int, float]:
    words = ",".join(map(str, pids))
    ps = await asyncio.create_subprocess_exec(
        "ps", "-o", "pid=,rss=", "-p", words, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await ps.communicate()
    rows = [line.split() for line in output.decode().splitlines()]
    return {int(pid): int(size) / 1024 for pid, size in rows}


def _from_proc(pids: Collection[int]) -> dict[int, float]:
    sizes = {}
    for pid in pids:
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue  # it has just ended
        if "VmRSS:" in status:
            sizes[pid] = int(status.split("VmRSS:")[1].split()[0]) / 1024
    return sizes
