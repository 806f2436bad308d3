"""From chat through the gateway, Pi without a model and the schedules, back into the chat."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.world import World, wait_until, world
from tests.process import ROOT, clean_environment, free_port, manage

ANN, BOB = 71, 72
FIRE = (
    "from gateway.ledger.firing import fire_due; from django.utils.timezone import now; "
    "print(fire_due(now()))"
)


@pytest.fixture
def pi_port(tmp_path: Path) -> Iterator[int]:
    """The port of a Pi of its own."""
    port = free_port()
    settings = {"OPENCLAW_PI_PORT": str(port), "OPENCLAW_ENV_FILE": os.devnull}
    process = subprocess.Popen(
        [sys.executable, "-m", "pi"],
        cwd=ROOT,
        env=clean_environment(tmp_path, settings),
        stderr=subprocess.DEVNULL,
    )
    yield port
    process.terminate()
    process.wait(20)


@pytest.fixture
def chat(tmp_path: Path, pi_port: int) -> Iterator[World]:
    with world(tmp_path, OPENCLAW_AGENT_URL=f"http://127.0.0.1:{pi_port}/rpc/message") as made:
        yield made


def say(chat: World, user: int, text: str, answer: str) -> str:
    """What Pi answers to a text; it holds `answer`."""
    before = len(chat.telegram.sent)
    chat.telegram.say(user, text)

    def found() -> str:
        news = [one.text for one in chat.telegram.sent[before:] if one.chat_id == user]
        return next((text for text in news if answer in text), "")

    said: str = wait_until(found, what=f"“{answer}” after “{text}”")
    chat.quiet()
    return said


@pytest.mark.heavy
def test_daily_summary_is_asked_for_in_chat_and_comes_by_itself(chat: World) -> None:
    say(chat, ANN, "note that I like tea", "Noted: I like tea")
    say(chat, ANN, "my invoice is number 12", "No language model")
    say(chat, ANN, "every day at 9:00 send me a summary of my day", "Planned every day at 09:00")
    (plan,) = chat.probe.rows("gateway.Schedule", "kind", "spec", "prompt")
    assert (plan["kind"], plan["spec"]) == ("cron", "0 9 * * *")
    assert "every day at 09:00" in say(chat, ANN, "what are my reminders?", "summary")
    assert "number 12" in say(chat, ANN, "what did I say about the invoice?", "invoice")

    before = len(chat.telegram.sent)
    chat.probe.update("gateway.Schedule", {}, next_run="2026-01-01T09:00:00+00:00")
    fired = manage(
        "shell", "-v", "0", "-c", FIRE, data_dir=chat.gateway.data_dir, env=chat.gateway.env
    )
    assert fired.strip() == "1"
    news = wait_until(lambda: [one.text for one in chat.telegram.sent[before:]], what="the summary")
    chat.quiet()
    assert len(news) == 1 and news[0].startswith("Today is ") and "number 12" in news[0]
    messages = chat.probe.rows("sessions_app.Message", "role", "origin", "generated")
    assert {one["role"] for one in messages if one["generated"]} == {"user", "assistant"}

    # and nobody else has any of it
    say(chat, BOB, "what do you know about me?", "no notes")
    say(chat, BOB, "what are my reminders?", "Nothing is planned")
    say(chat, BOB, "what did I say about the invoice?", "Nothing was said")
    say(chat, ANN, "cancel the daily summary", "Cancelled: send me a summary of my day")
