"""The ledger's rounds: what has gathered is one commit, and no wake-up is lost."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import closing
from typing import Any

import pytest
from django.db import DataError, IntegrityError, InterfaceError, OperationalError, connection

from gateway import points
from gateway.ledger import Ledger, Unavailable
from gateway.ledger.batcher import (
    AGAIN_SECONDS,
    LATEST_SECONDS,
    MAX_ITEMS,
    Claimer,
    _Refusal,
)
from gateway.ledger.records import FinishedTurn
from gateway.models import Cursor
from gateway.turns import persist
from sessions_app.models import Message, Session
from sessions_app.sql import run
from tests.core.house import House, at_points
from tests.core.kit import arrival, dispositions, history_of, inbound, texts, until

pytestmark = pytest.mark.usefixtures("agent")

MakeLedger = Callable[..., Ledger]


@pytest.fixture
async def make() -> AsyncIterator[MakeLedger]:
    """Starts ledgers over functions of the test; all are stopped at the end."""
    made: list[Ledger] = []

    def make(on_rollback: Callable[[], None] = lambda: None, **verbs: Any) -> Ledger:
        ledger = Ledger(verbs, on_rollback)
        ledger.start()
        made.append(ledger)
        return ledger

    yield make
    for ledger in made:
        await ledger.stop()


class Slow:
    """A verb that can be held up in mid-commit."""

    def __init__(self) -> None:
        self.calls: list[list[Any]] = []
        self.entered, self.go = threading.Event(), threading.Event()

    def __call__(self, items: Sequence[Any]) -> list[Any]:
        self.calls.append(list(items))
        self.entered.set()
        self.go.wait(10)
        return list(items)


def _beat(names: Sequence[Any]) -> list[Any]:
    """A verb that writes a row for each item, and fails on one as the item says."""
    for name in names:
        if isinstance(name, Exception):
            raise name
        run("INSERT INTO gateway_heartbeat (name, at, detail) VALUES (%s, '', '{}')", [name])
    return list(names)


def _beats() -> set[str]:
    return {row[0] for row in run("SELECT name FROM gateway_heartbeat")}


# --- rounds -------------------------------------------------------------------------------------


async def test_what_gathers_during_a_commit_goes_together(make: MakeLedger) -> None:
    slow = Slow()
    ledger = make(note=slow)
    first = ledger.do("note", 0)
    await until(slow.entered.is_set)
    rest = [ledger.do("note", number) for number in range(1, 6)]
    slow.go.set()
    assert await asyncio.gather(first, *rest) == [0, 1, 2, 3, 4, 5]
    assert slow.calls == [[0], [1, 2, 3, 4, 5]]


async def test_a_flood_is_cut_into_short_commits(make: MakeLedger) -> None:
    slow = Slow()
    slow.go.set()
    ledger = make(note=slow)
    results = await asyncio.gather(*(ledger.do("note", n) for n in range(2 * MAX_ITEMS + 7)))
    assert results == list(range(2 * MAX_ITEMS + 7))
    assert [len(call) for call in slow.calls] == [MAX_ITEMS, MAX_ITEMS, 7]


async def test_a_round_is_one_transaction_ends_before_beginnings() -> None:
    async with House() as house:
        seen: list[str] = []
        with at_points(seen.append):
            await house.write(inbound("1"))
            await house.said(1)
        assert seen[:4] == [
            "ingest:before_commit",
            "start_turns:before_commit",  # claimed in the commit that queued it
            "ingest:after_commit",
            "start_turns:after_commit",
        ]
        ended = seen.index("finish_turns:before_commit")
        assert seen[ended + 1] == "start_deliveries:before_commit"


async def test_the_result_comes_after_the_commit(make: MakeLedger) -> None:
    ledger = make(beat=_beat)
    await ledger.do("beat", "a")
    with closing(sqlite3.connect(connection.settings_dict["NAME"])) as other:
        assert other.execute("SELECT name FROM gateway_heartbeat").fetchall() == [("a",)]


async def test_whoever_stops_waiting_does_not_undo_the_commit(make: MakeLedger) -> None:
    ledger = make(beat=_beat)
    future = ledger.do("beat", "a")
    future.cancel()
    await ledger.do("beat", "b")
    assert await ledger.call(_beats) == {"a", "b"}


async def test_stopping_finishes_what_was_handed_over(make: MakeLedger) -> None:
    """OC 95866: a drain of 0 ms."""
    slow = Slow()
    ledger = Ledger({"note": slow}, lambda: None)
    ledger.start()
    first = ledger.do("note", 1)
    await until(slow.entered.is_set)
    second = ledger.do("note", 2)
    stopping = asyncio.create_task(ledger.stop())
    await asyncio.sleep(0)
    slow.go.set()
    await stopping
    assert (await first, await second) == (1, 2)


async def test_claims_are_asked_again_while_there_may_be_more(make: MakeLedger) -> None:
    work = list(range(10))
    taken: list[list[int]] = []

    def claim(limit: int) -> list[Any]:
        claimed, work[:] = work[:limit], work[limit:]
        return claimed

    ledger = make()
    ledger.claim_for(Claimer("some", claim, lambda: 4, taken.append))
    await until(lambda: sum(map(len, taken)) == 10)
    assert [len(part) for part in taken] == [4, 4, 2]


async def test_nothing_is_claimed_where_there_is_no_room(make: MakeLedger) -> None:
    asked: list[int] = []
    ledger = make(beat=_beat)
    ledger.claim_for(Claimer("some", lambda n: asked.append(n) or [], lambda: 0, lambda _: None))
    await ledger.do("beat", "a")
    assert asked == []


# --- items that cannot be written ---------------------------------------------------------------

POISONS = [
    ValueError("bad"),
    TypeError("bad"),
    KeyError("bad"),
    IntegrityError("bad"),
    DataError("bad"),
    OverflowError("Python int too large to convert to SQLite INTEGER"),
    AttributeError("'list' object has no attribute 'get'"),
    AssertionError(),
]


@pytest.mark.parametrize("poison", POISONS, ids=lambda error: type(error).__name__)
async def test_a_poisoned_item_fails_alone(make: MakeLedger, poison: Exception) -> None:
    """python-telegram-bot's get_updates: one poisoned update blocks the batch for ever."""
    rolled_back: list[int] = []
    ledger = make(lambda: rolled_back.append(1), beat=_beat)
    results = await asyncio.gather(
        *(ledger.do("beat", item) for item in ("a", poison, "b", "c")), return_exceptions=True
    )
    assert results == ["a", poison, "b", "c"]
    assert await ledger.call(_beats) == {"a", "b", "c"}
    assert rolled_back


async def test_after_a_poisoned_item_work_is_still_claimed() -> None:
    """A wake-up lost: what the good items queued must not wait for somebody else to come by."""
    async with House() as house:
        bad = arrival(inbound("2", user="u2", target={"x": "\ud800"}))
        good = arrival(inbound("1", "a"))
        results = await asyncio.gather(
            house.ledger.do("ingest", bad), house.ledger.do("ingest", good), return_exceptions=True
        )
        assert [type(result).__name__ for result in results] == ["TypeError", "Ingested"]
        assert await house.said(1) == ["fine"]


async def test_a_claim_that_fails_spoils_neither_items_nor_other_claims(make: MakeLedger) -> None:
    """OC 92270: the fault of one kind of work is not taken for another's."""
    taken: list[list[Any]] = []

    def broken(limit: int) -> list[Any]:
        raise AttributeError("a row that nobody foresaw")

    ledger = make(beat=_beat)
    ledger.claim_for(
        Claimer("broken", broken, lambda: 1, taken.append),
        Claimer("works", lambda limit: ["work"], lambda: 2 - len(taken), taken.append),
    )
    assert await ledger.do("beat", "a") == "a"
    assert await asyncio.gather(*(ledger.do("beat", x) for x in "bc")) == ["b", "c"]
    assert taken == [["work"], ["work"]]


async def test_a_poisoned_verb_does_not_spoil_the_other_verbs(make: MakeLedger) -> None:
    ledger = make(ends=_beat, beat=_beat)
    results = await asyncio.gather(
        ledger.do("beat", "a"), ledger.do("ends", KeyError("x")), return_exceptions=True
    )
    assert results[0] == "a"
    assert isinstance(results[1], KeyError)


@pytest.mark.parametrize("value", [[], "text", 7])
async def test_a_row_spoiled_by_hand_stops_nobody_else(value: object) -> None:
    """OC 92270: an operator's slip in one session must not stop all claims."""
    async with House() as house:

        def spoil() -> None:
            Session.objects.update(context=value)
            Message.objects.update(target=value)

        house.verbs.start_turns._route = lambda *person: None
        await house.write(inbound("1", "a"))
        await house.read(spoil)
        house.verbs.start_turns._route = lambda *person: 1
        await house.write(inbound("2", "b", user="u2"))
        await house.settled(lambda: dispositions()["b"] == "answered")
        await house.settled(lambda: dispositions()["a"] == "answered")


# --- a database that cannot take it -------------------------------------------------------------


@pytest.mark.parametrize("error", [OperationalError("disk I/O error"), InterfaceError("gone")])
async def test_an_unavailable_database_fails_the_whole_round(
    make: MakeLedger, error: Exception
) -> None:
    rolled_back: list[int] = []
    ledger = make(lambda: rolled_back.append(1), beat=_beat)
    results = await asyncio.gather(
        *(ledger.do("beat", item) for item in ("a", error, "b")), return_exceptions=True
    )
    assert [type(result) for result in results] == [Unavailable] * 3
    assert rolled_back == [1]
    assert await ledger.call(_beats) == set()
    assert await ledger.do("beat", "later") == "later"


async def test_a_database_that_stays_out_is_said_once(
    make: MakeLedger, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk filled the log too, with ten lines a second."""
    ledger = make(beat=_beat)
    for _ in range(5):
        with pytest.raises(Unavailable):
            await ledger.do("beat", OperationalError("database or disk is full"))
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == [
        "the database cannot be written: database or disk is full"
    ]
    await ledger.do("beat", "a")
    with pytest.raises(Unavailable):
        await ledger.do("beat", OperationalError("once more"))
    assert "once more" in caplog.text


def test_the_pause_grows_as_long_as_the_database_refuses() -> None:
    refusal = _Refusal()
    pauses = []
    for _ in range(12):
        refusal.note(OperationalError("full"))
        pauses.append(refusal.pause())
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (AGAIN_SECONDS, LATEST_SECONDS)
    assert refusal.pause() == 0.0
    refusal.note(OperationalError("full"))
    assert refusal.pause() == AGAIN_SECONDS


async def test_settled_means_written_and_taken(make: MakeLedger) -> None:
    """What a round claims while the gateway begins to stop is not overlooked."""
    slow, taken = Slow(), []
    ledger = make(note=slow)
    ledger.claim_for(Claimer("some", lambda limit: ["work"], lambda: 1, taken.extend))
    first = ledger.do("note", 1)
    await until(slow.entered.is_set)
    second = ledger.do("note", 2)
    ledger.stop_claiming()
    settling = asyncio.create_task(ledger.settled())
    await asyncio.sleep(0)
    assert not settling.done()
    slow.go.set()
    await settling
    assert (first.result(), second.result(), taken) == (1, 2, ["work"])


async def _cursors(ledger: Ledger) -> list[str]:
    found: list[str] = await ledger.call(
        lambda: list(Cursor.objects.values_list("value", flat=True))
    )
    return found


async def test_a_full_disk_refuses_clearly_and_leaves_nothing_half_written() -> None:
    async with House() as house:
        await house.write(inbound("0", "before"), cursor="0")
        await house.said(1)
        # pages that earlier tests left free would still take what is written
        await house.ledger.call(lambda: run("VACUUM"), atomic=False)
        pages = await house.read(lambda: run("PRAGMA page_count")[0][0])
        await house.read(lambda: run(f"PRAGMA max_page_count = {pages + 2}"))
        big = inbound("1", "x" * 1_000_000)
        results = await asyncio.gather(
            house.write(big, cursor="1"),
            house.write(inbound("2", "small", user="u2")),
            return_exceptions=True,
        )
        assert [type(result) for result in results] == [Unavailable] * 2
        assert await house.read(texts) == ["before", "fine"]
        assert await _cursors(house.ledger) == ["0"]
        await house.read(lambda: run("PRAGMA max_page_count = 1073741823"))
        await house.write(big, cursor="1")
        await house.said(2)
        assert await _cursors(house.ledger) == ["1"]


async def test_a_locked_database_refuses_clearly_and_recovers() -> None:
    async with House() as house:
        await house.ledger.call(lambda: run("PRAGMA busy_timeout = 20"), atomic=False)
        with closing(sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)) as db:
            db.execute("BEGIN IMMEDIATE")
            with pytest.raises(Unavailable, match="locked"):
                await house.write(inbound("1", "a"), cursor="1")
            with pytest.raises(Unavailable, match="locked"):
                await house.ledger.call(lambda: run("DELETE FROM gateway_cursor"))
            db.execute("ROLLBACK")
        await house.write(inbound("1", "a"), cursor="1")
        assert await house.said(1) == ["fine"]
        assert await house.read(texts) == ["a", "fine"]


async def test_what_exists_only_in_memory_waits_for_the_database() -> None:
    """OC 92270, HE 70700: an answer that is there is not lost to a database that is not."""
    failures = 3

    def fail(name: str) -> None:
        nonlocal failures
        if name == "finish_turns:before_commit" and failures:
            failures -= 1
            raise OperationalError("database is locked")

    async with House() as house:
        with at_points(fail):
            await house.write(inbound("1", "a"))
            assert await house.said(1) == ["fine"]
        assert failures == 0
        assert len(house.agents.asked) == 1
        assert await house.read(dispositions) == {"a": "answered"}


async def test_persist_gives_up_only_with_the_item(make: MakeLedger) -> None:
    ledger = make(beat=_beat)
    with pytest.raises(KeyError):
        await persist(ledger, "beat", KeyError("x"))


async def test_what_was_read_in_a_rolled_back_round_is_forgotten() -> None:
    """The kept history must not show an answer that was never kept."""
    async with House() as house:
        house.ledger.stop_claiming()
        verbs, ledger = house.verbs, house.ledger
        await ledger.do("ingest", arrival(inbound("1", "a")))
        turn = (await ledger.call(lambda: verbs.start_turns(1)))[0]
        await ledger.do("ingest", arrival(inbound("2", "b")))
        seen: list[list[tuple[str, str]]] = []
        ledger.claim_for(
            Claimer(
                "start_turns",
                verbs.start_turns,
                lambda: 1,
                lambda claimed: seen.extend(history_of(item) for item in claimed),
            )
        )

        def fail(name: str) -> None:
            points.hook = None
            raise OperationalError("disk I/O error")

        with at_points(fail), pytest.raises(Unavailable):
            await ledger.do("finish_turns", FinishedTurn(turn, "done", text="never kept"))
        await ledger.do("finish_turns", FinishedTurn(turn, "done", text="kept"))
        await until(lambda: seen)
        assert seen == [[("user", "a"), ("assistant", "kept"), ("user", "b")]]


async def test_a_database_that_is_out_for_a_while_loses_no_claim() -> None:
    """OC 5951: the work of a failed round is claimed in a later one."""
    failures = 2

    def fail(name: str) -> None:
        nonlocal failures
        if name == "start_turns:before_commit" and failures:
            failures -= 1
            raise OperationalError("database is locked")

    async with House() as house:
        with at_points(fail):
            for _ in range(2):
                with pytest.raises(Unavailable):
                    await house.write(inbound("1", "a"))
            await house.write(inbound("1", "a"))
            assert await house.said(1) == ["fine"]
