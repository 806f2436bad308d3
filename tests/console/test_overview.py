"""The start page: one sentence that is true, and behind it each part, queue and plot."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import Any, cast

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from gateway import health
from gateway.channels import Rules
from gateway.console import plots, probing
from gateway.console.overview import verdict
from gateway.ledger.recovery import beat, last_words
from gateway.lines import Line
from gateway.models import Agent, Delivery, Heartbeat, PairingCode, Turn
from sessions_app import clock
from sessions_app.models import Contact, Message, Session
from sessions_app.sql import dumps
from tests.conftest import Clock
from tests.console.things import account, ago, all_well, conversation, letter, payload, turn

pytestmark = pytest.mark.django_db


@pytest.fixture
def viewer(client: Client) -> Client:
    client.force_login(account("vera"))
    return client


def start(client: Client) -> Any:
    answer = client.get("/admin/")
    assert answer.status_code == 200
    return answer


def findings(client: Client) -> list[str]:
    return [finding.what for finding in start(client).context["findings"]]


def test_sentence_counts_what_it_lists() -> None:
    assert verdict(0) == "Everything works."
    assert verdict(1) == "1 thing needs a person."
    assert verdict(3) == "3 things need a person."


def test_all_is_well(viewer: Client) -> None:
    all_well()
    answer = start(viewer)
    assert answer.context["findings"] == []
    assert "Everything works." in answer.content.decode()


def test_empty_installation_says_what_to_start(viewer: Client) -> None:
    said = start(viewer).content.decode()
    for shown in (
        "The gateway was never started", "python manage.py gateway",
        "The worker was never started", "python manage.py run_huey",
        "No agent is set up", "python -m pi", "Messages of the last 24 hours will stand here",
    ):  # fmt: skip
        assert shown in said, shown


def test_silent_gateway_is_down_and_its_channels_unknown(viewer: Client) -> None:
    all_well()
    Heartbeat.objects.exclude(name="worker").update(at=ago(minutes=2))
    assert findings(viewer) == ["The gateway is down."]
    row = start(viewer).context["channels"][0]
    assert (row["part"].state, row["trouble"]) == ("unknown", "the gateway does not report")


def test_silent_worker_is_down(viewer: Client) -> None:
    all_well()
    Heartbeat.objects.filter(name="worker").update(at=ago(minutes=4))
    assert findings(viewer) == ["The worker is down."]


def test_channel_says_its_state_its_last_error_and_whom_it_denied(viewer: Client) -> None:
    all_well()
    heard = ago(minutes=20).isoformat()
    report = {"state": "down", "detail": "token <revoked>", "last_inbound_at": heard, "denied": 7}
    Heartbeat.objects.filter(name="channel:webchat").update(detail=report)
    said = start(viewer).content.decode()
    assert "Channel webchat is down." in said
    assert "token &lt;revoked&gt;" in said
    assert "20\xa0minutes ago" in said
    assert "7 denied" in said


@pytest.mark.parametrize(
    "detail", [[], "up", {"state": 5, "last_inbound_at": "then", "denied": "many"}, {"state": None}]
)
def test_strange_report_of_a_channel_breaks_nothing(viewer: Client, detail: Any) -> None:
    all_well()
    Heartbeat.objects.filter(name="channel:webchat").update(detail=detail)
    start(viewer)


def test_each_kind_of_what_waits_is_one_thing_with_its_number_and_link(viewer: Client) -> None:
    all_well()
    session = conversation()
    for _ in range(4):
        letter(session)
    letter(session, "unsure")
    turn(session)
    payload()
    answer = start(viewer)
    found = answer.context["findings"]
    assert sorted(finding.what for finding in found) == [
        "1 dead letter on webchat: may have been sent.",
        "1 payload set aside on webchat: could not be read.",
        "1 quarantined turn on webchat: cut off again and again.",
        "4 dead letters on webchat: refused by the platform.",
    ]
    assert "4 things need a person." in answer.content.decode()
    for finding in found:
        page = viewer.get(finding.url)
        assert len(page.context["kinds"]) == 1
        assert finding.what.startswith(f"{page.context['kinds'][0].count} ")


def test_failed_turns_are_told_but_need_nobody(viewer: Client) -> None:
    all_well()
    turn(conversation(), "failed")
    answer = start(viewer)
    assert answer.context["findings"] == []
    assert "1 failure in the last day" in answer.content.decode()


def test_queues_say_how_much_waits_and_since_when(viewer: Client) -> None:
    all_well()
    for number, minutes in enumerate((1, 2, 3)):
        Turn.objects.create(
            session=conversation(number), upto_seq=1, queued_at=ago(minutes=minutes)
        )
    letter(conversation(9), state="sending", error_code="")
    letter(conversation(10))
    letter(conversation(11), "unsure")
    depths = {
        (queue.name, queue.state): (queue.count, queue.late)
        for queue in start(viewer).context["queues"]
    }
    assert depths == {
        ("Turns", "queued"): (3, False),
        ("Turns", "running"): (0, False),
        ("Deliveries", "queued"): (0, False),
        ("Deliveries", "sending"): (1, False),
        ("Dead letters", ""): (2, False),
        ("Quarantined turns", ""): (0, False),
        ("Payloads set aside", ""): (0, False),
        ("People at the door", ""): (0, False),
    }
    assert "oldest </span>3\xa0minutes ago" in start(viewer).content.decode()
    waits = Turn.objects.filter(session__chat_id="c0")
    waits.update(queued_at=ago(minutes=6), not_before=ago(minutes=6))
    assert "3 turns wait, the oldest for more than five minutes." in findings(viewer)


def test_what_waits_for_good_reason_needs_no_person(viewer: Client) -> None:
    """In back-off, in a person's hands, behind a long turn; a letter that was just retried."""
    all_well()
    agent = Agent.objects.get()
    old: dict[str, Any] = {"queued_at": ago(hours=1), "not_before": ago(hours=1)}
    tries, handed, busy = (conversation(number) for number in range(3))
    Turn.objects.create(session=tries, upto_seq=1, **(old | {"not_before": ago(minutes=-1)}))
    Session.objects.filter(pk=handed.pk).update(handler="operator")
    Turn.objects.create(session=handed, upto_seq=1, **old)
    Turn.objects.create(session=busy, upto_seq=1, state="running", agent=agent, **old)
    Turn.objects.create(session=busy, upto_seq=2, **old)
    again = {"state": "queued", "error_code": "", "created_at": ago(days=2)}
    letter(conversation(3), **again, retried_at=ago(minutes=1))
    letter(conversation(4), **again, not_before=ago(minutes=-1))
    assert findings(viewer) == []
    letter(conversation(5), **again, not_before=ago(minutes=7), retried_at=ago(minutes=7))
    assert any("deliveries wait" in found for found in findings(viewer))


def test_failures_are_counted_when_they_happened_and_not_when_discarded(viewer: Client) -> None:
    all_well()
    session = conversation()
    turn(session, ended_at=ago(minutes=1))
    letter(session)
    letter(session, "discarded")
    assert start(viewer).context["failures"] == 2


def test_last_message_and_last_error_survive_a_restart(viewer: Client) -> None:
    """The new gateway has heard nothing yet; what the old one knew still stands there."""
    all_well()
    line = Line("webchat", cast("Any", None), Rules())
    line.heard(1)
    line.fail("connection refused")
    line.alive()
    beat("channel:webchat", dumps(line.report()))
    after = Line("webchat", cast("Any", None), Rules(), before=last_words("channel:webchat"))
    beat("channel:webchat", dumps(after.report()))
    assert after.report()["last_inbound_at"] == line.report()["last_inbound_at"]
    page = start(viewer).content.decode()
    assert "last message <time" in page
    assert "last error <time" in page and "connection refused" in page


def test_agents_outside_the_gateways_process_are_unknown_not_broken(viewer: Client) -> None:
    all_well()
    Agent.objects.create(name="away", url="http://127.0.0.1:1/", enabled=False)
    agents = start(viewer).context["agents"]
    assert [(part.name, part.mood) for part in agents] == [("pi", "unknown")]


async def test_page_waits_for_no_slow_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    done = asyncio.Event()

    async def agents(runtime: Any) -> dict[str, Any]:
        await done.wait()
        return {"pi": {"ok": True}}

    monkeypatch.setattr(health, "agents", agents)
    monkeypatch.setattr(probing, "_last", ({}, None))
    runtime: Any = None
    began = time.monotonic()
    assert await probing.answers(runtime) == ({}, None)
    assert time.monotonic() - began < 2
    done.set()
    assert (await probing.answers(runtime))[0] == {"pi": {"ok": True}}


async def test_a_late_answer_is_told_with_the_time_at_which_it_came(
    monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    done, asked = asyncio.Event(), []

    async def agents(runtime: Any) -> dict[str, Any]:
        asked.append(clock.time)
        await done.wait()
        return {"pi": {"ok": len(asked) == 1}}

    monkeypatch.setattr(health, "agents", agents)
    monkeypatch.setattr(probing, "_last", ({}, None))
    runtime: Any = None
    assert await probing.answers(runtime) == ({}, None)
    came = clock.time
    done.set()
    while probing._asking:
        await asyncio.sleep(0)
    done.clear()
    clock.advance(30)
    assert await probing.answers(runtime) == ({"pi": {"ok": True}}, came)
    clock.advance(31)  # of the morning: it says nothing about now
    assert await probing.answers(runtime) == ({}, None)
    done.set()
    assert await probing.answers(runtime) == ({"pi": {"ok": False}}, clock.time)


def test_people_at_the_door_need_a_person(client: Client) -> None:
    all_well()
    for number, minutes in enumerate((30, 5, -1)):
        PairingCode.objects.create(
            channel="webchat", user_id=f"u{number}", code=f"c{number}", name=f"Visitor {number}",
            expires_at=ago(minutes=-minutes),
        )  # fmt: skip
    PairingCode.objects.create(
        channel="webchat", user_id="u9", code="c9", expires_at=ago(minutes=-9), state="refused"
    )
    client.force_login(account("olga"))
    (finding,) = start(client).context["findings"]
    assert finding.what == "2 people wait at the door."
    queue = next(q for q in start(client).context["queues"] if q.name == "People at the door")
    assert (queue.count, queue.url) == (2, finding.url)
    page = client.get(finding.url).content.decode()
    assert "Visitor 0" in page and "Visitor 1" in page
    assert "Visitor 2" not in page and "u9" not in page


def test_who_may_not_let_people_in_is_not_told_of_them(client: Client) -> None:
    all_well()
    PairingCode.objects.create(channel="webchat", user_id="u", code="c", expires_at=ago(minutes=-9))
    person = account("vera")
    person.user_permissions.remove(Permission.objects.get(codename="view_pairingcode"))
    client.force_login(person)
    assert findings(client) == []
    assert "at the door" not in start(client).content.decode()


def test_plots_count_each_hour_once(viewer: Client, clock: Clock) -> None:
    all_well()
    clock.time = clock.time.replace(minute=30, second=0, microsecond=0)
    session = conversation()
    Message.objects.all().delete()
    edges = [timedelta(minutes=0), timedelta(minutes=30), timedelta(minutes=31), timedelta(hours=5)]
    for number, back in enumerate([*edges, timedelta(hours=23, minutes=31)]):
        Message.objects.create(
            session=session, seq=number, role="user", origin="user", channel="webchat",
            created_at=clock.time - back,
        )  # fmt: skip
    Message.objects.create(
        session=session, seq=99, role="assistant", origin="agent", channel="webchat"
    )
    turn(session, "failed", ended_at=clock.time - timedelta(hours=2))
    letter(
        session, created_at=clock.time - timedelta(hours=9),
        failed_at=clock.time - timedelta(hours=2),
    )  # fmt: skip
    messages, failures = start(viewer).context["plots"]
    values = [column.value for column in messages.columns]
    assert values == [0] * 18 + [1, 0, 0, 0, 1, 2]
    assert [column.value for column in failures.columns] == [0] * 21 + [2, 0, 0]
    assert (messages.total, messages.peak, failures.total) == (4, 2, 2)


def test_columns_fill_the_drawing_and_small_ones_are_seen() -> None:
    hours = plots.last_hours()
    plot = plots.draw("x", hours, [0] * 22 + [1, 10_000])
    highest, small, none = plot.columns[-1], plot.columns[-2], plot.columns[0]
    assert (highest.y, highest.height) == (0, plots.HEIGHT)
    assert small.height == 2 and small.y + small.height == plots.HEIGHT
    assert none.height == 0
    assert highest.x + highest.width <= plots.WIDTH
    assert plots.draw("x", hours, [0] * 24).peak == 0


def test_plot_has_its_numbers_in_a_table(viewer: Client) -> None:
    all_well()
    conversation()
    said = start(viewer).content.decode()
    assert said.count("<rect ") == 1
    assert said.count('<tr><th scope="row">') == 24


def test_what_is_fetched_again_is_what_the_page_shows(viewer: Client, clock: Clock) -> None:
    all_well()
    letter(conversation())
    whole = start(viewer).content.decode()
    part = viewer.get("/admin/overview/").content.decode().strip()
    assert part in whole
    assert "<html" not in part


def test_who_may_not_see_it_gets_nothing(client: Client) -> None:
    assert client.get("/admin/overview/").status_code == 302
    person = account("paul")
    person.user_permissions.clear()
    client.force_login(person)
    assert client.get("/admin/overview/").status_code == 403
    assert "verdict" not in start(client).content.decode()


def test_badge_says_how_much_waits(viewer: Client) -> None:
    session = conversation()
    letter(session)
    letter(session, "discarded")
    turn(session)
    payload()
    turn(conversation(2), "failed")
    said = viewer.get("/admin/sessions_app/session/").content.decode()
    assert "<title>(3) " in said
    assert '3<span class="visually-hidden"> waiting</span>' in said


def test_badge_stops_counting(viewer: Client) -> None:
    session = conversation()
    Delivery.objects.bulk_create(
        Delivery(session=session, channel="webchat", chat_id="c", text="x", state="failed",
                 error_code="refused")
        for _ in range(1100)
    )  # fmt: skip
    assert "1000+" in start(viewer).content.decode()


def _history(count: int) -> None:
    """`count` messages of the last day with their turns and deliveries, all ended well."""
    contact = Contact.objects.create(channel="webchat", user_id="old")
    sessions = Session.objects.bulk_create(
        Session(channel="webchat", scope_key=f"s{number}", contact=contact, chat_id="c",
                state="terminated")
        for number in range(count // 100)
    )  # fmt: skip
    now = clock.now()
    rows = [
        (session, seq, now - timedelta(seconds=86400 * (index * 100 + seq) / count))
        for index, session in enumerate(sessions)
        for seq in range(100)
    ]
    Message.objects.bulk_create(
        (Message(session=session, seq=seq, role="user" if seq % 2 else "assistant", origin="user",
                 channel="webchat", text="x" * 200, created_at=at)
         for session, seq, at in rows),
        batch_size=5000,
    )  # fmt: skip
    answered = [row for row in rows if row[1] % 2]
    Turn.objects.bulk_create(
        (Turn(session=session, upto_seq=seq, state="done", ended_at=at)
         for session, seq, at in answered),
        batch_size=5000,
    )  # fmt: skip
    Delivery.objects.bulk_create(
        (Delivery(session=session, channel="webchat", chat_id="c", text="x" * 200, state="sent",
                  created_at=at)
         for session, _, at in answered),
        batch_size=5000,
    )  # fmt: skip


def test_start_page_costs_the_same_queries_however_much_there_is(viewer: Client) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            start(viewer)
        return len(captured)

    all_well()
    letter(conversation(0))
    start(viewer)
    few = queries()
    for number in range(1, 30):
        session = conversation(number, f"channel{number % 3}")
        letter(session, ("refused", "unsure")[number % 2])
        turn(session)
        payload(number)
        Agent.objects.create(name=f"a{number}", url="http://127.0.0.1:1/")
    assert queries() == few


@pytest.mark.heavy
def test_pages_are_fast_with_a_hundred_thousand_messages(viewer: Client) -> None:
    _history(100_000)
    all_well()
    session = conversation()
    Delivery.objects.bulk_create(
        Delivery(session=session, channel="webchat", chat_id="c", text="x", state="failed",
                 error_code=("refused", "discarded")[number % 2])
        for number in range(5000)
    )  # fmt: skip
    for address in ("/admin/", "/admin/overview/", "/admin/repair/"):
        spent = []
        for _ in range(5):
            began = time.process_time()  # as on a machine that does nothing else
            assert viewer.get(address).status_code == 200
            spent.append(time.process_time() - began)
        print(f"{address}: {min(spent) * 1000:.0f} to {max(spent) * 1000:.0f} ms")
        assert sorted(spent)[2] < 0.2, f"{address}: {spent}"
