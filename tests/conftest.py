"""What all tests share: the house rules, a clock that tests move, real gateway processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings

from sessions_app import clock as app_clock
from tests.house_rules import (  # noqa: F401  (pytest finds the hooks by name here)
    pytest_collection_modifyitems,
    pytest_configure,
    pytest_make_collect_report,
    pytest_runtest_makereport,
)
from tests.process import Gateway, fresh_data_dir
from tests.roles import keep_roles

hypothesis_settings.register_profile("unhurried", deadline=None)
hypothesis_settings.load_profile("unhurried")  # how fast this machine is, is no property

StartGateway = Callable[..., Gateway]


class Clock:
    """A clock that stands still until a test moves it. Seconds."""

    def __init__(self) -> None:
        self.time = app_clock.now()

    def __call__(self) -> datetime:
        return self.time

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass."""
        self.time += timedelta(seconds=seconds)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What a test has to say although it passed (`record_property("said", …)`): a seed, counts."""
    for report in [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]:
        for name, value in report.user_properties if report.when == "call" else ():
            if name == "said":
                terminalreporter.write_line(f"{report.nodeid}: {value}")


@pytest.fixture(scope="session", autouse=True)
def roles_stay() -> None:
    """Tests that empty the database leave the roles to the next one."""
    keep_roles()


@pytest.fixture
def clock() -> Iterator[Clock]:
    """The application's clock in this process, standing still. `clock.advance(60)` moves it."""
    standing = Clock()
    with app_clock.reading(standing):
        yield standing


@pytest.fixture
def gateway_process(tmp_path: Path) -> Iterator[StartGateway]:
    """Starts real gateways: `gateway_process({"OPENCLAW_…": "…"})`. All are removed at the end."""
    started: list[Gateway] = []

    def start(env: Mapping[str, str] | None = None, *, wait: bool = True) -> Gateway:
        gateway = Gateway.start(env, data_dir=fresh_data_dir(tmp_path), wait=False)
        started.append(gateway)
        if wait:
            gateway.wait_ready()
        return gateway

    yield start
    for gateway in started:
        gateway.remove()
