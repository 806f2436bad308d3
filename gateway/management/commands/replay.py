"""`manage.py replay`: a past turn's question to an agent once more, and both answers."""

from __future__ import annotations

import getpass
import json
import shutil
import sys
import textwrap
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from gateway.limits import agent_limits
from gateway.models import Replay
from gateway.replay.asking import NotReplayable, begin_replay, carry_out
from gateway.replay.columns import again, side_by_side, then
from gateway.replay.question import DIFFERS
from gateway.terminal import printable


class Command(BaseCommand):
    """Nothing is sent to anyone. Exit code 1 where there was no answer."""

    help = (
        "Puts a past turn's question to an agent once more and shows both answers side by side; "
        "nothing is sent to anyone. "
        "Example: manage.py replay turn_06b9k2m4q8s0u2 --agent pi"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("turn", help="The turn's id, as the admin's list of turns has it.")
        parser.add_argument("--agent", required=True, metavar="NAME", help="Who is asked.")
        parser.add_argument("--json", action="store_true", help="For programs.")

    def handle(self, *args: Any, **options: Any) -> None:
        actor = f"{getpass.getuser()} (command line)"
        try:
            replay = begin_replay(actor, options["turn"], options["agent"])
        except NotReplayable as error:
            raise CommandError(str(error)) from None
        carry_out(replay.pk, agent_limits())
        replay = Replay.objects.select_related("turn__session", "turn__agent").get(pk=replay.pk)
        self._show(replay, as_json=options["json"])
        if replay.error_code:
            sys.exit(1)

    def _show(self, replay: Replay, *, as_json: bool) -> None:
        left, right = then(replay.turn), again(replay)
        if as_json:
            both = {"then": asdict(left), "again": asdict(right)}
            found = {"turn": replay.turn_id, **both, "differs": DIFFERS}
            self.stdout.write(json.dumps(found, indent=2, ensure_ascii=False))
            return
        width = shutil.get_terminal_size().columns
        for line in (*side_by_side(left, right, width), "", *textwrap.wrap(DIFFERS, width)):
            self.stdout.write(printable(line))
