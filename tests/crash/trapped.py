"""A gateway process that dies where the test says, and the load it dies under."""

from __future__ import annotations

import itertools
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from tests.process import ROOT, Gateway, clean_environment

KILLS = int(os.environ.get("CRASH_KILLS", "0"))
"""About how many kills a long run shall make; 0 for CI's shorter one of some hundred."""

DEATH_SECONDS = 30.0


class TrappedGateway(Gateway):
    """A gateway started through `tests.crash.launch`; counts how often it was killed."""

    kills = 0

    def spawn(self, *, wait: bool = True) -> None:
        """Start the process. The log goes on in the same file."""
        settings = {
            "OPENCLAW_LOG_FORMAT": "text",
            **self.env,
            "OPENCLAW_PORT": str(self.port),
            "CRASH_TRAP": str(self.trap),
        }
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.crash.launch"],
                cwd=ROOT,
                env=clean_environment(self.data_dir, settings),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        if wait:
            self.wait_ready()

    @property
    def trap(self) -> Path:
        """The file that sets the trap."""
        return self.data_dir.parent / "trap.json"

    def set_trap(self, point: str, arrival: int, pause: float = 0.0) -> None:
        """From now on, or from its next start: it dies at that arrival at `point`,
        where it has waited for `pause` seconds."""
        draft = self.data_dir.parent / "trap.draft"
        draft.write_text(json.dumps({"point": point, "arrival": arrival, "pause": pause}))
        os.replace(draft, self.trap)

    def remove_trap(self) -> None:
        """The next start lives."""
        self.trap.unlink(missing_ok=True)

    def dead(self) -> bool:
        """Whether it was killed by SIGKILL; any other end is an error."""
        assert self.returncode in (None, -9), f"ended with {self.returncode}: {self.log_text()}"
        return self.returncode == -9


class Place(Protocol):
    """A world or a town: somewhere where people write to a gateway."""

    gateway: Gateway

    def say(self, person: int, /) -> str:
        """Somebody writes; the message's id."""


class Load:
    """People who keep writing in turns, from a thread, until told to stop."""

    def __init__(self, world: Place, people: Sequence[int], per_second: float) -> None:
        self._world, self._people, self._pause = world, people, 1.0 / per_second
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        for person in itertools.cycle(self._people):
            if self._stop.wait(self._pause):
                return
            self._world.say(person)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)


def wait_for_death(gateway: TrappedGateway, point: str) -> None:
    """Returns when the trap has closed; fails where it was never reached."""
    deadline = time.monotonic() + DEATH_SECONDS
    while not gateway.dead():
        assert time.monotonic() < deadline, f"{point} was never reached"
        time.sleep(0.005)
    gateway.kills += 1


@contextmanager
def under_load(world: Place, people: Sequence[int], per_second: float) -> Iterator[None]:
    """While this lasts, people write."""
    with Load(world, people, per_second):
        yield


def crash_at(world: Place, point: str, arrival: int, people: Sequence[int]) -> None:
    """The gateway dies at `point` while people write; started again, it answers everybody."""
    gateway = world.gateway
    assert isinstance(gateway, TrappedGateway)
    gateway.set_trap(point, arrival)
    with under_load(world, people, per_second=60):
        wait_for_death(gateway, point)
    gateway.remove_trap()
    gateway.spawn()


def crash_in_recovery(world: Place, point: str, people: Sequence[int]) -> None:
    """It dies at `point`, and again there while it picks up what the first crash left."""
    gateway = world.gateway
    assert isinstance(gateway, TrappedGateway)
    gateway.set_trap(point, 1)
    with under_load(world, people, per_second=60):
        wait_for_death(gateway, point)
        gateway.spawn(wait=False)
        wait_for_death(gateway, point)
    gateway.remove_trap()
    gateway.spawn()


def crash_somewhen(world: Place, moment: random.Random) -> None:
    """It dies some time after it came up, at work, and is started again."""
    gateway = world.gateway
    assert isinstance(gateway, TrappedGateway)
    gateway.wait_ready()
    time.sleep(moment.uniform(0.05, 1.5))
    gateway.kill9()
    gateway.kills += 1
    gateway.spawn(wait=False)
