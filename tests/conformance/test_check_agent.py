"""check_agent finds each fault of agents that are right about everything else, and no other."""

from __future__ import annotations

import asyncio
import io
import json
import ssl
import sys
from collections.abc import AsyncIterator, Collection

import httpx
import pytest
from django.core.management import CommandError, call_command

from gateway.agents.base import Target
from gateway.conformance.base import FAILED, PASSED, Outcome
from gateway.conformance.kit import NAMES, Unreachable, examine
from gateway.http import make_transport, make_trust
from tests.conformance.program import agent_process
from tests.fakes.agent import Call, FakeAgent
from tests.fakes.broken_agents import BAD, ELSEWHERE, FAULTS, broken_agent
from tests.process import free_port

PATIENCE = 0.8
SIDE_BY_SIDE = 4
ANY = set(NAMES)
STREAMED = {
    "stream", "content type", "unicode", "history", "large history", "bad request",
    "cancel", "slow", "duplicate", "parallel",
}  # fmt: skip
EXPECTED: dict[str, tuple[str, set[str]]] = {
    "no_health": ("health", {"cancel", "parallel"}),
    "sick": ("health", {"cancel", "parallel"}),
    "never_ends": ("stream", set()),
    "no_final": ("stream", STREAMED),
    "two_finals": ("stream", set()),
    "talks_on": ("stream", set()),
    "other_tokens": ("stream", set()),
    "closes_in_token": ("stream", STREAMED),
    "broken_line": ("stream", STREAMED),
    "token_without_text": ("stream", STREAMED),
    "only_errors": ("stream", STREAMED),
    "declares_json": ("stream", STREAMED),
    "mixes_sessions": ("parallel", {"slow"}),
    "ascii_only": ("unicode", set()),
    "basic_plane_only": ("unicode", set()),
    "latin_1": ("unicode", set()),
    "half_a_pair": ("unicode", {"stream"}),
    "stuck_after_cancel": ("cancel", {"slow", "duplicate", "parallel"}),
    "small_memory": ("large history", set()),
    "refuses_large": ("large history", set()),
    "refuses_repeats": ("duplicate", set()),
    "html": ("content type", ANY),
    "no_type": ("content type", ANY),
    "compresses": ("content type", ANY),
    "blank": ("plain", ANY),
    "redirects": ("content type", ANY),
    "one_message_only": ("history", {"large history"}),
    "strict": ("unknown fields", set()),
    "never_answers": ("plain", ANY),
    "crashes_on_nonsense": ("bad request", set()),
    "500_on_nonsense": ("bad request", set()),
    "200_on_nonsense": ("bad request", set()),
    "hangs_on_nonsense": ("bad request", set()),
    "serial": ("slow", {"parallel", "cancel"}),
    "impatient": ("slow", {"large history"}),
    "reads_once": ("slow", {"large history", "history"}),
}
"""Fault: the check that finds it, and those that may well find it too."""
FIRST = {check: fault for fault, (check, _) in reversed(EXPECTED.items())}
"""One fault for each check; the heavy run takes them all."""


@pytest.fixture(scope="module")
def trust() -> ssl.SSLContext:
    """Loaded once: that takes a third of a second."""
    return make_trust()


@pytest.fixture
async def transport(
    trust: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[httpx.AsyncBaseTransport]:
    monkeypatch.setattr("gateway.http.make_trust", lambda: trust)
    made = make_transport()
    yield made
    await made.aclose()


async def examined(
    transport: httpx.AsyncBaseTransport,
    url: str,
    only: Collection[str] = (),
    protocol: str = "rpc",
    patience: float = PATIENCE,
) -> dict[str, Outcome]:
    target = Target("under test", url, protocol)
    return {one.check: one async for one in examine(target, transport, patience, only)}


def failed(outcomes: dict[str, Outcome]) -> set[str]:
    return {name for name, one in outcomes.items() if one.state == FAILED}


def test_every_fault_has_a_check_that_finds_it() -> None:
    assert set(EXPECTED) == {*FAULTS, *BAD, *ELSEWHERE} - {"one_at_a_time"}
    assert {check for check, _ in EXPECTED.values()} == set(NAMES)


@pytest.mark.parametrize("check", NAMES)
async def test_each_check_finds_a_fault(transport: httpx.AsyncBaseTransport, check: str) -> None:
    fault = FIRST[check]
    with broken_agent(fault) as agent:
        found = (await examined(transport, agent.url, [check]))[check]
    assert found.state == FAILED, found
    assert found.seen
    assert found.hint


@pytest.mark.heavy
async def test_each_fault_is_found_and_no_other(transport: httpx.AsyncBaseTransport) -> None:
    """Some faults side by side: an examination mostly waits."""
    places = asyncio.Semaphore(SIDE_BY_SIDE)

    async def verdict(fault: str) -> tuple[str, str]:
        async with places:
            return fault, await misjudged(transport, fault)

    verdicts = await asyncio.gather(*map(verdict, EXPECTED))
    assert {fault: wrong for fault, wrong in verdicts if wrong} == {}


async def misjudged(transport: httpx.AsyncBaseTransport, fault: str) -> str:
    """What is wrong with the outcomes for an agent with this fault; "" if they are right.

    A check that should have passed has a second try with more patience: the machine may
    have kept it waiting.
    """
    check, others = EXPECTED[fault]
    with broken_agent(fault) as agent:
        outcomes = await examined(transport, agent.url, patience=1.5)
    if check not in failed(outcomes):
        return f"{check} passed: {outcomes[check]}"
    if extra := failed(outcomes) - {check} - others:
        with broken_agent(fault) as agent:
            outcomes = await examined(transport, agent.url, extra, patience=15)
        extra = failed(outcomes)
    return f"{extra} failed: {outcomes}" if extra else ""


@pytest.mark.parametrize("protocol", ["rpc", "openai"])
async def test_a_good_agent_passes(transport: httpx.AsyncBaseTransport, protocol: str) -> None:
    async with FakeAgent() as agent:
        url = agent.url if protocol == "rpc" else agent.openai_url
        outcomes = await examined(transport, url, protocol=protocol, patience=10)
    assert set(outcomes) == set(NAMES)
    assert {one.state for one in outcomes.values()} == {PASSED}, outcomes


@pytest.mark.parametrize("form", ["sse", "ndjson", "text"])
async def test_every_form_of_an_answer_passes(
    transport: httpx.AsyncBaseTransport, form: str
) -> None:
    async with FakeAgent() as agent:
        agent.behave(form=form)
        outcomes = await examined(
            transport, agent.url, ["plain", "content type", "stream", "unicode"], patience=10
        )
    assert {one.state for one in outcomes.values()} == {PASSED}, outcomes


async def test_one_object_where_a_stream_was_asked_for_is_only_a_warning(
    transport: httpx.AsyncBaseTransport,
) -> None:
    async with FakeAgent() as agent:
        agent.behave(form="json")
        outcomes = await examined(transport, agent.url, ["stream"], patience=10)
    assert outcomes["stream"].state == "warning"


@pytest.mark.heavy
async def test_calls_that_wait_for_each_other_are_a_warning(
    transport: httpx.AsyncBaseTransport,
) -> None:
    with broken_agent("one_at_a_time") as agent:
        outcomes = await examined(transport, agent.url, ["parallel"], patience=5)
    assert outcomes["parallel"].state == "warning"


async def test_an_answer_to_what_does_not_wait_is_a_warning(
    transport: httpx.AsyncBaseTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    def all_of_them(call: Call) -> list[str]:
        return [one["content"] for one in call.messages if one["role"] == "user"]

    monkeypatch.setattr(Call, "asked", property(all_of_them))
    async with FakeAgent() as agent:
        outcomes = await examined(transport, agent.url, ["history"], patience=10)
    assert outcomes["history"].state == "warning"
    assert "`waiting`" in outcomes["history"].hint


async def test_nobody_there_is_no_finding(transport: httpx.AsyncBaseTransport) -> None:
    with pytest.raises(Unreachable):
        await examined(transport, f"http://127.0.0.1:{free_port()}/rpc/message")


def run(*arguments: str) -> tuple[int, str]:
    out, code = io.StringIO(), 0
    try:
        call_command("check_agent", *arguments, stdout=out)
    except SystemExit as end:
        code = int(end.code or 0)
    return code, out.getvalue()


def test_the_command_prints_a_table_and_ends_with_0_where_all_passed() -> None:
    with broken_agent("") as agent:
        code, text = run(agent.url, "--only", "health", "--only", "plain")
    assert code == 0
    lines = text.splitlines()
    assert lines[0].split() == ["CHECK", "RESULT", "SEEN"]
    assert lines[1].split() == ["health", "passed", "up"]
    assert lines[-1] == "All 2 checks passed."


def test_the_command_ends_with_1_and_gives_a_hint_where_one_failed() -> None:
    with broken_agent("two_finals") as agent:
        code, text = run(agent.url, "--only", "stream", "--timeout", "2")
    assert code == 1
    assert "2 `final` events" in text
    assert "hint: End each stream with exactly one `final`." in text
    assert text.endswith("1 of 1 checks failed.\n")


def test_the_command_speaks_json() -> None:
    with broken_agent("sick") as agent:
        code, text = run(agent.url, "--json", "--only", "health")
    found = json.loads(text)
    assert code == 1
    assert not found["passed"]
    assert found["checks"][0]["check"] == "health"
    assert "503" in found["checks"][0]["seen"]


def test_the_command_ends_with_2_where_nobody_is_there() -> None:
    url = f"http://127.0.0.1:{free_port()}/rpc/message"
    with pytest.raises(CommandError, match="could not be reached") as caught:
        run(url)
    assert caught.value.returncode == 2
    assert "\n" not in str(caught.value)


def test_headers_go_along_with_each_call() -> None:
    with FakeAgent.in_thread() as agent:
        run(agent.url, "--only", "plain", "--header", "X-Door: open")
        assert {call.headers["x-door"] for call in agent.calls} == {"open"}


@pytest.mark.parametrize(
    "arguments", [["--header", "no colon"], ["--timeout", "0"]], ids=["header", "timeout"]
)
def test_what_is_wrong_with_the_arguments_is_one_line(arguments: list[str]) -> None:
    with pytest.raises(CommandError) as caught:
        run("http://127.0.0.1:1/rpc/message", *arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.heavy
async def test_pi_passes(transport: httpx.AsyncBaseTransport) -> None:
    with agent_process([sys.executable, "-m", "pi"], "OPENCLAW_PI_PORT") as url:
        outcomes = await examined(transport, url, patience=20)
    assert {one.state for one in outcomes.values()} == {PASSED}, outcomes
