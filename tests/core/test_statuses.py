"""What a platform says later: it settles what is unsure, and shows what failed after all."""

from __future__ import annotations

import pytest

from adapters.base import Capabilities, Status, Unsure
from gateway import delivery
from gateway.ledger.statuses import note_statuses
from gateway.models import Delivery
from tests.core.house import House
from tests.core.kit import CHANNEL, TestChat, queue
from tests.core.outbox import over, put, results, script

pytestmark = pytest.mark.usefixtures("agent")


class TellingChat(TestChat):
    """A platform that echoes our id in what it says later."""

    capabilities = Capabilities(text_limit=200, settle_seconds=60)


def after(row: Delivery, *statuses: Status) -> Delivery:
    note_statuses(CHANNEL, statuses)
    row.refresh_from_db()
    return row


@pytest.mark.django_db
@pytest.mark.parametrize("state", ["queued", "unsure", "expired"])
@pytest.mark.parametrize("said", ["sent", "delivered", "read"])
def test_what_may_have_arrived_has_arrived_when_the_platform_says_so(state: str, said: str) -> None:
    row = queue("a", state=state, attempts=1, repeated=True)
    row = after(row, Status(row.key, "wamid.1", said))  # type: ignore[arg-type]  # one of the literals
    assert (row.state, row.receipt, row.status) == ("sent", "wamid.1", said)
    assert row.sent_at is not None


@pytest.mark.django_db
def test_what_was_never_tried_is_not_settled_by_a_forged_word() -> None:
    row = queue("a")
    assert after(row, Status(row.key, "wamid.1", "sent")).state == "queued"


@pytest.mark.django_db
def test_words_come_in_any_order_and_never_go_back() -> None:
    row = queue("a", state="sent", receipt="wamid.1", attempts=1)
    row = after(row, Status("", "wamid.1", "read"), Status("", "wamid.1", "delivered"))
    assert row.status == "read"
    assert after(row, Status("", "wamid.1", "sent")).status == "read"


@pytest.mark.django_db
def test_a_late_failure_makes_a_dead_letter_of_what_counted_as_sent() -> None:
    row = queue("a", state="sent", receipt="wamid.1", attempts=1)
    row = after(row, Status(row.key, "wamid.1", "failed", "131026: undeliverable"))
    assert (row.state, row.error_code, row.status) == ("failed", "refused", "failed")
    assert row.error_detail == "131026: undeliverable"
    assert row.trace[-1]["detail"] == "131026: undeliverable"


@pytest.mark.django_db
def test_words_about_others_change_nothing() -> None:
    row = queue("a", state="sent", receipt="wamid.1", attempts=1)
    row = after(row, Status("", "wamid.2", "failed"), Status("nobody", "", "failed"))
    assert row.status == ""
    other = queue("b", state="sent", receipt="wamid.9", attempts=1, channel="elsewhere")
    assert after(other, Status(other.key, "wamid.9", "failed")).state == "sent"


async def test_an_unsure_part_waits_for_the_platforms_word_and_is_not_sent_again() -> None:
    async with House(chat=TellingChat(script(Unsure("cut")))) as house:
        (key,) = await put(house, "a")
        await house.settled(lambda: Delivery.objects.filter(error_code=delivery.SETTLING).exists())
        await house.read(lambda: note_statuses(CHANNEL, [Status(key, "wamid.1", "sent")]))
        row = await over(house)
    assert house.chat.said == ["a"]
    assert (row.state, row.receipt) == ("sent", "wamid.1")


async def test_without_a_word_it_is_repeated_with_the_mark() -> None:
    class BrieflyTellingChat(TellingChat):
        capabilities = Capabilities(text_limit=200, settle_seconds=0.1)

    async with House(chat=BrieflyTellingChat(script(Unsure("cut")))) as house:
        await put(house, "a")
        row = await over(house)
    assert house.chat.said == ["a", "a\n(again)"]
    assert results(row) == ["unsure", "settling", "sent"]


async def test_a_word_that_comes_while_it_is_sent_counts_when_the_send_ends_unsure() -> None:
    chat = TellingChat()

    async with House(chat=chat) as house:

        async def send(outbound: object) -> object:
            await house.read(lambda: note_statuses(CHANNEL, [Status(key, "wamid.1", "delivered")]))
            raise Unsure("cut")

        chat.behaviour = send  # type: ignore[assignment]  # never returns
        (key,) = await put(house, "a")
        row = await over(house)
    assert len(chat.sent) == 1
    assert (row.state, row.receipt, row.status) == ("sent", "wamid.1", "delivered")


async def test_a_failure_that_overtakes_the_receipt_is_a_dead_letter() -> None:
    chat = TellingChat()

    async with House(chat=chat) as house:

        async def send(outbound: object) -> None:
            said = Status(key, "wamid.1", "failed", "131026: undeliverable")
            await house.read(lambda: note_statuses(CHANNEL, [said]))

        chat.behaviour = send  # type: ignore[assignment]  # None: the usual receipt
        (key,) = await put(house, "a")
        row = await over(house)
    assert (row.state, row.status, row.error_code) == ("failed", "failed", "refused")
    assert row.error_detail == "131026: undeliverable" and row.failed_at is not None


@pytest.mark.django_db
def test_what_is_refused_later_goes_out_once_in_the_adapters_other_form() -> None:
    row = queue("a", state="sent", receipt="wamid.1", attempts=1, extra={"note": 1})
    late = Status(row.key, "wamid.1", "failed", "131047: too late", fallback=True)
    row = after(row, late)
    assert (row.state, row.receipt, row.status, row.repeated) == ("queued", "", "", False)
    assert row.extra == {"note": 1, "fallback": "wamid.1"}
    assert results(row) == ["failed"]
    assert after(row, late).state == "queued"  # the same word again, of the form given up
    row.receipt, row.state, row.attempts = "wamid.2", "sent", 2
    row.save()
    assert after(row, late).state == "sent"
    row = after(row, Status(row.key, "wamid.2", "failed", "131047: too late", fallback=True))
    assert (row.state, row.error_detail) == ("failed", "131047: too late")


async def test_the_other_form_is_asked_of_the_adapter() -> None:
    async with House(chat=TellingChat()) as house:
        (key,) = await put(house, "a")
        row = await over(house)
        late = Status(key, row.receipt, "failed", "too late", fallback=True)
        await house.read(lambda: note_statuses(CHANNEL, [late]))
        house.ledger.poke()
        assert await house.said(2) == ["a", "a"]
    assert [one.fallback for one in house.chat.sent] == [False, True]
