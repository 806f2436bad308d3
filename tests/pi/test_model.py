"""Pi with a model: a fake server speaks, the real client library listens."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from aiohttp import web

from pi.app import make_runner
from pi.brain import Brain
from pi.config import Config
from tests.pi.conftest import KEY, Start, ask, events
from tests.pi.model_server import (
    END,
    Behaviour,
    ModelServer,
    break_off,
    chunk,
    open_stream,
    raw,
    refuse,
    say,
)


async def final(pi: httpx.AsyncClient, **fields: Any) -> tuple[str, Any]:
    """The last event of an answer to a plain question."""
    response = await pi.post("/rpc/message", json=ask("hello", **fields))
    assert response.status_code == 200
    return events(response.text)[-1]


async def test_tokens_pass_through_as_the_model_says_them(
    with_model: httpx.AsyncClient, models: ModelServer
) -> None:
    gate = asyncio.Event()
    models.behaviour = say("Hello", " wor", "ld", gate=gate)
    async with with_model.stream("POST", "/rpc/message", json=ask("hi")) as response:
        chunks = response.aiter_text()
        assert events(await anext(chunks)) == [("token", {"text": "Hello"})]
        gate.set()
        rest = events("".join([chunk async for chunk in chunks]))
    assert rest == [
        ("token", {"text": " wor"}),
        ("token", {"text": "ld"}),
        (
            "final",
            {
                "content": "Hello world",
                "attachments": [],
                "silent": False,
                "metadata": {
                    "brain": "model",
                    "model": "fake",
                    "usage": {"input_tokens": 11, "output_tokens": 4, "requests": 1},
                },
            },
        ),
    ]


async def test_json_answer_where_no_stream_is_asked_for(with_model: httpx.AsyncClient) -> None:
    response = await with_model.post("/rpc/message", json=ask("hi", stream=False))
    assert response.json()["content"] == "Hello from the model."
    used = response.json()["metadata"]["usage"]
    assert used == {"input_tokens": 11, "output_tokens": 4, "requests": 1}


async def test_history_reaches_the_model_in_order_with_neighbours_merged(
    with_model: httpx.AsyncClient, models: ModelServer
) -> None:
    messages = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "two"},
        {"role": "user", "content": "three", "attachments": [{"kind": "image", "name": "a.png"}]},
        {"role": "user", "content": "four"},
    ]
    await with_model.post("/rpc/message", json={"messages": messages})
    ((headers, body),) = models.calls
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert body["model"] == "fake" and body["stream"] is True
    system, *rest = body["messages"]
    assert system["role"] == "system"
    assert "Be kind." in system["content"] and "22 November 2026" in system["content"]
    assert rest == [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "two"},
        {"role": "user", "content": "three\n\n[attachment: image a.png]\n\nfour"},
    ]


async def test_what_does_not_wait_is_marked_for_the_model(
    with_model: httpx.AsyncClient, models: ModelServer
) -> None:
    await with_model.post("/rpc/message", json=ask("cancel all", "what time is it", waiting=1))
    assert models.calls[0][1]["messages"][-1] == {
        "role": "user",
        "content": "[left unanswered, and not to be answered or done now: cancel all]"
        "\n\nwhat time is it",
    }


async def test_last_message_may_be_the_systems(
    with_model: httpx.AsyncClient, models: ModelServer
) -> None:
    messages = [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "two"},
        {"role": "system", "content": "Remind them now."},
    ]
    response = await with_model.post("/rpc/message", json={"messages": messages, "stream": False})
    assert response.json()["content"] == "Hello from the model."
    assert models.calls[0][1]["messages"][-1] == {"role": "system", "content": "Remind them now."}


async def test_reasoning_is_an_event_of_its_own(
    with_model: httpx.AsyncClient, models: ModelServer
) -> None:
    models.behaviour = raw(chunk({"reasoning_content": "hm"}), chunk({"content": "Yes."}), END)
    response = await with_model.post("/rpc/message", json=ask("hi"))
    assert events(response.text)[:2] == [("reasoning", {"text": "hm"}), ("token", {"text": "Yes."})]
    assert events(response.text)[-1][1]["content"] == "Yes."


async def test_emoji_cut_in_two_by_the_model_server_is_joined(
    with_model: httpx.AsyncClient, models: ModelServer
) -> None:
    halves = chunk({"content": "a\ud83d"}), chunk({"content": "\ude00b\ude00"})
    models.behaviour = raw(*halves, chunk({"content": "\ud83d"}), END)
    response = await with_model.post("/rpc/message", json=ask("hi"))
    *tokens, (_, last) = events(response.text)
    assert last["content"] == "a😀b��"
    assert "".join(data["text"] for _, data in tokens) == last["content"]


@pytest.mark.parametrize(
    ("behaviour", "retryable", "said"),
    [
        (refuse(401, f"bad key {KEY}"), False, "refused OPENCLAW_LLM_API_KEY"),
        (refuse(403, f"bad key {KEY}"), False, "refused OPENCLAW_LLM_API_KEY"),
        (refuse(404, "model 'fake' not found"), False, "often ends in /v1"),
        (refuse(400, f"too long for {KEY}"), False, "too long for …"),
        (refuse(422, "odd"), False, "refused the request"),
        (refuse(429, "slow down"), True, "is busy"),
        (refuse(429, "pay", code="insufficient_quota"), False, "nothing left to spend"),
        (refuse(408), True, "status 408"),
        (refuse(500, "oh\nno\x00"), True, "(status 500): oh no"),
        (refuse(503), True, "status 503"),
        (break_off(), True, "broke"),
        (break_off(chunk({"content": "par"})), True, "broke"),
        (raw(chunk({"content": "par"}), b"data: [DONE]\n\n"), True, "broke off"),
        (raw(b"data: {not json\n\n"), True, "broke off"),
        (raw(b'data: {"error": {"message": "boom", "code": 500}}\n\n'), True, "boom"),
        (raw(b"data: [1, 2]\n\n"), False, "did not expect"),
        (raw(b'data: {"choices": null}\n\n', END), False, "no usable answer"),
        (raw(b"hello"), False, "no usable answer"),
        (raw(), False, "no usable answer"),
        (say(""), False, "no usable answer"),
        (say(" ", "\n"), False, "empty answer"),
    ],
)
async def test_failure_of_the_model_is_a_clear_error(
    with_model: httpx.AsyncClient,
    models: ModelServer,
    caplog: pytest.LogCaptureFixture,
    behaviour: Behaviour,
    retryable: bool,
    said: str,
) -> None:
    models.behaviour = behaviour
    name, data = await final(with_model)
    assert name == "error"
    assert said in data["message"] and data["retryable"] is retryable
    logged = "".join(record.getMessage() for record in caplog.records if record.name == "pi")
    assert "no answer turn=turn_1" in logged
    assert KEY not in data["message"] and KEY not in caplog.text
    assert "oh no" not in logged and "too long" not in logged  # a server may quote the person
    assert "\n" not in data["message"] and len(data["message"]) < 600
    models.behaviour = say("Well ", "again.")
    assert (await final(with_model))[1]["content"] == "Well again."


@pytest.mark.parametrize(("status", "expected"), [(500, 503), (401, 424)])
async def test_failure_without_a_stream_is_a_status_that_says_whether_to_repeat(
    with_model: httpx.AsyncClient, models: ModelServer, status: int, expected: int
) -> None:
    models.behaviour = refuse(status)
    response = await with_model.post("/rpc/message", json=ask("hi", stream=False))
    assert response.status_code == expected
    assert response.json()["retryable"] is (expected == 503)


async def test_what_was_said_before_the_break_has_been_passed_on(
    with_model: httpx.AsyncClient, models: ModelServer
) -> None:
    models.behaviour = break_off(chunk({"content": "Half an"}))
    response = await with_model.post("/rpc/message", json=ask("hi"))
    (token, error) = events(response.text)
    assert token == ("token", {"text": "Half an"}) and error[0] == "error"


@pytest.mark.parametrize(("status", "calls"), [(500, 3), (429, 3), (401, 1), (400, 1)])
async def test_passing_error_is_tried_again_before_it_is_told(
    with_model: httpx.AsyncClient, models: ModelServer, status: int, calls: int
) -> None:
    models.behaviour = refuse(status)
    assert (await final(with_model))[1]["retryable"] is (calls > 1)
    assert len(models.calls) == calls


@pytest.mark.parametrize("fails", [refuse(503), break_off()])
async def test_answer_comes_once_the_error_has_passed(
    with_model: httpx.AsyncClient, models: ModelServer, fails: Behaviour
) -> None:
    async def first_fails(request: web.Request, body: Any) -> web.StreamResponse:
        return await (fails if len(models.calls) == 1 else say("Here."))(request, body)

    models.behaviour = first_fails
    assert (await final(with_model))[1]["content"] == "Here."
    assert len(models.calls) == 2


async def test_what_broke_in_mid_answer_is_not_said_again(
    with_model: httpx.AsyncClient, models: ModelServer
) -> None:
    models.behaviour = break_off(chunk({"content": "Half an"}))
    assert (await final(with_model))[1]["retryable"] is True
    assert len(models.calls) == 1


async def test_no_model_server_at_all(start: Start, models: ModelServer) -> None:
    await models.stop()
    url = models.url.replace("http://", "http://me:secret@")
    pi = await start(Config(model="fake", base_url=url))
    name, data = await final(pi)
    assert (name, data["retryable"]) == ("error", True)
    assert models.url in data["message"] and "secret" not in data["message"]


async def test_endless_answer_is_cut_off(
    with_model: httpx.AsyncClient, models: ModelServer
) -> None:
    async def talk_for_ever(request: Any, body: Any) -> Any:
        response = await open_stream(request)
        while True:
            await response.write(chunk({"content": "x" * 50_000}))

    models.behaviour = talk_for_ever
    name, data = await final(with_model)
    assert (name, data["retryable"]) == ("error", False)
    assert "stop talking" in data["message"]
    await asyncio.wait_for(models.left.wait(), 30)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("words", [("Once ", "never"), ()])
async def test_client_that_leaves_ends_the_models_call(
    with_model: httpx.AsyncClient, models: ModelServer, stream: bool, words: tuple[str, ...]
) -> None:
    called = asyncio.Event()
    behave = say(*words, gate=asyncio.Event())

    async def hang(request: Any, body: Any) -> Any:
        called.set()
        if not words:
            await asyncio.Event().wait()
        return await behave(request, body)

    models.behaviour = hang
    call = asyncio.create_task(with_model.post("/rpc/message", json=ask("hi", stream=stream)))
    await asyncio.wait_for(called.wait(), 30)
    call.cancel()
    await asyncio.wait_for(models.left.wait(), 30)
    models.behaviour = say("Still ", "here.")
    assert (await final(with_model))[1]["content"] == "Still here."


async def test_stopping_pi_ends_an_answer_that_does_not_end(models: ModelServer) -> None:
    models.behaviour = say("one ", "never", gate=asyncio.Event())
    brain = Brain(Config(model="fake", base_url=models.url))
    runner = make_runner(brain, finish_seconds=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/rpc/message"
    async with (
        httpx.AsyncClient(trust_env=False) as client,
        client.stream("POST", url, json=ask("hi")) as response,
    ):
        pieces = response.aiter_raw()
        assert events((await anext(pieces)).decode()) == [("token", {"text": "one "})]
        await runner.cleanup()
        with pytest.raises(httpx.RemoteProtocolError):  # no clean end: it was no answer
            await anext(pieces)
    await asyncio.wait_for(models.left.wait(), 30)


async def test_slow_answer_delays_no_other(
    with_model: httpx.AsyncClient, models: ModelServer
) -> None:
    gate = asyncio.Event()
    models.behaviour = say("slow ", "one", gate=gate)
    slow = asyncio.create_task(final(with_model))
    while not models.calls:
        await asyncio.sleep(0.01)
    models.behaviour = say("quick ", "one")
    assert (await final(with_model))[1]["content"] == "quick one"
    gate.set()
    assert (await slow)[1]["content"] == "slow one"


async def test_no_words_of_anyone_are_logged(
    with_model: httpx.AsyncClient, models: ModelServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    models.behaviour = say("private ", "reply")
    await with_model.post("/rpc/message", json=ask("my secret", turnId="turn\n7\x1b[31m"))
    lines = [record.getMessage() for record in caplog.records if record.name == "pi"]
    assert any("turn=turn?7?[31m" in line and "tokens=2" in line for line in lines)
    assert "secret" not in "".join(lines) and "private" not in "".join(lines)


async def test_health_names_the_model(with_model: httpx.AsyncClient) -> None:
    response = await with_model.get("/health")
    assert response.json() == {"status": "ok", "brain": "model", "model": "fake"}


def test_every_error_pydantic_ai_documents_is_explained() -> None:
    """No exception of its tree ends anywhere but in a `Failed` with a message."""
    from pydantic_ai import exceptions as errors

    from pi.failures import explain

    build: dict[str, Callable[[], errors.AgentRunError]] = {
        "ModelHTTPError": lambda: errors.ModelHTTPError(500, "fake", {"error": {"message": []}}),
        "ModelRequestTimeout": lambda: errors.ModelRequestTimeout("fake", 1.0),
    }
    for name in dir(errors):
        kind = getattr(errors, name)
        if not isinstance(kind, type) or not issubclass(kind, errors.AgentRunError):
            continue
        if name.startswith("_") or name in ("AgentRunError",):
            continue
        if name in build:
            error = build[name]()
        elif issubclass(kind, errors.ModelAPIError):
            error = kind("fake", "what happened")
        else:
            error = kind("what happened")
        failed = explain(error, Config(model="fake"))
        assert failed.message and isinstance(failed.retryable, bool), name
