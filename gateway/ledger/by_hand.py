"""What is done on the command line, in the same audit as what operators do in the admin."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from typing import Any

from gateway.models import Audit
from sessions_app import clock, journal


def actor() -> str:
    """Who sits at the command line."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # an account without a name, as in some containers
        name = "somebody"
    return f"{name} (command line)"[:150]


def keep(action: str, lines: Sequence[tuple[str, dict[str, Any]]]) -> None:
    """One line of the audit for each row."""
    who, now = actor(), clock.now()
    Audit.objects.bulk_create(
        [
            Audit(at=now, actor=who, action=action, row=row[:128], detail=more)
            for row, more in lines
        ],
        batch_size=500,
    )


def register() -> None:
    """From now on commands of sessions are kept account of, too. Once per process."""
    journal.keepers[:] = [keep]
