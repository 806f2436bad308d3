"""Sessions read to be written to their files; one that cannot be read holds up no other."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from gateway.ledger.unreadable import FAULTS
from sessions_app import archive
from sessions_app.archive import Wanted, Whole

logger = logging.getLogger(__name__)

UNWRITTEN = (OSError, *FAULTS)
"""What keeps one session from its file: a disk, or something in its rows."""


def read_each(wanted: Sequence[Wanted], failures: list[Exception]) -> list[Whole]:
    """The sessions that can be read. Why others cannot is noted in `failures`."""
    try:
        return list(archive.read(wanted))
    except FAULTS as error:
        if len(wanted) == 1:
            note_unwritten(wanted[0].session, error, failures)
            return []
    return [whole for want in wanted for whole in read_each([want], failures)]


def note_unwritten(session: str, error: Exception, failures: list[Exception]) -> None:
    """Say which session it was; the others go on."""
    logger.error("session %s could not be written to its file: %r", session, error)
    failures.append(error)
