"""What is measured. A scenario drives one subject and returns figures: name -> value."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from bench.agent import Agent
from bench.load import Platform
from bench.subjects import Subject

Figures = dict[str, float]

SETTLE_SECONDS = 0.3
"""After the last answer: receipts are still being written, and that work counts too."""

IDLE_SECONDS = 2.0
CONVERSATION = 100
"""Messages of one person in `one`."""

PROBE = 10
"""Messages of each person while `history` measures."""

CPU = "CPU ms/message"
GROWS = "CPU late / early"


@dataclass(frozen=True)
class Sizes:
    """How much of everything."""

    one: int = 1000
    bursts: int = 4
    people: int = 100
    each: int = 5
    talkers: int = 10
    probes: int = 5
    marks: tuple[int, int] = (10, 300)
    stored: int = 100_000
    memory: int = 20_000


QUICK = Sizes(one=200, bursts=1, probes=2, marks=(10, 100), stored=20_000, memory=4_000)


@dataclass(frozen=True)
class World:
    """The platform and the agent around the subjects, and the sizes."""

    platform: Platform
    agent: Agent
    sizes: Sizes


async def one(world: World, subject: Subject) -> Figures:
    """One person at a time; each message after the answer to the one before.

    Another person goes on every hundred messages: a conversation that only grows would
    measure ever more of the agent's reading, which is the same for both subjects.
    """
    people = world.platform.people(max(1, world.sizes.one // CONVERSATION))

    async def talk() -> list[float]:
        return [
            await world.platform.say(subject.token, person)
            for person in people
            for _ in range(world.sizes.one // len(people))
        ]

    for person in people:
        await world.platform.say(subject.token, person)  # makes the session
    return await _watch(world, subject, talk)


async def burst(world: World, subject: Subject) -> Figures:
    """A hundred people write five messages each, all at once; a few times."""

    async def crowds() -> list[float]:
        seconds = []
        for _ in range(world.sizes.bursts):
            people = world.platform.people(world.sizes.people)
            seconds += await world.platform.say_all(subject.token, people, world.sizes.each)
        return seconds

    return await _watch(world, subject, crowds)


async def history(world: World, subject: Subject) -> Figures:
    """Ten people talk side by side: what a message costs early and late in a session.

    Early and late are measured in turn, a few times, so that both see the same machine.
    """
    sizes = world.sizes
    early, late = sizes.marks
    veterans = world.platform.people(sizes.talkers)
    await _talk(world, subject, veterans, late)
    seen: dict[int, list[Figures]] = {early: [], late: []}
    for _ in range(sizes.probes):
        newcomers = world.platform.people(sizes.talkers)
        await _talk(world, subject, newcomers, early)
        await world.agent.forget()
        for mark, people in ((early, newcomers), (late, veterans)):
            probe = partial(_talk, world, subject, people, PROBE)
            seen[mark].append(await _watch(world, subject, probe))
    figures = {
        f"{name} after {mark}": statistics.fmean(found[name] for found in seen[mark])
        for name in (CPU, "p50 ms")
        for mark in (early, late)
    }
    return {**figures, GROWS: figures[f"{CPU} after {late}"] / figures[f"{CPU} after {early}"]}


async def start(world: World, subject: Subject) -> Figures:
    """From nothing to ready, with many stored messages."""
    return {"ready s": subject.ready_seconds}


async def memory(world: World, subject: Subject) -> Figures:
    """Idle, and what twenty thousand messages add once everything was used once."""
    await asyncio.sleep(IDLE_SECONDS)
    idle = subject.memory_mb()
    await _crowd(world, subject, world.sizes.memory // 10)
    warm = subject.memory_mb()
    await _crowd(world, subject, world.sizes.memory)
    grown = subject.memory_mb()
    return {"idle MB": idle, "warm MB": warm, "end MB": grown, "growth MB": grown - warm}


@dataclass(frozen=True)
class Scenario:
    """`alone`: each round starts the subject anew, with nothing else running.

    `rounds` is the most that make sense; `stored`: with a past.
    """

    run: Callable[[World, Subject], Awaitable[Figures]]
    rounds: int = 100
    alone: bool = False
    stored: bool = False


SCENARIOS = {
    "one": Scenario(one),
    "burst": Scenario(burst),
    "history": Scenario(history, rounds=1),
    "start": Scenario(start, rounds=3, alone=True, stored=True),
    "memory": Scenario(memory, rounds=1, alone=True),
}

BARS = {
    ("one", "p50 ms"): ("ratio", 4.0),
    ("one", "p99 ms"): ("ratio", 5.0),
    ("burst", CPU): ("ratio", 4.0),
    ("history", GROWS): ("gateway", 1.5),
    ("start", "ready s"): ("gateway", 3.0),
    ("memory", "idle MB"): ("gateway", 120.0),
    ("memory", "growth MB"): ("gateway", 10.0),
}
"""The most that a figure may be: the gateway's own, or its ratio to the bare loop's."""


async def warm_up(world: World, subject: Subject) -> None:
    """Let everything happen once."""
    await world.platform.say_all(subject.token, world.platform.people(10), 3)


async def _talk(world: World, subject: Subject, people: list[int], messages: int) -> list[float]:
    """Side by side, each message after the answer to the one before."""

    async def talk(person: int) -> list[float]:
        return [await world.platform.say(subject.token, person) for _ in range(messages)]

    spoken = await asyncio.gather(*map(talk, people))
    return [seconds for by_one in spoken for seconds in by_one]


async def _crowd(world: World, subject: Subject, messages: int) -> None:
    """Waves of new people, as in `burst`."""
    wave = world.sizes.people * world.sizes.each
    for _ in range(messages // wave):
        people = world.platform.people(world.sizes.people)
        await world.platform.say_all(subject.token, people, world.sizes.each)
        await world.agent.forget()
    await asyncio.sleep(SETTLE_SECONDS)


async def _watch(
    world: World, subject: Subject, work: Callable[[], Awaitable[list[float]]]
) -> Figures:
    """Figures of a piece of work that returns the seconds each answer took."""
    cpu, answers, begin = subject.cpu_seconds(), world.platform.answers, time.perf_counter()
    seconds = await work()
    end = time.perf_counter()
    await asyncio.sleep(SETTLE_SECONDS)
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return {
        "messages/s": len(seconds) / (end - begin),
        "p50 ms": cuts[49] * 1000,
        "p99 ms": cuts[98] * 1000,
        CPU: (subject.cpu_seconds() - cpu) / len(seconds) * 1000,
        "answers/message": (world.platform.answers - answers) / len(seconds),
    }
