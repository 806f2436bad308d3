"""A bad network on all channels at once: everything is answered once, in order; nothing grows."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import psutil
import pytest

from tests.e2e.channels import WITH_A_PLATFORM
from tests.e2e.town import Town, town
from tests.fakes._weather import Weather

pytestmark = pytest.mark.heavy

MESSAGES = int(os.environ.get("WEATHER_MESSAGES", "5000"))
SEED = int(os.environ.get("WEATHER_SEED", "0")) or int(time.time())
PEOPLE = 20
"""On each channel."""

SHARE = 0.15
GROWTH_MIB = 25.0
SETTLE_SECONDS = 600.0


def write(made: Town, name: str, count: int) -> None:
    """People of one channel take turns; nobody writes again before they were answered."""
    for number in range(count):
        made.say(1 + number % PEOPLE, name)
        time.sleep(0.01)


@pytest.mark.timeout(1500)
def test_everything_is_answered_once_in_any_weather(tmp_path: Path) -> None:
    print(f"\nseed {SEED} (WEATHER_SEED)")
    each = MESSAGES // len(WITH_A_PLATFORM) + 1
    with town(tmp_path, WITH_A_PLATFORM, OPENCLAW_DELIVERY_MAX_AGE="3600") as made:
        process = psutil.Process(made.gateway.pid)
        for name in WITH_A_PLATFORM:
            for person in range(1, PEOPLE + 1):
                made.say(person, name)
        made.settle()
        before = process.memory_info().rss
        weathers = {name: Weather(SEED + n, SHARE) for n, name in enumerate(WITH_A_PLATFORM)}
        for name, weather in weathers.items():
            made.channels[name].set_weather(weather)
        writers = [
            threading.Thread(target=write, args=(made, name, each)) for name in WITH_A_PLATFORM
        ]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        made.settle(SETTLE_SECONDS)
        grown = (process.memory_info().rss - before) / 1024 / 1024
        for name, weather in weathers.items():
            made.channels[name].set_weather(None)
            print(f"{name}: {weather.counts}, {made.marked(name)} marked repeats")
        print(f"{len(made.said())} messages, memory grew by {grown:.1f} MiB")
        assert made.problems() == {}
        assert all(sum(weather.counts.values()) > each // 4 for weather in weathers.values())
        assert grown < GROWTH_MIB
