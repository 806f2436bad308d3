"""What the kit found, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from gateway.conformance.base import FAILED, WARNING, Outcome
from gateway.terminal import printable

WIDTH = 15


def heading() -> str:
    """The table's first line."""
    return f"{'CHECK':{WIDTH}} {'RESULT':8} SEEN"


def row(outcome: Outcome) -> str:
    """A line of the table, and the hint below it where there is one."""
    line = f"{outcome.check:{WIDTH}} {outcome.state:8} {printable(outcome.seen)}"
    hint = printable(outcome.hint)
    return f"{line}\n{'':{WIDTH}} {'':8} hint: {hint}" if hint else line


def summary(outcomes: Sequence[Outcome]) -> str:
    """The table's last line."""
    failed = _count(outcomes, FAILED)
    warned = _count(outcomes, WARNING)
    notes = f", {warned} with a warning" if warned else ""
    if failed:
        return f"{failed} of {len(outcomes)} checks failed{notes}."
    return f"All {len(outcomes)} checks passed{notes}."


def as_json(url: str, outcomes: Sequence[Outcome]) -> str:
    """The same for programs."""
    found = {
        "url": url,
        "passed": not _count(outcomes, FAILED),
        "checks": [asdict(one) for one in outcomes],
    }
    return json.dumps(found, indent=2, ensure_ascii=False)


def _count(outcomes: Sequence[Outcome], state: str) -> int:
    return sum(one.state == state for one in outcomes)
