"""`manage.py pair`: who waits to be let in, and letting them in by the code they tell you."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from gateway.ledger import by_hand
from gateway.ledger.pairing import (
    UnknownCode,
    approve_pairings,
    find_code,
    open_codes,
    refuse_pairings,
    shown,
)
from gateway.terminal import printable


class Command(BaseCommand):
    """Without a code: the list. With one: its person is let in, or kept out."""

    help = (
        "Lists people who wait to be let in; with a code lets its person in, or keeps them out. "
        "Example: manage.py pair ABCD-EFGH"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("code", nargs="?", help="The code that the person was given.")
        parser.add_argument("--refuse", action="store_true", help="Keep them out, for good.")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["code"]:
            self._decide(options["code"], refuse=options["refuse"])
        elif options["refuse"]:
            raise CommandError("Say whose code: manage.py pair --refuse ABCD-EFGH")
        else:
            self._list()

    def _list(self) -> None:
        codes = open_codes()
        for code in codes:
            who = f"{code.name} ({code.user_id})" if code.name else code.user_id
            until = f"until {code.expires_at:%H:%M} UTC"
            self.stdout.write(f"{shown(code.code)}  {code.channel}  {printable(who)}  {until}")
        if not codes:
            self.stdout.write("Nobody waits to be let in.")

    def _decide(self, text: str, *, refuse: bool) -> None:
        try:
            code = find_code(text)
        except UnknownCode as error:
            raise CommandError(str(error)) from None
        decide = refuse_pairings if refuse else approve_pairings
        decide(by_hand.actor(), [code.pk])
        who = f"{printable(code.name or code.user_id)} on {code.channel}"
        self.stdout.write(f"{who} is kept out." if refuse else f"{who} is in, and is told so.")
