"""A model that uses tools: events, results, errors, bounds. A fake server decides for the model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from pi.config import Config
from pi.mind import MAX_ROUNDS
from pi.toolbox import MAX_RESULT
from tests.pi.conftest import Start, ask, events
from tests.pi.gateway_api import GatewayApi, message
from tests.pi.model_server import Behaviour, ModelServer, in_turn, refuse, say, use


@pytest.fixture
async def pi(start: Start, models: ModelServer, tmp_path: Path) -> httpx.AsyncClient:
    """A Pi with a model and a folder for files."""
    return await start(Config(model="fake", base_url=models.url, files_dir=str(tmp_path)))


async def told(
    pi: httpx.AsyncClient, models: ModelServer, api: GatewayApi, *behaviours: Behaviour
) -> list[tuple[str, Any]]:
    """The events of an answer to Ann, of a model that behaves so."""
    models.behaviour = in_turn(*behaviours)
    body = ask("hi", gateway=api.grant(), sessionId="sess_ann")
    return events((await pi.post("/rpc/message", json=body)).text)


def results(models: ModelServer) -> list[str]:
    """The tool results that the last request to the model carried."""
    return [one["content"] for one in models.calls[-1][1]["messages"] if one["role"] == "tool"]


def offered(models: ModelServer, call: int = 0) -> set[str]:
    return {tool["function"]["name"] for tool in models.calls[call][1].get("tools", [])}


async def test_tools_are_called_and_the_answer_follows(
    pi: httpx.AsyncClient, models: ModelServer, api: GatewayApi
) -> None:
    wanted = {"when": "every day at 9:00", "task": "Summarise the day."}
    heard = await told(
        pi,
        models,
        api,
        use(("plan_task", json.dumps(wanted)), ("calculate", '{"expression": "17% of 240"}')),
        say("Done", ", 40.8."),
    )
    calls = [data for name, data in heard if name == "tool_call"]
    assert calls[0] == {"name": "plan_task", "arguments": wanted}
    assert calls[1]["name"] == "calculate"
    given = {data["name"]: data["result"] for name, data in heard if name == "tool_result"}
    assert given["calculate"] == "40.8" and given["plan_task"].startswith("Planned every day")
    assert [data["text"] for name, data in heard if name == "token"] == ["Done", ", 40.8."]
    assert heard[-1][1]["content"] == "Done, 40.8."
    assert heard[-1][1]["metadata"]["usage"]["requests"] == 2
    assert (api.ann.schedules[0]["spec"], api.ann.schedules[0]["prompt"]) == (
        "0 9 * * *",
        "Summarise the day.",
    )


@pytest.mark.parametrize(
    ("name", "arguments", "result"),
    [
        ("write_note", {"note": "likes tea"}, "Noted: likes tea"),
        ("read_notes", {}, "I have no notes about you."),
        ("search_history", {"words": "invoice"}, "- 2026-11-02 10:00 you: the invoice came"),
        ("time_in", {"place": "Tokyo"}, "In Tokyo it is 21:05 on Sunday, 22 November 2026."),
        ("write_file", {"name": "a.txt", "text": "x"}, "Written: a.txt (1 bytes)"),
        ("list_files", {}, "No files yet."),
        # what cannot be done is told as text
        ("calculate", {"expression": "1/0"}, "I cannot divide by zero."),
        ("calculate", {"expression": "hello"}, "I cannot read that as a calculation."),
        ("remind", {"when": "some day", "text": "x"}, "I could not tell when."),
        ("cancel_plan", {"which": "sched_9"}, "Nothing planned here matches"),
        ("read_file", {"name": "b.txt"}, "There is no file “b.txt” here."),
    ],
)
async def test_tool(
    pi: httpx.AsyncClient,
    models: ModelServer,
    api: GatewayApi,
    name: str,
    arguments: dict[str, Any],
    result: str,
) -> None:
    api.ann.messages = [message("user", "the invoice came", 2)]
    heard = await told(pi, models, api, use((name, json.dumps(arguments))), say("So."))
    assert heard[-1][1]["content"] == "So."
    assert results(models)[0].startswith(result)


@pytest.mark.parametrize(
    "call",
    [
        ("no_such_tool", "{}"),
        ("calculate", "{}"),
        ("calculate", '{"expression": 7}'),
        ("calculate", "{not json"),
        ("calculate", '{"expression": "1+1", "session": "sess_bob"}'),
    ],
)
async def test_wrong_call_is_told_to_the_model(
    pi: httpx.AsyncClient, models: ModelServer, api: GatewayApi, call: tuple[str, str]
) -> None:
    heard = await told(pi, models, api, use(call), say("Sorry."))
    assert heard[-1][0] == "final" and heard[-1][1]["content"] == "Sorry."
    assert len(models.calls) == 2 and results(models)


async def test_what_is_said_before_a_tool_is_used_stays_in_the_answer(
    pi: httpx.AsyncClient, models: ModelServer, api: GatewayApi
) -> None:
    """The tokens make up `final`, so that nobody sees words vanish or come twice."""
    speaking = use(("calculate", '{"expression": "17% of 240"}'), text="Let me see.")
    heard = await told(pi, models, api, speaking, say("It is ", "40.8."))
    tokens = "".join(data["text"] for name, data in heard if name == "token")
    assert tokens == heard[-1][1]["content"] == "Let me see.\n\nIt is 40.8."


async def test_a_model_that_only_calls_tools_is_asked_for_its_answer_in_the_end(
    pi: httpx.AsyncClient, models: ModelServer, api: GatewayApi
) -> None:
    async def insist(request: Any, body: Any) -> Any:
        again = use(("calculate", '{"expression": "1+1"}'))
        return await (again if body.get("tools") else say("Two."))(request, body)

    heard = await told(pi, models, api, insist)
    assert heard[-1][1]["content"] == "Two."
    assert len(models.calls) == MAX_ROUNDS + 1
    assert offered(models, MAX_ROUNDS - 1) and not offered(models, MAX_ROUNDS)


async def test_a_model_that_never_stops_calling_tools_is_an_error(
    pi: httpx.AsyncClient, models: ModelServer, api: GatewayApi
) -> None:
    heard = await told(pi, models, api, use(("calculate", '{"expression": "1+1"}')))
    assert heard[-1][0] == "error" and heard[-1][1]["retryable"] is False
    assert len(models.calls) <= MAX_ROUNDS + 4


async def test_passing_error_between_tools_and_answer_is_tried_again(
    pi: httpx.AsyncClient, models: ModelServer, api: GatewayApi
) -> None:
    note = use(("write_note", '{"note": "likes tea"}'))
    heard = await told(pi, models, api, note, refuse(503), say("Noted."))
    assert heard[-1][1]["content"] == "Noted."
    assert [path for method, path, _ in api.calls if method == "PATCH"] == ["/me/notes"]


async def test_long_result_is_shortened(
    pi: httpx.AsyncClient, models: ModelServer, api: GatewayApi
) -> None:
    api.ann.notes = {f"n{number}": "x" * 400 for number in range(100)}
    await told(pi, models, api, use(("read_notes", "{}")), say("Much."))
    assert len(results(models)[0]) <= MAX_RESULT + 20


async def test_tools_that_run_or_reach_out_are_offered_only_when_switched_on(
    start: Start, models: ModelServer, api: GatewayApi, tmp_path: Path
) -> None:
    config = {"model": "fake", "base_url": models.url, "files_dir": str(tmp_path)}
    off, on = (
        await start(Config(**config)),
        await start(Config(**config, web=True, run_programs=True, context_tokens=20_000)),
    )
    for pi in (off, on):
        await told(pi, models, api, say("Hi."))
    assert offered(models, 1) - offered(models, 0) == {"fetch_page", "run_program"}
    models.behaviour = in_turn(use(("run_program", '{"command": "id"}')), say("No."))
    await off.post("/rpc/message", json=ask("hi", sessionId="sess_ann"))
    assert "run_program" in results(models)[0] and "uid" not in results(models)[0]


async def test_without_a_gateway_its_tools_are_not_offered(
    pi: httpx.AsyncClient, models: ModelServer
) -> None:
    await pi.post("/rpc/message", json=ask("hi"))
    assert "calculate" in offered(models) and "remind" not in offered(models)


async def test_a_planned_turn_says_so_to_the_model(
    pi: httpx.AsyncClient, models: ModelServer
) -> None:
    for origin in ("user", "schedule"):
        await pi.post("/rpc/message", json=ask("Summarise the day.", origin=origin))
    told = ["is due now" in body["messages"][0]["content"] for _, body in models.calls]
    assert told == [False, True]


async def test_what_is_known_of_the_person_is_shown_to_the_model(
    pi: httpx.AsyncClient, models: ModelServer, api: GatewayApi
) -> None:
    person = {"name": "Ann", "notes": {"tea": "likes tea"}, "preferences": {"units": "metric"}}
    await pi.post("/rpc/message", json=ask("hi", person=person))
    system = models.calls[0][1]["messages"][0]["content"]
    for known in ("Name: Ann", "likes tea", "units: metric", "not as instructions"):
        assert known in system
