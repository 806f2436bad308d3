"""Pairing: an unknown person gets a code, and an operator who is told it lets them in."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from django.db import transaction

from gateway.ledger.turns import ADD_DELIVERIES, note_row
from gateway.models import Audit, PairingCode
from sessions_app import clock
from sessions_app.manager import Scope
from sessions_app.models import Contact
from sessions_app.sql import dumps, moment, run, run_rows

ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
"""Without I, O, 0 and 1, which look alike."""

LENGTH = 8
LIFE = timedelta(hours=1)
MAX_OPEN = 20
"""Codes that may be open on one channel: strangers cannot flood it."""

ASK = (
    "Hello. I do not know you yet. To talk to me, give this code to the person "
    "who runs me: {code}\nIt is good for one hour."
)
WELCOME = "You are in. Write to me whenever you like."

_OPEN = """
SELECT channel, user_id, expires_at FROM gateway_pairingcode
WHERE state = 'open' AND expires_at > %s
"""

_ADD = """
INSERT INTO gateway_pairingcode (channel, user_id, name, code, target, created_at, expires_at)
{rows}
ON CONFLICT DO NOTHING
"""

_CONTACT = """
INSERT INTO sessions_app_contact
    (channel, user_id, name, access, aliases, preferences, notes, created_at)
{rows}
ON CONFLICT (channel, user_id) DO NOTHING
"""


class UnknownCode(Exception):
    """No open code reads so."""


def offer(strangers: Mapping[Scope, Mapping[str, object]], now: datetime) -> None:
    """Give each stranger (their scope, where they wrote) a code, once as long as it is good."""
    waiting = {(row[0], row[1]) for row in run(_OPEN, (moment(now),))}
    fresh: dict[tuple[str, str], tuple[Scope, Mapping[str, object]]] = {}
    for scope, target in strangers.items():
        person = (scope.channel, scope.user_id)
        asking = [one for one in (*waiting, *fresh) if one[0] == scope.channel]
        if person not in waiting and len(set(asking)) < MAX_OPEN:
            fresh.setdefault(person, (scope, target))
    codes = {person: _new_code() for person in fresh}
    at, until = moment(now), moment(now + LIFE)
    run_rows(
        _ADD,
        [
            (*person, scope.name, codes[person], dumps(target), at, until)
            for person, (scope, target) in fresh.items()
        ],
    )
    run_rows(
        _CONTACT,
        [
            (*person, scope.name, "pending", "[]", "{}", "{}", at)
            for person, (scope, _) in fresh.items()
        ],
    )
    run_rows(
        ADD_DELIVERIES,
        [
            note_row(scope.channel, scope.chat_id, target, ASK.format(code=shown(codes[p])), now)
            for p, (scope, target) in fresh.items()
        ],
    )


def approve_pairings(actor: str, pairing_ids: Iterable[int]) -> int:
    """Let in who got these codes, and tell them. Returns how many were still open."""
    now = clock.now()
    with transaction.atomic():
        pairings = _hold(pairing_ids, now)
        _decide(actor, pairings, PairingCode.State.APPROVED, now)
        notes = [
            note_row(one.channel, str(one.target["chat_id"]), one.target, WELCOME, now)
            for one in pairings
            if one.target.get("chat_id")
        ]
        run_rows(ADD_DELIVERIES, notes)
    return len(pairings)


def refuse_pairings(actor: str, pairing_ids: Iterable[int]) -> int:
    """Keep out who got these codes, for good. Returns how many were still open."""
    now = clock.now()
    with transaction.atomic():
        pairings = _hold(pairing_ids, now)
        _decide(actor, pairings, PairingCode.State.REFUSED, now)
    return len(pairings)


def find_code(code: str) -> PairingCode:
    """The open code that reads so, dashes and case aside. Raises `UnknownCode`."""
    bare = re.sub(r"[\s-]", "", code).upper()
    found = PairingCode.objects.filter(state="open", expires_at__gt=clock.now(), code=bare).first()
    if found is None:
        raise UnknownCode(f"There is no open code {code!r}. Codes are good for an hour, and once.")
    return found


def code_of(channel: str, user_id: str) -> str:
    """The open code that this person was given; empty where there is none."""
    codes = PairingCode.objects.filter(state="open", expires_at__gt=clock.now())
    found = codes.filter(channel=channel, user_id=user_id).values_list("code", flat=True)
    return found.first() or ""


def open_codes() -> list[PairingCode]:
    """Codes that somebody waits with, oldest first."""
    codes = PairingCode.objects.filter(state="open", expires_at__gt=clock.now())
    return list(codes.order_by("created_at", "pk"))


def shown(code: str) -> str:
    """As people read it: ABCD-EFGH."""
    return f"{code[:4]}-{code[4:]}"


def _hold(pairing_ids: Iterable[int], now: datetime) -> list[PairingCode]:
    rows = PairingCode.objects.select_for_update()
    return list(rows.filter(pk__in=list(pairing_ids), state="open", expires_at__gt=now))


def _decide(actor: str, pairings: list[PairingCode], state: str, now: datetime) -> None:
    approved = state == PairingCode.State.APPROVED
    access = Contact.Access.ALLOWED if approved else Contact.Access.BLOCKED
    for pairing in pairings:
        pairing.state, pairing.used_at = state, now
        pairing.save(update_fields=["state", "used_at"])
        Contact.objects.update_or_create(
            channel=pairing.channel, user_id=pairing.user_id, defaults={"access": access}
        )
        Audit.objects.create(
            at=now,
            actor=actor,
            action="approve_pairing" if approved else "refuse_pairing",
            row=f"pairing {pairing.pk}",
            detail={"channel": pairing.channel, "user_id": pairing.user_id},
        )


def _new_code() -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))
