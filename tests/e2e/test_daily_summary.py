"""The daily summary: an agent plans it over the API, the worker fires it, the person reads it."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.crash.test_worker import worker
from tests.e2e.world import World, wait_until, world

pytestmark = pytest.mark.heavy

PERSON = 4711
BERLIN = ZoneInfo("Europe/Berlin")
SUMMARY = "Your summary: three messages, all answered."
DAILY = {
    "kind": "cron",
    "spec": "0 9 * * *",
    "timezone": "Europe/Berlin",
    "prompt": "Write the summary of the day.",
}


class SummaryAgent(BaseHTTPRequestHandler):
    """An agent of thirty lines: plans a summary when asked for one, writes it when it is time."""

    heard: list[dict[str, Any]]

    def do_POST(self) -> None:
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.heard.append(question)
        if question["origin"] == "schedule":
            text = SUMMARY
        else:
            planned = call_api(question["gateway"], "POST", "/schedules", DAILY)
            text = f"Every day at 9:00, next at {planned['next_run']}."
        self._answer({"content": text})

    def do_GET(self) -> None:
        self._answer({"status": "ok"})

    def _answer(self, said: dict[str, Any]) -> None:
        body = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None: ...


def call_api(gateway: dict[str, str], method: str, path: str, body: Any = None) -> Any:
    """A call with what came with the question: the gateway's address and a token for it."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(gateway["url"] + path, data, method=method)
    request.add_header("Authorization", f"Bearer {gateway['token']}")
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())


@contextmanager
def summary_agent() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Its URL, and what it was asked."""
    heard: list[dict[str, Any]] = []
    kind = type("Agent", (SummaryAgent,), {"heard": heard})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/rpc/message", heard
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def next_nine(after: datetime) -> datetime:
    """The next 9:00 on the wall in Berlin, reckoned by hand."""
    local = after.astimezone(BERLIN)
    nine = local.replace(hour=9, minute=0, second=0, microsecond=0)
    return nine if nine > local else (nine + timedelta(days=1))


def time_of(made: World) -> datetime:
    (row,) = made.probe.rows("gateway.Schedule", "next_run")
    return datetime.fromisoformat(row["next_run"])


def it_is_nine(made: World) -> datetime:
    """Moves the clock: what was due at the next nine o'clock was due at the last one.

    The worker reads the real time, so the row moves instead of the clock.
    """
    due = next_nine(datetime.now(UTC)) - timedelta(days=1)
    made.probe.update("gateway.Schedule", {}, next_run=due.isoformat())
    return due


def test_an_agent_plans_a_daily_summary_and_the_person_gets_it(tmp_path: Path) -> None:
    with (
        summary_agent() as (url, heard),
        world(tmp_path, OPENCLAW_AGENT_URL=url) as made,
        worker(made),
    ):
        made.telegram.say(PERSON, "please send me a summary every day at nine")
        wait_until(lambda: made.telegram.texts(PERSON), 30, "the agent's answer")
        assert made.telegram.texts(PERSON)[0].startswith("Every day at 9:00")
        assert time_of(made) == next_nine(datetime.now(UTC))
        made.quiet()
        # nobody writes for a while: the conversation ends, the plan stays
        made.probe.update("sessions_app.Session", {}, expires_at="2020-01-01T00:00:00+00:00")

        due = it_is_nine(made)
        made.probe.enqueue("fire_planned")
        wait_until(lambda: SUMMARY in made.telegram.texts(PERSON), 60, "the summary")
        made.quiet()

        assert made.telegram.texts(PERSON).count(SUMMARY) == 1
        asked = heard[-1]
        assert (asked["origin"], asked["messages"][-1]["content"]) == ("schedule", DAILY["prompt"])
        assert asked["sessionId"] != heard[0]["sessionId"]
        said = made.probe.rows(
            "sessions_app.Message", "role", "text", "origin", "generated",
            session_id=asked["sessionId"],
        )  # fmt: skip
        assert [(row["role"], row["text"]) for row in said] == [
            ("user", DAILY["prompt"]),
            ("assistant", SUMMARY),
        ]
        assert {(row["origin"], row["generated"]) for row in said} == {("schedule", True)}

        made.probe.enqueue("tick")
        wait_until(lambda: made.probe.rows("gateway.Occurrence", "pk", state="ran"), 60, "its end")
        (occurrence,) = made.probe.rows("gateway.Occurrence", "due_at", "reason")
        assert (datetime.fromisoformat(occurrence["due_at"]), occurrence["reason"]) == (due, "")
        assert time_of(made) == next_nine(datetime.now(UTC))
        planned = call_api(asked["gateway"], "GET", "/schedules")["items"]
        assert [one["spec"] for one in planned] == [DAILY["spec"]]
