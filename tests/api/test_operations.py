"""What programs and agents do over the API, seen in the rows."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.models import Audit, Delivery, Schedule, Turn
from sessions_app.models import Contact, Session
from tests.api.kit import agent_of, group_of, person, program, refused, said, session_of
from tests.conftest import Clock
from tests.core.kit import Verbs, history_of, inbound

pytestmark = pytest.mark.django_db


def actions() -> list[tuple[str, str]]:
    """Who did what, by the audit."""
    return list(Audit.objects.order_by("pk").values_list("actor", "action"))


def test_session_is_looked_at_ended_and_restored() -> None:
    ann = person("Ann")
    session = session_of(ann)
    turn = Turn.objects.create(session=session, upto_seq=1000)
    caller = program(name="oc_tool")
    assert caller.get(f"/sessions/{session.pk}").json()["user_id"] == "u-Ann"
    ended = caller.post(f"/sessions/{session.pk}/terminate")
    assert (ended.status_code, ended.json()["state"]) == (200, "terminated")
    turn.refresh_from_db()
    assert turn.state == "cancelled"
    refused(caller.post(f"/sessions/{session.pk}/terminate"), 409)
    back = caller.post(f"/sessions/{session.pk}/restore")
    assert (back.status_code, back.json()["state"]) == (200, "active")
    refused(caller.post(f"/sessions/{session.pk}/restore"), 409)
    assert [action for _, action in actions()] == [
        "cancel_turn",
        "terminate_session",
        "restore_session",
    ]
    assert {actor for actor, _ in actions()} == {"api:oc_tool"}


def test_sessions_are_filtered() -> None:
    ann, bea = person("Ann"), person("Bea")
    first, second = session_of(ann), session_of(bea, state="idle")
    caller = program()

    def ids(query: str) -> list[str]:
        return [item["id"] for item in caller.get(f"/sessions?{query}").json()["items"]]

    assert sorted(ids("")) == sorted([second.pk, first.pk])
    assert ids("user_id=u-Ann") == [first.pk]
    assert ids("state=idle") == [second.pk]
    assert ids("channel=nowhere") == []
    refused(caller.get("/sessions?state=asleep"), 422)


def test_group_says_that_it_is_one() -> None:
    session = group_of(person("Ann"))
    assert program().get(f"/sessions/{session.pk}").json()["is_group"] is True


def test_turn_is_stopped_and_asked_again() -> None:
    session = session_of(person("Ann"))
    said(session, "hello", disposition="pending")
    turn = Turn.objects.create(session=session, upto_seq=1000, state="running", attempts=1)
    caller = program()
    assert caller.post(f"/turns/{turn.pk}/cancel").json()["state"] == "cancelled"
    refused(caller.post(f"/turns/{turn.pk}/cancel"), 409)
    assert caller.post(f"/turns/{turn.pk}/requeue").json()["state"] == "queued"
    refused(caller.post(f"/turns/{turn.pk}/requeue"), 409)
    Turn.objects.update(state="failed", error_code="unreachable")
    assert caller.get("/turns?state=failed").json()["items"][0]["error_code"] == "unreachable"
    assert caller.post(f"/turns/{turn.pk}/requeue").json()["state"] == "queued"
    assert caller.get(f"/turns?session={session.pk}").json()["items"][0]["id"] == turn.pk


def test_delivery_is_sent_again_and_let_go() -> None:
    session = session_of(person("Ann"))
    part = Delivery.objects.create(
        session=session, channel="webchat", chat_id="u-Ann", text="hi", state="failed"
    )
    caller = program()
    assert caller.get(f"/deliveries/{part.key}").json()["state"] == "failed"
    assert caller.post(f"/deliveries/{part.key}/retry").json()["state"] == "queued"
    Delivery.objects.update(state="sending")
    refused(caller.post(f"/deliveries/{part.key}/discard"), 409)
    Delivery.objects.update(state="expired")
    gone = caller.post(f"/deliveries/{part.key}/discard").json()
    assert (gone["state"], gone["error_code"]) == ("failed", "discarded")
    refused(caller.post(f"/deliveries/{part.key}/discard"), 409)
    assert caller.get("/deliveries?state=failed&channel=webchat").json()["items"] == [gone]


def test_notes_are_merged_and_null_deletes() -> None:
    ann = person("Ann", notes={"cat": "Tom", "home": {"city": "Lyon", "floor": 3}})
    caller = program()
    patch = {"cat": None, "home": {"floor": None, "street": "rue A"}, "tea": ["green"]}
    merged = {"home": {"city": "Lyon", "street": "rue A"}, "tea": ["green"]}
    assert caller.patch(f"/contacts/{ann.pk}/notes", patch).json() == merged
    assert caller.get(f"/contacts/{ann.pk}/notes").json() == merged
    assert caller.patch(f"/contacts/{ann.pk}/preferences", {"a": 1}).json() == {"a": 1}
    assert caller.get(f"/contacts/{ann.pk}").json()["preferences"] == {"a": 1}
    assert [action for _, action in actions()] == ["change_notes", "change_preferences"]
    assert "Lyon" not in str(list(Audit.objects.values()))


def test_access_is_nothing_that_a_program_decides() -> None:
    ann = person("Ann", access="blocked")
    caller = program()
    for method in ("PATCH", "PUT", "POST", "DELETE"):
        refused(caller.call(method, f"/contacts/{ann.pk}", {"access": "allowed"}), 405)
    caller.patch(f"/contacts/{ann.pk}/preferences", {"access": "allowed"})
    ann.refresh_from_db()
    assert ann.access == "blocked"


@pytest.mark.parametrize(
    "patch", [{"a": "x" * 70_000}, {"a": [[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]}]
)
def test_document_has_a_size_and_a_depth(patch: Any) -> None:
    session = session_of(person("Ann", notes={"kept": 1}))
    agent = agent_of(session)
    for path in ("/me/notes", "/me/preferences", "/me/context"):
        refused(agent.patch(path, patch), 422)
    assert Contact.objects.get().notes == {"kept": 1}


@pytest.mark.parametrize("body", [[], "x", 1, None])
def test_document_is_an_object(body: Any) -> None:
    refused(agent_of(session_of(person("Ann"))).patch("/me/context", body), 422)


def test_agent_keeps_notes_context_and_preferences() -> None:
    session = session_of(person("Ann"), context={"language": "en"})
    agent = agent_of(session)
    assert agent.patch("/me/notes", {"cat": "Tom"}).json() == {"cat": "Tom"}
    assert agent.patch("/me/preferences", {"timezone": "Asia/Tokyo"}).status_code == 200
    assert agent.get("/me").json()["timezone"] == "Asia/Tokyo"
    assert agent.patch("/me/context", {"topic": "cats"}).json() == agent.get("/me/context").json()
    session.refresh_from_db()
    assert session.context == {"language": "en", "topic": "cats"}
    assert {actor for actor, _ in actions()} == {f"agent:{session.pk}"}


def test_history_is_searched_by_words_whatever_the_case(clock: Clock) -> None:
    session = session_of(person("Ann"))
    said(session, "The INVOICE of Müller is due", "an invoice", "100% sure (really)")
    said(session, "noted", role="assistant")
    said(session, "internal", origin="system")

    def found(query: str) -> list[str]:
        answer = agent_of(session).get(f"/me/messages?q={query}")
        return [item["text"] for item in answer.json()["items"]]

    assert found("invoice") == ["an invoice", "The INVOICE of Müller is due"]
    assert found("m%C3%9CLLER%20invoice") == ["The INVOICE of Müller is due"]
    assert found("100%25") == found("(really)") == ["100% sure (really)"]
    assert found("internal") == [] and len(found("")) == 4


def test_spent_is_summed_by_session_and_by_the_persons_day(clock: Clock) -> None:
    ann = person("Ann", preferences={"timezone": "Pacific/Kiritimati"})
    old, session = session_of(ann, state="terminated"), session_of(ann)
    used = [
        (old, 0, {"input_tokens": 1, "output_tokens": 2, "cost": 0.5}),
        (session, 0, {"prompt_tokens": 10, "completion_tokens": 20}),
        (session, -3 * 86400, {"input_tokens": 100}),
        (session, 0, {"input_tokens": "many", "cost": -5}),
        (session, 0, {"input_tokens": True, "output_tokens": 1e300}),
    ]
    for number, (where, seconds, usage) in enumerate(used):
        clock.advance(seconds)
        Turn.objects.create(
            session=where, upto_seq=number, state="done", usage=usage, queued_at=clock()
        )
        clock.advance(-seconds)
    assert agent_of(session).get("/me/usage").json() == {
        "session": {"input_tokens": 110, "output_tokens": 20, "cost": 0.0},
        "day": {"input_tokens": 11, "output_tokens": 22, "cost": 0.5},
    }


def test_agent_plans_lists_and_cancels() -> None:
    session = session_of(person("Ann", preferences={"timezone": "Europe/Paris"}))
    said(session, "every morning please", target={"chat_id": "u-Ann", "thread": "7"})
    agent = agent_of(session)
    plan = {"kind": "cron", "spec": "0 9 * * *", "prompt": "the daily summary"}
    made = agent.post("/schedules", plan)
    assert made.status_code == 201
    shown = made.json()
    assert (shown["timezone"], shown["prompt"], shown["text"]) == (
        "Europe/Paris",
        "the daily summary",
        "",
    )
    assert agent.get("/schedules").json() == {"items": [shown], "next": None}
    row = Schedule.objects.get()
    assert (row.target["thread"], row.created_by) == ("7", f"agent:{session.pk}")
    assert agent.delete(f"/schedules/{shown['id']}").status_code == 204
    assert agent.get("/schedules").json()["items"] == []
    refused(agent.delete(f"/schedules/{shown['id']}"), 404)
    assert program().get(f"/schedules/{shown['id']}").json()["enabled"] is False


@pytest.mark.parametrize(
    "wrong",
    [
        {"spec": "every day"},
        {"kind": "at", "spec": "2001-01-01T00:00"},
        {"kind": "every", "spec": "1"},
        {"timezone": "Mars/Base"},
        {"text": "both"},
        {"prompt": ""},
        {"kind": "sometimes"},
        {"catch_up": "maybe"},
    ],
)
def test_plan_that_cannot_be_kept_is_said_to_be_so(wrong: dict[str, str]) -> None:
    plan = {"kind": "cron", "spec": "0 9 * * *", "prompt": "x"} | wrong
    refused(agent_of(session_of(person("Ann"))).post("/schedules", plan), 422)
    assert not Schedule.objects.exists()


def test_program_plans_for_somebody(settings: Any) -> None:
    session_of(person("Ann"))
    caller = program()
    plan = {"kind": "every", "spec": "3600", "text": "drink", "channel": "webchat"}
    made = caller.post("/schedules", plan | {"user_id": "u-Ann"})
    assert made.status_code == 201
    path = f"/schedules/{made.json()['id']}/occurrences"
    assert caller.get(path).json() == {"items": [], "next": None}
    refused(caller.post("/schedules", plan | {"user_id": "u-nobody"}), 404)
    refused(caller.post("/schedules", plan), 422)
    settings.OPENCLAW_SCHEDULES_PER_SESSION = 1
    refused(caller.post("/schedules", plan | {"user_id": "u-Ann"}), 409)


def test_text_for_a_person_is_queued_for_sending_and_stands_in_the_history(verbs: Verbs) -> None:
    person("Ann")
    where = {"channel": "webchat", "user_id": "u-Ann"}
    answer = program().post("/messages", {"text": "Your order is on its way.", **where})
    assert answer.status_code == 201
    said_ = answer.json()
    session = Session.objects.get()
    message = session.messages.get()
    assert (said_["session"], said_["message"], said_["turn"]) == (session.pk, message.pk, None)
    assert (message.role, message.generated) == ("assistant", True)
    part = Delivery.objects.get(key=said_["deliveries"][0])
    assert (part.text, part.chat_id, part.state) == (message.text, "u-Ann", "queued")
    audit = Audit.objects.get(action="send_message")
    assert (audit.row, audit.detail) == (session.pk, {"message": message.pk})
    verbs.take_in(inbound("m1", "thanks", "u-Ann"), channel="webchat")
    assert history_of(verbs.claim_one()) == [
        ("assistant", "Your order is on its way."),
        ("user", "thanks"),
    ]


def test_question_in_a_persons_name_runs_a_turn(verbs: Verbs) -> None:
    session = session_of(person("Ann"))
    asked = {"session": session.pk, "text": "what is new?", "as": "user"}
    answer = program().post("/messages", asked).json()
    turn = verbs.claim_one()
    assert (answer["turn"], answer["deliveries"]) == (turn.id, [])
    assert history_of(turn) == [("user", "what is new?")]
    assert (turn.user_id, turn.chat_id, turn.origin) == ("u-Ann", "u-Ann", "user")


def test_session_names_its_conversation_also_when_it_has_ended() -> None:
    ended = session_of(person("Ann"), state="terminated")
    said(ended, "hi", target={"chat_id": "c-7", "thread": "3"})
    answer = program().post("/messages", {"session": ended.pk, "text": "still there?"}).json()
    assert answer["session"] != ended.pk
    assert Delivery.objects.get().target["thread"] == "3"


@pytest.mark.parametrize("access", ["blocked", "pending"])
def test_who_may_not_write_is_not_written_to(
    access: str, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.OPENCLAW_CHANNEL_SETTINGS = {"webchat": {"access": "pairing"}}
    session = session_of(person("Ann", access=access))
    caplog.set_level("INFO")
    for body in ({"text": "psst, secret"}, {"text": "psst, secret", "as": "user"}):
        refused(program().post("/messages", {"session": session.pk, **body}), 403)
    assert not session.messages.exists() and not Delivery.objects.exists()
    assert not Turn.objects.exists()
    lines = [line for line in caplog.messages if "nothing was said to" in line]
    assert len(lines) == 2 and "psst" not in caplog.text


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"text": " \n"},
        {"text": "x\0y"},
        {"text": "x" * 20_001},
        {"text": "x", "as": "system"},
        {"text": "x", "more": 1},
        {"text": "x", "session": ""},
        {"text": "x", "channel": "webchat"},
        {"text": "x", "as": "user", "attachments": [{"url": "http://example.com/a"}]},
        {"text": "x", "attachments": [{"url": "ftp://example.com/a"}]},
        {"text": "x", "attachments": [{"url": "http://127.0.0.1:1/a"}]},
        {"text": "x", "attachments": [{"url": "data:nothing"}]},
        {"text": "x", "attachments": [{"url": "data:,x"}] * 11},
        {"text": "x", "channel": "elsewhere", "user_id": "u"},
    ],
)
def test_message_that_does_not_fit_is_refused_whole(wrong: dict[str, Any]) -> None:
    session = session_of(person("Ann"))
    where = {} if {"session", "channel"} & set(wrong) else {"session": session.pk}
    refused(program().post("/messages", {**where, **wrong}), 422)
    assert not session.messages.exists()


def test_small_file_is_kept_and_sent_along() -> None:
    session = session_of(person("Ann"))
    file = {"url": "data:text/plain;base64,aGVsbG8=", "name": "note.txt"}
    body = {"session": session.pk, "text": "see", "attachments": [file]}
    assert program().post("/messages", body).status_code == 201
    attached = session.messages.get().attachments.get()
    assert (attached.name, attached.state, attached.size) == ("note.txt", "stored", 5)
