"""The form of answers: problems, pages, calls that happen once, limits."""

from __future__ import annotations

import contextlib
import re
import sqlite3
import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client
from jsonschema import Draft202012Validator
from pytest_django.fixtures import Settings

from gateway.api import limits, once, pages
from gateway.cleanup import forget_keys
from gateway.models import Delivery, IdempotencyKey, Schedule
from sessions_app.models import Message, Session
from tests.api.kit import Caller, agent_of, person, program, refused, said, session_of
from tests.conftest import Clock
from tests.house.test_docs import ROOT

pytestmark = pytest.mark.django_db

ORDER = {"channel": "webchat", "user_id": "u-Ann", "text": "on its way"}


def raw(body: bytes, **headers: str) -> Any:
    """A POST of these very bytes."""
    fields = {"authorization": f"Bearer {program().token}", **headers}
    return Client().generic(
        "POST", "/api/v1/messages", data=body, content_type="application/json", headers=fields
    )


@pytest.mark.parametrize(
    "body", [b"{", b"\xff\xfe", b'{"text": NaN}', b'{"text": "\\ud800"}', b"[" * 5000]
)
def test_what_is_not_json_is_400(body: bytes) -> None:
    refused(raw(body), 400)


def test_too_large_is_413_before_it_is_read() -> None:
    refused(raw(b" " * (1024 * 1024 + 1)), 413)


def test_nowhere_is_404_and_another_method_405() -> None:
    for path in ("/nowhere", "/", "/sessions/", "/sessions/x/y", "/docs/x"):
        refused(program().get(path), 404)
    answer = program().call("PUT", "/sessions")
    refused(answer, 405)
    assert answer["Allow"] == "GET"


def test_every_problem_carries_the_headers_of_a_page() -> None:
    for answer in (program().get("/nowhere"), Caller("x").get("/turns")):
        assert answer["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'self'" in answer["Content-Security-Policy"]


def test_wrong_fields_are_named() -> None:
    answer = program().post("/messages", {"text": 7, "more": 1})
    refused(answer, 422)
    fields = {error["field"] for error in answer.json()["errors"]}
    assert {name.rpartition(".")[2] for name in fields} == {"text", "more"}


def test_locked_database_is_503_and_says_when_to_try_again(monkeypatch: Any) -> None:
    def locked(*args: Any) -> None:
        raise OperationalError("database is locked")

    monkeypatch.setattr(once, "_keep", locked)
    person("Ann")
    answer = program().post("/messages", ORDER | {"idempotency_key": "k"})
    refused(answer, 503)
    assert answer["Retry-After"]
    assert not Delivery.objects.exists()


@pytest.mark.heavy
@pytest.mark.django_db(transaction=True)
def test_writer_who_waits_too_long_for_another_is_told_to_come_back() -> None:
    caller = program()
    person("Ann")
    assert caller.get("/turns").status_code == 200  # its use is noted now
    name = connection.settings_dict["NAME"]
    with contextlib.closing(sqlite3.connect(name, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        refused(caller.post("/messages", ORDER, **{"idempotency-key": "1"}), 503)
        assert caller.get("/turns").status_code == 200, "reading goes on"
        other.execute("ROLLBACK")
    answer = caller.post("/messages", ORDER, **{"idempotency-key": "1"})
    assert answer.status_code == 201 and "Idempotent-Replay" not in answer


def test_fault_of_ours_is_a_problem_without_its_reasons(monkeypatch: Any) -> None:
    def fails(*args: Any) -> None:
        raise RuntimeError("secret reasons")

    monkeypatch.setattr("gateway.api.turns.page", fails)
    client = Client(raise_request_exception=False)
    answer = client.get("/api/v1/turns", headers={"authorization": f"Bearer {program().token}"})
    assert "reasons" not in refused(answer, 500)


def test_no_cache_keeps_an_answer() -> None:
    assert program().get("/turns")["Cache-Control"] == "no-store"
    assert Caller("x").get("/turns")["Cache-Control"] == "no-store"


def test_token_calls_so_often_and_then_waits(clock: Clock, settings: Settings) -> None:
    settings.OPENCLAW_API_PER_MINUTE = 6
    caller, other = program(), program()
    for _ in range(6):
        assert caller.get("/turns").status_code == 200
    answer = caller.get("/turns")
    refused(answer, 429)
    assert answer["Retry-After"] == "10"
    assert other.get("/turns").status_code == 200
    clock.advance(10)
    assert caller.get("/turns").status_code == 200
    refused(caller.get("/turns"), 429)
    settings.OPENCLAW_API_PER_MINUTE = 0
    assert caller.get("/turns").status_code == 200


def test_buckets_are_bounded(clock: Clock, settings: Settings, monkeypatch: Any) -> None:
    monkeypatch.setattr(limits, "MOST", 10)
    for number in range(50):
        limits.take(str(number))
    assert len(limits._buckets) <= 11


def pages_of(caller: Caller, path: str, limit: int) -> list[Any]:
    items: list[Any] = []
    cursor = ""
    while True:
        joint = "&" if "?" in path else "?"
        answer = caller.get(f"{path}{joint}limit={limit}&cursor={cursor}").json()
        assert len(answer["items"]) <= limit
        items += answer["items"]
        if answer["next"] is None:
            return items
        cursor = answer["next"]


@pytest.mark.parametrize("limit", [1, 3, 7, 200])
def test_pages_hold_every_row_once(limit: int) -> None:
    session = session_of(person("Ann"))
    said(session, *(f"m{number}" for number in range(7)))
    wanted = [f"m{number}" for number in reversed(range(7))]
    for caller, path in (
        (program(), f"/sessions/{session.pk}/messages"),
        (agent_of(session), "/me/messages"),
    ):
        assert [item["text"] for item in pages_of(caller, path, limit)] == wanted


def test_page_does_not_move_when_rows_come() -> None:
    session = session_of(person("Ann"))
    said(session, *(f"m{number}" for number in range(4)))
    agent = agent_of(session)
    first = agent.get("/me/messages?limit=2").json()
    said(session, "new", "newer")
    second = agent.get(f"/me/messages?limit=2&cursor={first['next']}").json()
    texts = [item["text"] for item in first["items"] + second["items"]]
    assert (texts, second["next"]) == (["m3", "m2", "m1", "m0"], None)


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=201", "limit=x", "cursor=x", "cursor=!!", "cursor=WyJhIiwgMV0", "q=%00"],
)
def test_page_that_cannot_be_is_422(query: str) -> None:
    refused(agent_of(session_of(person("Ann"))).get(f"/me/messages?{query}"), 422)


def test_cursor_of_another_list_is_refused() -> None:
    for name in "AB":
        session_of(person(name))
    cursor = program().get("/sessions?limit=1").json()["next"]
    refused(program().get(f"/turns?cursor={cursor}"), 422)
    assert pages.MAX_ID == 2**63 - 1


def test_same_key_gets_the_same_answer_and_nothing_twice() -> None:
    person("Ann")
    caller = program()
    key = {"idempotency-key": "order-1"}
    first = caller.post("/messages", ORDER, **key)
    again = caller.post("/messages", ORDER, **key)
    in_body = caller.post("/messages", ORDER | {"idempotency_key": "order-1"})
    assert first.status_code == again.status_code == in_body.status_code == 201
    assert first.json() == again.json() == in_body.json()
    assert "Idempotent-Replay" not in first and again["Idempotent-Replay"] == "true"
    assert Message.objects.count() == Delivery.objects.count() == 1


def test_same_key_for_another_request_is_409() -> None:
    person("Ann")
    caller = program()
    key = {"idempotency-key": "order-1"}
    caller.post("/messages", ORDER, **key)
    refused(caller.post("/messages", ORDER | {"text": "other"}, **key), 409)
    refused(caller.post("/schedules", ORDER | {"kind": "every", "spec": "60"}, **key), 409)
    refused(caller.post("/messages", ORDER | {"idempotency_key": "b"}, **key), 422)
    refused(caller.post("/messages", ORDER, **{"idempotency-key": "k" * 256}), 422)
    assert Message.objects.count() == 1 and not Schedule.objects.exists()


def test_keys_belong_to_their_token() -> None:
    person("Ann")
    for caller in (program(), program()):
        assert "Idempotent-Replay" not in caller.post(
            "/messages", ORDER, **{"idempotency-key": "1"}
        )
    assert Message.objects.count() == 2


def test_refusal_is_not_kept_under_a_key() -> None:
    session = session_of(person("Ann", access="blocked"))
    caller = program()
    key = {"idempotency-key": "1"}
    refused(caller.post("/messages", ORDER, **key), 403)
    session.contact.access = "allowed"
    session.contact.save()
    assert caller.post("/messages", ORDER, **key).status_code == 201


def test_agents_plan_is_made_once() -> None:
    agent = agent_of(session_of(person("Ann")))
    plan = {"kind": "every", "spec": "3600", "text": "drink"}
    made = [agent.post("/schedules", plan, **{"idempotency-key": "turn_1"}) for _ in range(3)]
    assert len({answer.json()["id"] for answer in made}) == 1
    assert Schedule.objects.count() == 1


def test_old_keys_are_forgotten(clock: Clock, settings: Settings) -> None:
    person("Ann")
    settings.OPENCLAW_API_KEY_DAYS = 7
    program().post("/messages", ORDER, **{"idempotency-key": "1"})
    clock.advance(timedelta(days=7).total_seconds())
    assert forget_keys() == 0
    clock.advance(1)
    assert forget_keys() == 1
    assert not IdempotencyKey.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_same_key_at_once_happens_once() -> None:
    person("Ann")
    caller = program()
    gate, statuses = threading.Barrier(4), []

    def call() -> None:
        gate.wait()
        statuses.append(Caller(caller.token).post("/messages", ORDER, **{"idempotency-key": "1"}))
        connection.close()

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in statuses} == {201}
    assert Message.objects.count() == Session.objects.count() == 1


def test_document_is_open_and_names_who_may_do_what() -> None:
    document = Client().get("/api/v1/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    operations = [
        (path, method, one)
        for path, methods in document["paths"].items()
        for method, one in methods.items()
    ]
    assert len(operations) == len({one["operationId"] for _, _, one in operations}) > 25
    for path, method, one in operations:
        assert one["security"] and one["x-needs"], (path, method)
        for status, answer in one["responses"].items():
            kinds = set(answer.get("content", {}))
            assert kinds <= ({"application/json"} if status < "3" else {"application/problem+json"})
    for shape in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(shape)


def test_page_of_the_api_names_every_operation_and_needs_no_script() -> None:
    page = Client().get("/api/v1/docs")
    text = page.content.decode()
    for path in Client().get("/api/v1/openapi.json").json()["paths"]:
        assert path in text
    links = set(re.findall(r'href="#([^"]+)"', text))
    assert links and links <= set(re.findall(r'id="([^"]+)"', text))
    assert "<script" not in text and "style=" not in text and "//cdn" not in text
    assert "script-src" not in page["Content-Security-Policy"]


def test_docs_name_every_operation_and_scope() -> None:
    text = (ROOT / "docs" / "api.md").read_text()
    for path, methods in Client().get("/api/v1/openapi.json").json()["paths"].items():
        place = path.removeprefix("/api/v1")
        last = re.sub(r"\{[a-z_]+\}", "{id}", place)
        assert last in text or f"/{place.rpartition('/')[2]}`" in text, (place, methods)
    for scope in re.findall(r"`(\w+:\w+)`", text):
        assert scope in program_scopes()
    for scope in program_scopes():
        assert f"`{scope}`" in text


def program_scopes() -> list[str]:
    from gateway.api.tokens import SCOPES

    return list(SCOPES)
