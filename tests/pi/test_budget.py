"""Budgets: asked before a call, told in a plain sentence."""

from __future__ import annotations

import logging
from typing import Any

import httpx
import pytest

from pi.config import Config
from tests.pi.conftest import Start, ask
from tests.pi.gateway_api import GatewayApi
from tests.pi.model_server import ModelServer, in_turn, refuse, say, use


async def answer(pi: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    response = await pi.post("/rpc/message", json=ask("hi", stream=False, **fields))
    assert response.status_code == 200
    return dict(response.json())


@pytest.mark.parametrize(
    ("limit", "usage", "said"),
    [
        ({"session_tokens": 100}, {"session": {"input_tokens": 90, "output_tokens": 10}}, "/new"),
        ({"session_tokens": 100}, {"session": {"input_tokens": 90, "output_tokens": 9}}, None),
        ({"day_tokens": 100}, {"day": {"input_tokens": 150, "output_tokens": 0}}, "tomorrow"),
        ({"session_cost": 0.5}, {"session": {"cost": 0.5}}, "$0.5"),
        ({"day_cost": 2.0}, {"day": {"cost": "2.01"}}, "$2"),
        ({"day_cost": 2.0}, {"day": {"cost": None, "input_tokens": None}}, None),
    ],
)
async def test_what_the_gateway_has_counted_decides(
    start: Start,
    models: ModelServer,
    api: GatewayApi,
    limit: dict[str, Any],
    usage: dict[str, Any],
    said: str | None,
) -> None:
    api.ann.usage = usage
    pi = await start(Config(model="fake", base_url=models.url, **limit))
    told = await answer(pi, gateway=api.grant())
    assert ("GET", "/me/usage", None) in api.calls
    assert len(models.calls) == (0 if said else 1)
    assert (said or "Hello from the model.") in told["content"]
    assert told["metadata"]["brain"] == ("budget" if said else "model")


async def test_without_limits_nobody_is_asked(
    with_model: httpx.AsyncClient, api: GatewayApi
) -> None:
    await answer(with_model, gateway=api.grant())
    assert api.calls == []


@pytest.mark.parametrize("broken", [True, False])
async def test_own_memory_counts_where_no_gateway_does(
    start: Start, models: ModelServer, api: GatewayApi, broken: bool
) -> None:
    api.failing = 500
    pi = await start(Config(model="fake", base_url=models.url, session_tokens=30))
    fields = {"gateway": api.grant()} if broken else {}
    said = [(await answer(pi, **fields))["metadata"]["brain"] for _ in range(3)]
    assert said == ["model", "model", "budget"]  # 15 tokens each
    other = await answer(pi, sessionId="sess_2", **fields)
    assert other["metadata"]["brain"] == "model"


async def test_answer_that_breaks_off_after_tools_is_counted_all_the_same(
    start: Start, models: ModelServer, api: GatewayApi
) -> None:
    pi = await start(Config(model="fake", base_url=models.url, session_tokens=16))
    models.behaviour = in_turn(use(("calculate", '{"expression": "1+1"}')), refuse(400))
    failed = await pi.post("/rpc/message", json=ask("hi", stream=False, gateway=api.grant()))
    assert failed.status_code == 424
    models.behaviour = say("Hello.")
    brains = [(await answer(pi, gateway=api.grant()))["metadata"]["brain"] for _ in range(2)]
    assert brains == ["model", "budget"]  # 15 tokens each


async def test_limit_that_is_reached_within_a_turn_ends_it_with_a_clear_message(
    start: Start, models: ModelServer, api: GatewayApi
) -> None:
    """Between two calls of the model, whatever it wants to do next."""
    pi = await start(Config(model="fake", base_url=models.url, session_tokens=40))
    models.behaviour = use(("calculate", '{"expression": "1+1"}'))  # for ever
    told = await answer(pi, gateway=api.grant())
    assert len(models.calls) == 3  # 15 tokens each
    assert "40 tokens" in told["content"]
    assert told["metadata"]["usage"]["requests"] == 3


async def test_price_that_is_not_known_is_said_at_the_start(
    start: Start, models: ModelServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    pi = await start(Config(model="fake", base_url=models.url, day_cost=1.0))
    told = await answer(pi)
    warned = [r for r in caplog.records if "price of the model is not known" in r.getMessage()]
    assert [record.levelname for record in warned] == ["WARNING"]
    assert "cost" not in told["metadata"]["usage"]
