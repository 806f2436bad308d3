"""Sessions read to be written to their files; one that cannot be read holds up no other."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from gateway.ledger.unreadable import FAULTS
from sessions_app import archive
from sessions_app.archive import Wanted, Whole

logger = logging.getLogger(__name__)

UNWRITTEN = (OSError, *FAULTS)
"""What keeps one session from its file: a disk, or something in its rows."""

Failures = dict[str, Exception]
"""session id -> what kept it from its file."""


class Held:
    """Sessions kept from their files by their own rows, left out until they are changed.

    Known in memory only: a new start tries each once more.
    """

    def __init__(self) -> None:
        self._revisions: dict[str, int] = {}

    def rows(self) -> list[tuple[str, int]]:
        """(session, revision) of each, never empty: one is nobody."""
        return [("", 0), *self._revisions.items()]

    def settle(self, failures: Failures, revisions: Mapping[str, int]) -> None:
        """Say which sessions failed, and hold back those that are at fault themselves.

        Raises `OSError` where there was one: a full disk concerns everybody.
        """
        for session, error in failures.items():
            logger.error("session %s could not be written to its file: %r", session, error)
            if not isinstance(error, OSError):
                self._revisions[session] = revisions[session]
        for error in failures.values():
            if isinstance(error, OSError):
                raise error


def read_each(wanted: Sequence[Wanted], failures: Failures) -> list[Whole]:
    """The sessions that can be read. Why others cannot is noted in `failures`."""
    try:
        return list(archive.read(wanted))
    except FAULTS as error:
        if len(wanted) == 1:
            failures[wanted[0].session] = error
            return []
    return [whole for want in wanted for whole in read_each([want], failures)]
