"""`manage.py check_agent`: whether an agent keeps to the protocol, check by check."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from gateway.agents.base import Target
from gateway.agents.client import PROTOCOLS
from gateway.conformance.base import FAILED, Outcome
from gateway.conformance.kit import NAMES, Unreachable, examine
from gateway.conformance.report import as_json, heading, row, summary
from gateway.conformance.subject import WithHeaders
from gateway.http import make_transport

UNREACHABLE = 2


class Command(BaseCommand):
    """Asks the agent as the gateway would. Exit code: 0 passed, 1 some failed, 2 not there."""

    help = (
        "Checks whether an agent keeps to the protocol; it needs no gateway and changes nothing. "
        "Exit code 0: all passed, 1: some failed, 2: it could not be reached. "
        "Example: manage.py check_agent http://127.0.0.1:9000/rpc/message"
    )
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("url", help="Where it answers, for example …/rpc/message or …/v1.")
        parser.add_argument("--protocol", choices=sorted(PROTOCOLS), default="rpc")
        parser.add_argument("--model", default="", help="With --protocol openai: the model's name.")
        parser.add_argument(
            "--header",
            action="append",
            default=[],
            metavar="NAME: VALUE",
            help="Sent with each call; may be given again.",
        )
        parser.add_argument(
            "--timeout",
            type=float,
            default=60.0,
            metavar="SECONDS",
            help="How long one answer may take (60).",
        )
        parser.add_argument(
            "--only", action="append", default=[], choices=NAMES, metavar="CHECK", help="Not all."
        )
        parser.add_argument("--json", action="store_true", help="For programs.")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["timeout"] <= 0:
            raise CommandError("--timeout must be more than 0 seconds.")
        target = Target("under test", options["url"], options["protocol"], model=options["model"])
        headers = dict(_header(text) for text in options["header"])
        try:
            outcomes = asyncio.run(self._examine(target, headers, options))
        except Unreachable as error:
            message = f"{target.url} could not be reached: {error}"
            raise CommandError(message, returncode=UNREACHABLE) from None
        if options["json"]:
            self.stdout.write(as_json(target.url, outcomes))
        else:
            self.stdout.write(summary(outcomes))
        if any(one.state == FAILED for one in outcomes):
            sys.exit(1)

    async def _examine(
        self, target: Target, headers: dict[str, str], options: dict[str, Any]
    ) -> list[Outcome]:
        transport = make_transport()
        outcomes: list[Outcome] = []
        try:
            asked = WithHeaders(transport, headers)
            async for outcome in examine(target, asked, options["timeout"], options["only"]):
                if not options["json"]:
                    self.stdout.write(row(outcome) if outcomes else f"{heading()}\n{row(outcome)}")
                outcomes.append(outcome)
        finally:
            await transport.aclose()
        return outcomes


def _header(text: str) -> tuple[str, str]:
    name, found, value = text.partition(":")
    if not found or not name.strip() or "\n" in text:
        raise CommandError(f"--header {text!r} is not of the form “Name: value”.")
    return name.strip(), value.strip()
