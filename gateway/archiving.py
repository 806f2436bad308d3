"""Sessions as files beside the database, written by the gateway from what the database says.

With `archive`, a session that has ended becomes one file. With `mirror`, each
session has a file that grows with it (`gateway.mirror`). Both look for what is
not in its file yet, so a kill at any moment only leaves work for the next look.
This runs in a thread of its own: neither the event loop nor the ledger waits
for a disk.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from django.db import Error, connection

from gateway.ledger.ingest import IN_FLIGHT
from gateway.mirror import mirror_changed
from gateway.wholes import UNWRITTEN, Failures, Held, read_each
from sessions_app import clock
from sessions_app.archive import Wanted
from sessions_app.archive_files import line, place, remove, write_whole
from sessions_app.sql import moment, parse_moment, run, run_each, run_rows

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""How often we look for what is not in its file yet; what changed meanwhile goes together."""

PAUSE_SECONDS = 0.02
"""Between two batches of one look: others want the processor too."""

RETRY_SECONDS = 30.0
"""After a failed write, a full disk for example."""

STOP_SECONDS = 3.0
"""For how long files are still written when the gateway stops; the rest follows at the start."""

BATCH = 50
"""Sessions archived at a time."""

_ENDED = f"""
WITH held(session_id, revision) AS ({{rows}})
SELECT s.id, s.ended_at, s.revision FROM sessions_app_session s
WHERE s.state = 'terminated' AND s.archived_at IS NULL AND NOT {IN_FLIGHT}
  AND (s.id, s.revision) NOT IN (SELECT session_id, revision FROM held)
ORDER BY s.ended_at
LIMIT %s
"""  # noqa: S608  (a constant of ours)


def archive_folder(data_dir: Path) -> Path:
    """Where ended sessions lie."""
    return data_dir / "archive"


def mirror_folder(data_dir: Path) -> Path:
    """Where the growing files lie."""
    return data_dir / "mirror"


def archive_ended(folder: Path, held: Held) -> bool:
    """Write the files of up to `BATCH` ended sessions. Whether there may be more.

    Raises `django.db.Error`, and at the end the `OSError` that kept sessions from their
    files. Those that are at fault themselves are `held` from then on.
    """
    rows = run_rows(_ENDED, held.rows(), (BATCH,))
    ended = {row[0]: (moment(parse_moment(row[1])), row[2]) for row in rows}
    written, failures = [], Failures()
    for whole in read_each([Wanted(session) for session in ended], failures):
        session = whole["session"]["id"]
        try:
            created_at = parse_moment(whole["session"]["created_at"])
            assert created_at is not None
            write_whole(place(folder, session, created_at, ".json"), line(whole))
        except UNWRITTEN as error:  # one that cannot be written must not hold up the others
            failures[session] = error
        else:
            written.append(session)
    run_each(
        "UPDATE sessions_app_session SET archived_at = %s "
        "WHERE id = %s AND state = 'terminated' AND ended_at = %s AND revision = %s",
        [(moment(clock.now()), session, *ended[session]) for session in written],
    )
    held.settle(failures, {session: revision for session, (_, revision) in ended.items()})
    return len(ended) == BATCH


def forget_files(data_dir: Path, sessions: Sequence[tuple[str, Any]]) -> None:
    """Delete what stands of (session id, created_at) in archive and mirror."""
    for session, value in sessions:
        created_at = parse_moment(value)
        assert created_at is not None
        remove(place(archive_folder(data_dir), session, created_at, ".json"))
        remove(place(mirror_folder(data_dir), session, created_at, ".jsonl"))


class Filing:
    """Keeps the files up to date while the gateway runs. `mode`: off, archive or mirror."""

    def __init__(self, mode: str, data_dir: Path) -> None:
        held = Held()
        self._looks: dict[str, Callable[[], bool]] = {
            "archive": lambda: archive_ended(archive_folder(data_dir), held),
            "mirror": lambda: mirror_changed(mirror_folder(data_dir), held),
        }
        self._look = self._looks.get(mode)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="files")
        self._data_version: int | None = None

    async def run(self) -> None:
        """Look, for as long as the task lives."""
        while self._look:
            await asyncio.sleep(LOOK_SECONDS)
            if not await self._write(self._round):
                await asyncio.sleep(RETRY_SECONDS)

    async def stop(self) -> None:
        """Write what is still missing, within bounds."""
        loop = asyncio.get_running_loop()
        until = loop.time() + STOP_SECONDS
        if self._look:
            await self._write(self._look, until)
        await loop.run_in_executor(self._thread, lambda: connection.close())
        self._thread.shutdown()

    async def _write(self, look: Callable[[], bool], until: float = float("inf")) -> bool:
        """Look until nothing is left; False where it failed."""
        loop = asyncio.get_running_loop()
        try:
            more = True
            while more and loop.time() < until:
                more = await loop.run_in_executor(self._thread, look)
                await asyncio.sleep(PAUSE_SECONDS)
        except (OSError, Error) as error:
            logger.error("sessions could not be written to their files: %s", error)
        except Exception:  # worker edge: without this loop no session reaches its file any more
            logger.exception("sessions could not be written to their files")
        else:
            return True
        self._data_version = None
        await loop.run_in_executor(self._thread, lambda: connection.close_if_unusable_or_obsolete())
        return False

    def _round(self) -> bool:
        """Look, if anybody has written to the database since the last look."""
        assert self._look
        if connection.vendor == "sqlite":
            version = int(run("PRAGMA data_version")[0][0])
            if version == self._data_version:
                return False
            more = self._look()
            self._data_version = None if more else version
            return more
        return self._look()
