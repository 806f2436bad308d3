"""What the verbs cost: the plans of their queries, and how many statements a batch takes."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

from adapters.base import Media
from gateway.ledger.deliveries import expire_deliveries
from gateway.ledger.files import StartFetches, release_files
from gateway.ledger.records import FinishedTurn, Part
from gateway.ledger.recovery import (
    close_quarantined,
    hand_back,
    release_expired,
    renew_leases,
    take_over,
)
from gateway.models import Delivery, Turn
from sessions_app import clock as app_clock
from sessions_app.sql import run
from tests.core.kit import OWNER, Verbs, arrival, inbound, queue, sent, statements

BIG = (
    "gateway_turn",
    "gateway_delivery",
    "sessions_app_attachment",
    "sessions_app_message",
    "sessions_app_session",
)
"""Tables that grow without end: nothing on the way of a message may read them whole."""


def _stock(verbs: Verbs) -> None:
    """A history behind us, and a little of everything under way."""
    for number in range(30):
        verbs.converse(f"old{number}", user=f"u{number % 10}")
    verbs.finish_deliveries([sent(claim) for claim in verbs.send()])
    run("UPDATE gateway_delivery SET state = 'sent'")


def _plans(work: Callable[[], Any]) -> dict[str, str]:
    """Each statement of `work` with the database's plan for it."""
    plans: dict[str, str] = {}

    def explain(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.lstrip().split()[0] in ("SELECT", "UPDATE", "INSERT", "DELETE", "WITH"):
            first = next(iter(params)) if many else params
            question = f"EXPLAIN QUERY PLAN {sql}".replace("%s", "?")
            steps = connection.connection.execute(question, first or [])
            plans[sql] = "\n".join(row[3] for row in steps)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(explain):
        work()
    return plans


def _scans(plans: dict[str, str]) -> list[str]:
    """Steps that read one of the big tables whole, or by no index of theirs."""
    found = []
    for sql, plan in plans.items():
        aliases = {
            alias: table
            for table, alias in re.findall(r"(\w+_\w+) (?:AS )?(\w)\b", sql)
            if table in BIG
        }
        for step in plan.splitlines():
            scanned = re.match(r"SCAN (\w+)(.*)", step.strip())
            if not scanned:
                continue
            table = aliases.get(scanned[1], scanned[1])
            if table in BIG and not re.search(
                r"USING (COVERING )?INDEX \w+_(open|waiting)", scanned[2]
            ):
                found.append(f"{step}\n   in {sql}")
    return found


def _everything(verbs: Verbs) -> None:
    """Each verb, with something to do."""
    verbs.ingest(
        [
            arrival(inbound("n1", user="u1"), inbound("n2", user="new"), cursor="7"),
            arrival(inbound("n1", "edited", user="u1", is_edit=True)),
        ]
    )
    verbs.finish_turns(
        [
            FinishedTurn(turn, "done", text="x", parts=[Part("x"), Part("y")], context={"a": 1})
            for turn in verbs.start_turns(100)
        ]
    )
    verbs.finish_deliveries([sent(claim) for claim in verbs.start_deliveries(100)])


def test_no_verb_reads_a_growing_table_whole(verbs: Verbs) -> None:
    _stock(verbs)
    plans = _plans(lambda: _everything(verbs))
    assert len(plans) > 15
    assert _scans(plans) == []


def test_neither_do_recovery_and_the_signs_of_life(verbs: Verbs) -> None:
    _stock(verbs)
    plans = _plans(
        lambda: (
            renew_leases(OWNER, app_clock.now(), ["turn_x", "turn_y"], [1, 2]),
            hand_back(OWNER),
            release_expired(),
            take_over("main/9"),
            close_quarantined(verbs.sessions, "sorry"),
            expire_deliveries(app_clock.now()),
            release_files(),
        )
    )
    assert _scans(plans) == []


def test_files_to_fetch_are_found_by_their_own_index(verbs: Verbs) -> None:
    """Looked for after every commit that brought a message."""
    _stock(verbs)
    photo = Media("image", "handle", "image/png", "a.png", 10)
    verbs.take_in(inbound("p", media=[photo]), fetches_media=True)
    start = StartFetches(lambda channel: True)
    assert _scans(_plans(lambda: start(8))) == []
    assert _scans(_plans(lambda: start(8))) == []


def test_claims_go_by_the_indexes_of_open_work(verbs: Verbs) -> None:
    _stock(verbs)
    verbs.take_in(inbound("n"))
    queue("n")
    turns = _plans(lambda: verbs.start_turns(5))
    deliveries = _plans(lambda: verbs.start_deliveries(5))
    (candidates,) = [plan for sql, plan in turns.items() if "gateway_turn t" in sql]
    (heads,) = [plan for sql, plan in deliveries.items() if "gateway_delivery d" in sql]
    assert candidates.count("turn_open") == 2
    assert heads.count("delivery_open") == 2


def test_what_is_known_is_found_by_its_id(verbs: Verbs) -> None:
    _stock(verbs)
    plans = _plans(lambda: verbs.take_in(inbound("old1"), inbound("old1", is_edit=True)))
    for sql, plan in plans.items():
        if "external_id" in sql and "sessions_app_message" in sql and "INSERT" not in sql:
            assert "message_once" in plan, sql


def _counts(verbs: Verbs, size: int, tag: str) -> dict[str, int]:
    """Statements of each verb for a batch of `size` people, each in a session they know."""
    arrivals = [arrival(inbound(f"{tag}{n}", user=f"w{n}")) for n in range(size)]
    counts: dict[str, int] = {}
    with statements() as seen:
        verbs.ingest(arrivals)
    counts["ingest"] = len(seen)
    with statements() as seen:
        turns = verbs.start_turns(1000)
    counts["start_turns"] = len(seen)
    assert len(turns) == size
    with statements() as seen:
        verbs.finish_turns([FinishedTurn(t, "done", text="x", parts=[Part("x")]) for t in turns])
    counts["finish_turns"] = len(seen)
    with statements() as seen:
        claims = verbs.start_deliveries(1000)
    counts["start_deliveries"] = len(seen)
    assert len(claims) == size
    with statements() as seen:
        verbs.finish_deliveries([sent(claim) for claim in claims])
    counts["finish_deliveries"] = len(seen)
    return counts


@pytest.mark.parametrize("cold", [False, True], ids=["history kept", "after a restart"])
def test_the_number_of_statements_does_not_grow_with_the_batch(verbs: Verbs, cold: bool) -> None:
    """One lone message pays for each statement: hot verbs want few, however many come at once."""
    _counts(verbs, 60, "first")
    if cold:
        verbs.history.clear()
    one = _counts(verbs, 1, "one")
    if cold:
        verbs.history.clear()
    many = _counts(verbs, 60, "many")
    assert one == many
    assert sum(many.values()) <= 20


def test_new_people_cost_no_statement_each(verbs: Verbs) -> None:
    one = _counts(verbs, 1, "one")
    Turn.objects.all().delete()
    Delivery.objects.all().delete()
    fresh = Verbs()
    many_people = [arrival(inbound(f"x{n}", user=f"x{n}")) for n in range(60)]
    with statements() as seen:
        fresh.ingest(many_people)
    assert len(seen) == one["ingest"]
