"""A bad network on all channels at once: everything is answered once, in order; nothing grows.

A second way of a channel cannot stand beside the first in one gateway: it has a smaller run.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.e2e.channels import WAYS, WITH_A_PLATFORM
from tests.e2e.channels.discord import DiscordChannel
from tests.e2e.town import Town, town
from tests.fakes._weather import Weather

pytestmark = pytest.mark.heavy

MESSAGES = int(os.environ.get("WEATHER_MESSAGES", "5000"))
SEED = int(os.environ.get("WEATHER_SEED", "0")) or int(time.time())
SECOND_WAYS = [name for name in WAYS if name not in WITH_A_PLATFORM]
PEOPLE = 20
"""On each channel."""

SHARE = 0.15
DROP_SECONDS = 4.0
GROWTH_MIB = 25.0
SETTLE_SECONDS = 600.0


def write(made: Town, name: str, count: int) -> None:
    """People of one channel take turns; nobody writes again before they were answered."""
    for number in range(count):
        made.say(1 + number % PEOPLE, name)
        time.sleep(0.01)


def drop_sockets(made: Town, writers: list[threading.Thread]) -> int:
    """While they write, Discord's websocket is cut off now and then. How often it was."""
    discord = made.channels.get("discord")
    drops = 0
    while alive := [writer for writer in writers if writer.is_alive()]:
        alive[-1].join(DROP_SECONDS)
        if isinstance(discord, DiscordChannel):
            discord.drop()
            drops += 1
    return drops


@pytest.mark.timeout(1500)
@pytest.mark.parametrize(
    ("ways", "messages"),
    [(WITH_A_PLATFORM, MESSAGES), *(([way], MESSAGES // 10) for way in SECOND_WAYS)],
    ids=["all channels", *SECOND_WAYS],
)
def test_everything_is_answered_once_in_any_weather(
    ways: list[str],
    messages: int,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    record_property("said", f"WEATHER_SEED={SEED}")
    each = messages // len(ways) + 1
    with town(tmp_path, ways, OPENCLAW_DELIVERY_MAX_AGE="3600") as made:
        process = psutil.Process(made.gateway.pid)
        for name in made.channels:
            for person in range(1, PEOPLE + 1):
                made.say(person, name)
        made.settle()
        before = process.memory_info().rss
        weathers = {name: Weather(SEED + n, SHARE) for n, name in enumerate(made.channels)}
        for name, weather in weathers.items():
            made.channels[name].set_weather(weather)
        writers = [
            threading.Thread(target=write, args=(made, name, each)) for name in made.channels
        ]
        for writer in writers:
            writer.start()
        drops = drop_sockets(made, writers)
        for writer in writers:
            writer.join()
        made.settle(SETTLE_SECONDS)
        grown = (process.memory_info().rss - before) / 1024 / 1024
        for name, weather in weathers.items():
            made.channels[name].set_weather(None)
            line = f"{name}: {weather.counts}, {made.marked(name)} marked repeats"
            record_property("said", line)
        line = f"{len(made.said())} messages, {drops} sockets dropped, {grown:.1f} MiB more memory"
        record_property("said", line)
        assert made.problems() == {}
        assert all(sum(weather.counts.values()) > each // 4 for weather in weathers.values())
        assert drops or "discord" not in made.channels
        assert grown < GROWTH_MIB
