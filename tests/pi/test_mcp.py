"""Tools of MCP servers: offered under their server's name, used, and left out where it is down."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from pi.config import Config, ConfigError, load
from tests.pi.conftest import Start, ask, events
from tests.pi.model_server import ModelServer, in_turn, say, use
from tests.pi.test_config import NO_FILE
from tests.process import free_port

ROOT = Path(__file__).resolve().parents[2]
START = "import runpy, sys; sys.path.insert(0, {!r}); runpy.run_module({!r}, run_name='__main__')"
COMMAND = [sys.executable, "-c", START.format(str(ROOT), "tests.pi.mcp_server")]


def config(models: ModelServer, servers: dict[str, Any]) -> Config:
    return Config(model="fake", base_url=models.url, mcp=json.dumps(servers), context_tokens=20_000)


@pytest.mark.heavy
async def test_tool_of_a_server_is_used_and_one_that_fails_is_told(
    start: Start, models: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pi.tools.mcp.CONNECT_SECONDS", 60.0)  # a busy machine starts slowly
    pi = await start(config(models, {"weather": {"command": COMMAND}}))
    models.behaviour = in_turn(
        use(("weather_forecast", '{"place": "Rome"}'), ("weather_broken", "{}")), say("Sunny.")
    )
    heard = events((await pi.post("/rpc/message", json=ask("hi"))).text)
    given = {data["name"]: data["result"] for name, data in heard if name == "tool_result"}
    assert "Sunny in Rome." in given["weather_forecast"]
    assert given["weather_broken"] == "The tool failed."
    assert heard[-1][1]["content"] == "Sunny."


async def test_server_that_is_down_takes_no_turn_with_it(start: Start, models: ModelServer) -> None:
    away = {"url": f"http://127.0.0.1:{free_port()}/mcp"}
    pi = await start(config(models, {"away": away, "gone": {"command": ["/does/not/exist"]}}))
    heard = events((await pi.post("/rpc/message", json=ask("hi"))).text)
    assert heard[-1][1]["content"] == "Hello from the model."


@pytest.mark.parametrize(
    "value",
    [
        "{",
        "[]",
        '{"a": {}}',
        '{"a": {"url": "ftp://x"}}',
        '{"a": {"command": "one string"}}',
        '{"a": {"command": []}}',
        '{"a b": {"url": "http://127.0.0.1/mcp"}}',
        '{"a": {"url": "http://127.0.0.1", "command": ["x"]}}',
    ],
)
def test_setting_that_names_no_server(value: str) -> None:
    with pytest.raises(ConfigError, match="OPENCLAW_PI_MCP takes JSON"):
        load({**NO_FILE, "OPENCLAW_PI_MCP": value, "OPENCLAW_PI_RUN_PROGRAMS": "true"})


def test_command_needs_leave_to_run_programs() -> None:
    settings = {**NO_FILE, "OPENCLAW_PI_MCP": '{"a": {"command": ["x"]}}'}
    with pytest.raises(ConfigError, match="OPENCLAW_PI_RUN_PROGRAMS=true"):
        load(settings)
    assert load({**settings, "OPENCLAW_PI_RUN_PROGRAMS": "on"}).mcp_servers
