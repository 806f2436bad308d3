"""The fake agent itself: in a thread, by hand, and controlled over HTTP."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from typing import Any

import pytest

from tests.fakes.agent import FakeAgent
from tests.fakes.agent_answers import FAULTS, Behaviour
from tests.process import ROOT


def post(url: str, body: object) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "x/json"})
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)


def ask(url: str, *texts: str, session: str = "s1", stream: bool = False) -> Any:
    messages = [{"role": "user", "content": text} for text in texts]
    return post(url, {"sessionId": session, "messages": messages, "stream": stream, "turnId": "t"})


def test_serves_from_a_thread_and_can_be_gone_for_a_while() -> None:
    with FakeAgent.in_thread() as fake:
        fake.behave("s2", reply="only you")
        assert ask(fake.url, "a", "b") == {"content": "ack a b"}
        assert ask(fake.url, "a", session="s2") == {"content": "only you"}
        assert [(call.session, call.turn, call.asked) for call in fake.calls] == [
            ("s1", "t", ["a", "b"]),
            ("s2", "t", ["a"]),
        ]
        fake.do(fake.refuse())
        with pytest.raises(urllib.error.URLError):
            ask(fake.url, "c")
        fake.do(fake.listen())
        assert ask(fake.url, "c") == {"content": "ack c"}
        fake.do(fake.until(lambda: len(fake.calls) == 3))


def test_runs_by_hand_and_obeys_over_http() -> None:
    command = [sys.executable, "-m", "tests.fakes.agent", "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().split()[1]
            base = url.removesuffix("/rpc/message")
            post(f"{base}/_ctl/behaviour", {"session": None, "reply": "as told"})
            assert ask(url, "a") == {"content": "as told"}
            with urllib.request.urlopen(f"{base}/_ctl/calls", timeout=10) as response:
                assert [call["turnId"] for call in json.load(response)] == ["t"]
            post(f"{base}/_ctl/reset", None)
            assert ask(url, "a") == {"content": "ack a"}
        finally:
            process.kill()


def test_words_of_the_message_change_the_behaviour() -> None:
    told = Behaviour().with_directives("please #fault=hang #tokens=5 #delay=0.5 #body=x #new=1")
    assert told == Behaviour(fault="hang", tokens=5, delay=0.5)
    assert told.fault in FAULTS
