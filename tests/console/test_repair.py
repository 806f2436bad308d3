"""The repair page: what waits, by kind, and what an operator can do about it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from gateway.console import reasons, repair, shelves
from gateway.console.repair import EACH, PAGE
from gateway.models import Audit, Delivery, SetAside, Turn
from sessions_app import clock
from sessions_app.models import Message
from tests.console.things import account, ago, conversation, letter, payload, turn

pytestmark = pytest.mark.django_db
PAGE_URL = "/admin/repair/"


@pytest.fixture
def operator(client: Client) -> Client:
    client.force_login(account("olga", "operate"))
    return client


@pytest.fixture
def viewer(client: Client) -> Client:
    client.force_login(account("vera"))
    return client


def page(client: Client, **query: Any) -> str:
    answer = client.get(PAGE_URL, query)
    assert answer.status_code == 200
    return str(answer.content.decode())


def act(client: Client, **form: Any) -> list[str]:
    """Send a form; what the page says about it afterwards."""
    answer = client.post(PAGE_URL, form, follow=True)
    assert answer.status_code == 200, answer.status_code
    return [str(message) for message in answer.context["messages"]]


def confirm(client: Client, verb: str, **query: Any) -> dict[str, Any]:
    """The question before an action; the form that answers it with yes."""
    answer = client.get(PAGE_URL, {"confirm": verb, **query})
    assert answer.status_code == 200
    return dict(answer.context["fields"])


def test_empty_page_teaches(operator: Client) -> None:
    said = page(operator)
    assert "Nothing waits for a person" in said
    assert "What ends badly will stand here" in said


def test_each_thing_says_what_who_why_and_what_to_do(operator: Client) -> None:
    session = conversation(name="Ada <Lovelace>")
    letter(session)
    turn(session)
    payload()
    said = page(operator)
    for shown in (
        "Refused by the platform", "Ada &lt;Lovelace&gt;", "c1", "an answer", "blocked by the user",
        "Mend the cause, then retry", "Cut off again and again", "question 1",
        "Could not be read", "no such kind", "{&quot;odd&quot;: true}",
    ):  # fmt: skip
        assert shown in said, shown
    assert session.pk in said
    assert said.count("<button>Retry</button>") == 2
    assert said.count('<button class="away">Discard…</button>') == 3


def test_things_of_a_kind_stand_together_with_their_number(operator: Client) -> None:
    session = conversation()
    for number in range(EACH + 3):
        letter(session, text=f"answer {number}")
    letter(session, "expired")
    kinds = operator.get(PAGE_URL).context["kinds"]
    assert [(kind.code, kind.count, len(kind.items)) for kind in kinds] == [
        ("refused", EACH + 3, EACH),
        ("expired", 1, 1),
    ]
    assert kinds[0].items[0].text == f"answer {EACH + 2}", "newest first"


def test_filters_in_the_address_leave_one_kind(operator: Client) -> None:
    letter(conversation(1, "webchat"), text="on the web")
    letter(conversation(2, "pigeon"), text="by pigeon")
    letter(conversation(3, "pigeon"), "unsure", text="perhaps")
    assert "on the web" not in page(operator, channel="pigeon")
    one = page(operator, channel="pigeon", code="unsure")
    assert "perhaps" in one and "by pigeon" not in one
    assert "Nothing fits" in page(operator, channel="elsewhere")
    assert "on the web" not in page(operator, what="quarantined")


def test_one_kind_is_read_page_by_page_without_a_gap(operator: Client) -> None:
    session = conversation()
    Delivery.objects.bulk_create(
        Delivery(session=session, channel="webchat", chat_id="c", text=f"no. {number}",
                 state="failed", error_code="refused")
        for number in range(PAGE * 2 + 5)
    )  # fmt: skip
    seen: list[str] = []
    address = f"{PAGE_URL}?what=letters&channel=webchat&code=refused"
    while address:
        answer = operator.get(address)
        seen += [item.text for item in answer.context["kinds"][0].items]
        more = answer.context["more"]
        address = f"{PAGE_URL}?{more}" if more else ""
    assert seen == [f"no. {number}" for number in reversed(range(PAGE * 2 + 5))]


def test_retry_puts_a_dead_letter_back_into_its_queue(operator: Client) -> None:
    row = letter(conversation())
    said = act(operator, do="retry", what="letters", key=row.pk)
    assert said == ["1 dead letter queued again."]
    row.refresh_from_db()
    assert (row.state, row.repeated) == ("queued", False)
    assert Audit.objects.get().actor == "olga"
    assert "Nothing waits" in page(operator)


def test_retry_of_the_unsure_carries_the_mark(operator: Client) -> None:
    row = letter(conversation(), "unsure")
    act(operator, do="retry", what="letters", key=row.pk)
    row.refresh_from_db()
    assert (row.state, row.repeated) == ("queued", True)


def test_retry_all_of_a_kind_asks_first_and_leaves_other_kinds(operator: Client) -> None:
    session = conversation()
    mine = [letter(session) for _ in range(7)]
    other = letter(session, "expired")
    elsewhere = letter(conversation(2, "pigeon"))
    assert "Retry all 7…" in page(operator)
    form = confirm(operator, "retry", what="letters", channel="webchat", code="refused")
    assert Delivery.objects.filter(state="queued").count() == 0
    late = letter(session, text="after the question")
    assert act(operator, **form) == ["7 dead letters queued again."]
    queued = set(Delivery.objects.filter(state="queued").values_list("pk", flat=True))
    assert queued == {row.pk for row in mine}
    for row in (other, elsewhere, late):
        row.refresh_from_db()
        assert row.state in ("failed", "expired")


def test_retry_all_leaves_what_went_bad_after_the_question(operator: Client) -> None:
    session = conversation()
    older = letter(session, "", state="queued", created_at=ago(hours=2))
    mine = letter(session, created_at=ago(hours=1), failed_at=ago(minutes=30))
    form = confirm(operator, "discard", what="letters", channel="webchat", code="refused")
    Delivery.objects.filter(pk=older.pk).update(
        state="failed", error_code="refused", failed_at=clock.now()
    )
    assert act(operator, **form) == ["1 dead letter discarded."]
    mine.refresh_from_db()
    assert mine.error_code == "discarded"
    form = confirm(operator, "discard", what="letters", channel="webchat", code="refused")
    assert act(operator, **form) == ["1 dead letter discarded."]


def test_the_kind_without_a_code_is_not_every_kind(operator: Client) -> None:
    session = conversation()
    nameless = [letter(session, "", text="nameless") for _ in range(2)]
    other = letter(session, text="refused one")
    kinds = operator.get(PAGE_URL).context["kinds"]
    kind = next(kind for kind in kinds if kind.count == 2)
    assert kind.reason.title == "Failed" and len(kind.items) == 2
    said = page(operator, what="letters", channel="webchat", code=kind.code)
    assert "nameless" in said and "refused one" not in said
    form = confirm(operator, "retry", what="letters", channel="webchat", code=kind.code)
    assert act(operator, **form) == ["2 dead letters queued again."]
    other.refresh_from_db()
    assert other.state == "failed"
    states = Delivery.objects.filter(pk__in=[row.pk for row in nameless]).values_list("state")
    assert set(states) == {("queued",)}


def test_since_when_it_waits_is_when_it_went_bad(operator: Client) -> None:
    letter(conversation(), created_at=ago(hours=20), failed_at=ago(hours=3))
    (kind,) = operator.get(PAGE_URL).context["kinds"]
    assert kind.since == kind.items[0].since == Delivery.objects.get().failed_at


def test_more_than_one_batch_is_retried_and_counted(
    operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repair, "SECONDS", 600.0)
    monkeypatch.setattr(repair, "BATCH", 50)
    session = conversation()
    Delivery.objects.bulk_create(
        Delivery(session=session, channel="webchat", chat_id="c", text="x", state="failed",
                 error_code="refused")
        for _ in range(123)
    )  # fmt: skip
    form = confirm(operator, "retry", what="letters", channel="webchat", code="refused")
    assert act(operator, **form) == ["123 dead letters queued again."]
    assert Audit.objects.count() == 123


def test_discarded_letters_leave_the_page_for_good(operator: Client) -> None:
    session = conversation()
    rows = [letter(session) for _ in range(3)]
    form = confirm(operator, "discard", what="letters", key=str(rows[0].pk))
    assert act(operator, **form) == ["1 dead letter discarded."]
    form = confirm(operator, "discard", what="letters", channel="webchat", code="refused")
    assert act(operator, **form) == ["2 dead letters discarded."]
    assert "Nothing waits" in page(operator)
    assert Delivery.objects.filter(state="failed", error_code="discarded").count() == 3


def test_quarantined_turns_are_tried_again_or_let_go(operator: Client) -> None:
    first, second = turn(conversation(1)), turn(conversation(2))
    Message.objects.update(disposition="failed")
    said = act(operator, do="retry", what="quarantined", key=first.pk)
    assert said == ["1 quarantined turn queued again."]
    act(operator, **confirm(operator, "discard", what="quarantined", key=second.pk))
    states = dict(Turn.objects.values_list("pk", "state"))
    assert states == {first.pk: "queued", second.pk: "failed"}
    asked = dict(Message.objects.values_list("session", "disposition"))
    assert asked == {first.session_id: "pending", second.session_id: "failed"}
    assert "Nothing waits" in page(operator)


def test_failed_turns_of_the_last_day_can_be_asked_again(operator: Client) -> None:
    new = turn(conversation(1), "failed")
    turn(conversation(2), "failed", ended_at=ago(hours=25))
    kinds = operator.get(PAGE_URL).context["kinds"]
    assert [(kind.shelf.name, kind.count) for kind in kinds] == [("failed", 1)]
    act(operator, do="retry", what="failed", key=new.pk)
    new.refresh_from_db()
    assert new.state == "queued"


def test_set_aside_payload_is_deleted_with_an_audit(operator: Client) -> None:
    kept, gone = payload(1, "pigeon"), payload(2)
    form = confirm(operator, "discard", what="aside", key=str(gone.pk))
    assert act(operator, **form) == ["1 payload set aside discarded."]
    assert list(SetAside.objects.values_list("pk", flat=True)) == [kept.pk]
    audit = Audit.objects.get()
    assert (audit.actor, audit.action) == ("olga", "discard_set_aside")
    assert audit.detail["external_id"] == "x2"


def test_what_moved_on_meanwhile_is_said_not_done(operator: Client) -> None:
    row = letter(conversation())
    Delivery.objects.update(state="sent")
    said = act(operator, do="retry", what="letters", key=row.pk)
    assert said[0].startswith("0 dead letters queued again. 1 had moved on")
    row.refresh_from_db()
    assert row.state == "sent"


def test_viewer_sees_but_cannot_act(viewer: Client) -> None:
    row = letter(conversation())
    letter(conversation(2))
    said = page(viewer)
    assert "Refused by the platform" in said
    assert "<button>Retry" not in said and "Discard" not in said
    form = {"do": "retry", "what": "letters", "key": row.pk}
    assert viewer.post(PAGE_URL, form).status_code == 403
    assert viewer.get(PAGE_URL, {"confirm": "retry", "what": "letters"}).status_code == 403
    row.refresh_from_db()
    assert row.state == "failed"


def test_strangers_and_staff_without_rights_see_nothing(client: Client) -> None:
    assert client.get(PAGE_URL).status_code == 302
    person = account("paul")
    person.user_permissions.clear()
    client.force_login(person)
    assert client.get(PAGE_URL).status_code == 403


def test_shelf_without_permission_is_not_shown(client: Client) -> None:
    person = account("peter", "operate")
    person.user_permissions.remove(*person.user_permissions.filter(codename="view_setaside"))
    client.force_login(person)
    row = payload()
    assert "no such kind" not in page(client)
    form = {"do": "discard", "what": "aside", "key": row.pk}
    assert client.post(PAGE_URL, form).status_code == 403


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"do": "retry"},
        {"do": "drop", "what": "letters", "key": "1"},
        {"do": "retry", "what": "aside", "key": "1"},
        {"do": "retry", "what": "letters"},
        {"do": "retry", "what": "letters", "key": "one"},
        {"do": "retry", "what": "letters", "key": "²"},
        {"do": "retry", "what": "letters", "all": "1", "until": "yesterday"},
        {"do": "retry", "what": "letters", "all": "1", "until": "2026-13-45T99:99:99Z"},
    ],
)
def test_nonsense_is_refused_and_changes_nothing(operator: Client, form: dict[str, str]) -> None:
    row = letter(conversation())
    assert operator.post(PAGE_URL, form).status_code == 400
    row.refresh_from_db()
    assert row.state == "failed"


def test_forms_need_the_token_of_the_page() -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(account("olga", "operate"))
    row = letter(conversation())
    form = {"do": "retry", "what": "letters", "key": row.pk}
    assert client.post(PAGE_URL, form).status_code == 403


def test_way_back_keeps_the_filters_and_leads_nowhere_else(operator: Client) -> None:
    row, other = letter(conversation()), letter(conversation(2))
    form = {"do": "retry", "what": "letters", "key": row.pk}
    answer = operator.post(PAGE_URL, {**form, "back": "channel=webchat&next=//example.com"})
    assert answer["Location"] == f"{PAGE_URL}?channel=webchat"
    answer = operator.post(PAGE_URL, {**form, "key": other.pk, "back": "//example.com/"})
    assert answer["Location"] == PAGE_URL


def test_page_costs_the_same_queries_however_much_waits(operator: Client) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            page(operator)
        return len(captured)

    def fill(number: int) -> None:
        session = conversation(number, f"channel{number % 4}")
        letter(session, ("refused", "expired", "unsure")[number % 3])
        turn(session)
        turn(conversation(1000 + number, f"channel{number % 4}"), "failed")
        payload(number, f"channel{number % 4}")

    fill(1)
    fill(2)
    page(operator)
    few = queries()
    for number in range(3, 40):
        fill(number)
    assert queries() == few


def test_every_code_of_agents_and_senders_has_plain_words() -> None:
    from adapters.base import SendError
    from gateway.agents import base

    sends = {kind.__name__.lower() for kind in SendError.__subclasses__()}
    waits = {"transient", "ratelimited"}  # tried again by themselves
    ours = {kind.__name__.lower() for kind in SendError.__subclasses__()
            if not kind.__module__.startswith("adapters.")}  # fmt: skip
    assert sends - ours - waits <= set(reasons.DELIVERIES)
    said = (base.__doc__ or "").split("retryable)")[1].split("`AgentError")[0]
    codes = {line.split()[0] for line in said.splitlines() if re.match(" {8}[a-z]", line)}
    assert {"unreachable", "reported"} <= codes <= set(reasons.TURNS)


def test_unknown_code_is_still_said_in_words() -> None:
    assert reasons.of_turn("lost_in_space").title == "Lost in space"
    assert reasons.of_delivery("").title == "Failed"


def test_very_many_are_done_in_parts_and_the_rest_is_told(
    operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repair, "BATCH", 2)
    monkeypatch.setattr(repair, "SECONDS", 0.0)
    session = conversation()
    for _ in range(5):
        letter(session)
    form = {"do": "retry", "what": "letters", "channel": "webchat", "code": "refused",
            "until": clock.now().isoformat(), "all": "1"}  # fmt: skip
    said = operator.post("/admin/repair/", form, follow=True).content.decode()
    assert "2 dead letters queued again. 3 are left: do the same once more" in said
    assert Delivery.objects.filter(state="queued").count() == 2
    operator.post("/admin/repair/", form, follow=True)
    said = operator.post("/admin/repair/", form, follow=True).content.decode()
    assert "1 dead letter queued again." in said and "are left" not in said


def test_a_count_that_stopped_says_so(operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    session = conversation()
    for number in range(3):
        turn(session, "failed", upto_seq=1000 * (number + 1))
    said = page(operator)
    assert "3 failed turns" in said
    assert "there may be more" not in said
    monkeypatch.setattr(shelves, "MANY", 3)
    said = page(operator)
    assert "3+ failed turns" in said
    assert "there may be more" in said
