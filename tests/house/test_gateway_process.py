"""What one running gateway owes to whoever runs it: its log, its lock, its silence."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.world import wait_until
from tests.fakes.agent import FakeAgent
from tests.process import ROOT, Gateway, clean_environment, free_port, fresh_data_dir, manage


@pytest.fixture(scope="module")
def agent() -> Iterator[FakeAgent]:
    with FakeAgent.in_thread() as agent:
        yield agent


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, agent: FakeAgent) -> Iterator[Gateway]:
    gateway = Gateway.start(
        {"OPENCLAW_LOG_FORMAT": "json", "OPENCLAW_AGENT_URL": agent.url},
        data_dir=fresh_data_dir(tmp_path_factory.mktemp("process")),
    )
    yield gateway
    gateway.remove()


def test_a_second_gateway_on_the_same_folder_says_so_and_ends(running: Gateway) -> None:
    """HE 89293: the database corrupted by several processes at once."""
    second = subprocess.run(
        [sys.executable, "manage.py", "gateway"],
        cwd=ROOT,
        env=clean_environment(running.data_dir, {"OPENCLAW_PORT": str(free_port())}),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert second.returncode == 1
    assert f"another gateway is running on {running.data_dir}" in second.stderr
    assert "Traceback" not in second.stderr
    wait_until(running.healthy)


def test_an_idle_gateway_calls_no_agent(running: Gateway, agent: FakeAgent) -> None:
    """OC 98556: idle heartbeats replay the whole context, for $248."""
    wait_until(running.healthy)
    assert agent.calls == []


def test_logs_for_machines_are_one_json_object_a_line(running: Gateway) -> None:
    wait_until(lambda: "channel webchat is up" in running.log_text())
    lines = [json.loads(line) for line in running.log_text().rpartition("\n")[0].splitlines()]
    assert lines
    for line in lines:
        assert {"time", "level", "logger", "message"} <= set(line)


@pytest.mark.parametrize(("durability", "synchronous"), [("full", 2), ("normal", 1)])
def test_full_waits_for_the_disk_and_normal_does_not(
    tmp_path: Path, durability: str, synchronous: int
) -> None:
    """SQLite: 1 is NORMAL, 2 is FULL: fsync at every commit."""
    code = (
        "from django.db import connection; cursor = connection.cursor(); "
        "cursor.execute('PRAGMA synchronous'); print(cursor.fetchone()[0])"
    )
    env = {"OPENCLAW_DURABILITY": durability}
    said = manage("shell", "-v", "0", "-c", code, data_dir=tmp_path / "data", env=env)
    assert int(said) == synchronous


@pytest.mark.parametrize(
    ("what", "said"),
    [("unmigrated", "manage.py migrate"), ("damaged", "The database cannot be used")],
)
def test_a_database_that_cannot_be_worked_with_is_one_clear_line(
    tmp_path: Path, what: str, said: str
) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir(mode=0o700)
    if what == "damaged":
        (data_dir / "openclaw.sqlite3").write_bytes(b"no database, but something else\n" * 100)
    started = subprocess.run(
        [sys.executable, "manage.py", "gateway"],
        cwd=ROOT,
        env=clean_environment(data_dir, {"OPENCLAW_PORT": str(free_port())}),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert started.returncode == 1
    assert said in started.stderr
    assert "Traceback" not in started.stderr
