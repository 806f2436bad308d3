"""A real gateway, a real agent, real calls between them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.conftest import StartGateway
from tests.fakes.agent import FakeAgent
from tests.process import ROOT, Gateway, clean_environment


def furnished(gateway: Gateway) -> dict[str, str]:
    """The secrets of a program and of an agent."""
    environment = clean_environment(gateway.data_dir)
    command = [sys.executable, "-m", "tests.api.furnish"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


def until(condition: Callable[[], Any]) -> Any:
    """What `condition` gives as soon as it gives something."""
    deadline = time.monotonic() + 20
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


@pytest.mark.heavy
def test_question_over_the_api_runs_a_turn_whose_agent_calls_back(
    gateway_process: StartGateway,
) -> None:
    with FakeAgent.in_thread() as agent:
        gateway = gateway_process({"OPENCLAW_AGENT_URL": agent.url})
        secrets = furnished(gateway)
        api = httpx.Client(
            base_url=f"{gateway.url}/api/v1",
            headers={"authorization": f"Bearer {secrets['token']}"},
            trust_env=False,
        )
        where = {"channel": "webchat", "user_id": "guest_1"}
        asked = api.post("/messages", json={**where, "text": "what is new?", "as": "user"})
        assert asked.status_code == 201, asked.text
        turn = asked.json()["turn"]
        ended = until(lambda: (one := api.get(f"/turns/{turn}").json())["ended_at"] and one)
        assert ended["state"] == "done"
        parts = api.get("/deliveries", params={"session": ended["session"], "limit": 1}).json()
        assert "what is new?" in parts["items"][0]["text"]
        (call,) = agent.calls
        back, told = call.payload["gateway"], call.payload["person"]
        assert told == {"name": "Ann", "notes": {"cat": "Tom"}}
        headers = {"authorization": f"Bearer {back['token']}"}
        with httpx.Client(base_url=back["url"], headers=headers, trust_env=False) as mine:
            assert mine.get("/me").json()["session"] == ended["session"]
            assert mine.patch("/me/notes", json={"cat": "Tim"}).json() == {"cat": "Tim"}
            api.post(f"/sessions/{ended['session']}/terminate")
            assert mine.get("/me").status_code == 401
        api.close()
        for secret in (*secrets.values(), back["token"]):
            assert secret not in gateway.log_text()
