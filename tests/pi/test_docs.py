"""docs/pi.md says what Pi does."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

import pi.config
from pi.app import FINISH_SECONDS, MAX_BODY_BYTES
from pi.rules import MAX_QUESTIONS
from pi.skills.small_talk import UNKNOWN
from tests.pi.conftest import Start, events, reply

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "pi.md").read_text()
FLAT = " ".join(TEXT.split())


def test_every_setting_that_pi_reads_is_documented() -> None:
    source = Path(pi.config.__file__).read_text()
    names = set(re.findall(r'"(OPENCLAW_[A-Z_]+)"', source))
    assert names >= {"OPENCLAW_PI_PORT", "OPENCLAW_LLM_MODEL", "OPENCLAW_ENV_FILE"}
    assert {name for name in names if f"| `{name}`" not in TEXT} <= {"OPENCLAW_LOG_FORMAT"}
    assert "`OPENCLAW_LOG_FORMAT`" in TEXT


def test_figures() -> None:
    assert MAX_BODY_BYTES == 16 * 1024 * 1024 and "16 MiB" in FLAT
    assert FINISH_SECONDS == 10 and "running answers 10 seconds" in FLAT
    assert MAX_QUESTIONS == 5 and "first five lines" in FLAT


@pytest.mark.parametrize("question", re.findall(r'^ask "(.+)"', TEXT, re.MULTILINE))
def test_questions_are_answered_as_promised(question: str) -> None:
    assert (reply(question) == UNKNOWN) is (question == "who wrote Faust")


async def test_shown_calls_answer_as_shown(start: Start) -> None:
    client = await start()
    health, streamed, wrong, browser = re.findall(
        r"^curl (.+?)\n```", TEXT.replace("\\\n", ""), re.MULTILINE | re.DOTALL
    )
    assert (await client.get(health.partition("9000")[2])).text in TEXT
    answer = await client.post("/rpc/message", content=body_of(streamed))
    assert events(answer.text)[-1][1] == json.loads(re.findall(r'data: (\{"content.+)', TEXT)[0])
    assert (await client.post("/rpc/message", content=body_of(wrong))).status_code == 422
    headers = {"Origin": "https://example.com"}
    refused = await client.post("/rpc/message", content=body_of(browser), headers=headers)
    assert refused.status_code == 403


def body_of(command: str) -> str:
    """What `-d` sends."""
    words = shlex.split(command)
    return words[words.index("-d") + 1]
