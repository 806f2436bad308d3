"""`manage.py restore_sessions`: ended sessions go on, lost ones come back out of files."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from sessions_app import clock
from sessions_app.archive import Whole
from sessions_app.archive_fields import Unreadable
from sessions_app.archive_files import BadLine, FoundWhole, files, read_file, read_lines, size
from sessions_app.archive_restore import MAX_MESSAGES, Tally, add, check, restore
from sessions_app.journal import tell
from sessions_app.manager import SessionManager
from sessions_app.models import Session
from sessions_app.progress import Progress
from sessions_app.selection import Selection, add_arguments, selection

DATABASE = "database"
FOLDERS = ("archive", "mirror")
MAX_SESSIONS = 100
"""Sessions in one commit."""

BAD_LINES_SHOWN = 20


class Command(BaseCommand):
    """Says at the end what it did."""

    help = (
        "Bring sessions back. From the database: ended sessions go on. From an archive, a mirror "
        "or an export: what the database lacks is added, also to an empty one; nothing is sent. "
        "Example: manage.py restore_sessions --from mirror --since 7d --dry-run"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        add_arguments(parser)
        parser.add_argument(
            "--from",
            dest="source",
            default=DATABASE,
            metavar="SOURCE",
            help="database (default), archive or mirror (those of the data folder), "
            "a file or folder of your own, or - for standard input.",
        )
        parser.add_argument("--all", action="store_true", help="Every session of the source.")
        parser.add_argument(
            "--reopen", action="store_true", help="From files: sessions that had ended go on, too."
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="Say what would happen, change nothing."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Raises `CommandError` where nothing can be read."""
        chosen = selection(options)
        self.dry_run: bool = options["dry_run"]
        if options["source"] == DATABASE:
            if not chosen and not options["all"]:
                raise CommandError("Which sessions? Choose some, or give --all; see --help.")
            self._reopen(chosen)
        else:
            self._from_files(options["source"], chosen, reopen=options["reopen"])

    def _reopen(self, chosen: Selection) -> None:
        """Ended sessions go on, the latest of each person first: only one can be open."""
        ended = Session.objects.filter(chosen.query(), state=Session.State.TERMINATED)
        ended = ended.order_by("-ended_at", "-pk")
        ids = list(ended.values_list("pk", flat=True))
        if self.dry_run:
            restored = _Places().taken_by(ended.values_list("channel", "scope_key"))
        else:
            restored = self._restore_ended(ids)
        left = len(ids) - restored
        self._say(f"{restored} {_sessions(restored)} {self._would('go', 'went')} on.")
        if left:
            self._say(f"{left} left ended: their person has another session open.")

    def _restore_ended(self, ids: list[str]) -> int:
        restored = 0
        manager = _manager()
        with Progress(sys.stderr, len(ids), "sessions") as progress:
            for start in range(0, len(ids), MAX_SESSIONS):
                batch = ids[start : start + MAX_SESSIONS]
                with transaction.atomic():
                    went_on = manager.restore(batch, clock.now())
                    restored += len(went_on)
                    _tell(went_on)
                progress.step(len(batch))
        return restored

    def _from_files(self, source: str, chosen: Selection, *, reopen: bool) -> None:
        self.total, self.seen, self.left_out, self.reopened = Tally(), 0, 0, 0
        self.places = _Places() if self.dry_run and reopen else None
        batch: list[Whole] = []
        for whole in self._checked(_found(source)):
            self.seen += 1
            if not chosen.fits(whole):
                self.left_out += 1
                continue
            batch.append(whole)
            if len(batch) >= MAX_SESSIONS or _messages(batch) >= MAX_MESSAGES:
                self._restore(batch, reopen)
                batch = []
        self._restore(batch, reopen)
        total = self.total
        if not self.dry_run and total.messages + total.new:
            counts = {"new": total.new, "completed": total.grown, "messages": total.messages}
            tell("restore_files", [(source, counts)])
        self._summarize()

    def _restore(self, batch: list[Whole], reopen: bool) -> None:
        tally = restore(batch, dry_run=self.dry_run)
        add(self.total, tally)
        if self.places is not None:
            self.reopened += self.places.taken_by_files(batch)
        elif reopen:
            ended = Session.objects.filter(pk__in=tally.restored, state=Session.State.TERMINATED)
            latest_first = list(ended.order_by("-ended_at").values_list("pk", flat=True))
            with transaction.atomic():
                went_on = _manager().restore(latest_first, clock.now())
                self.reopened += len(went_on)
                _tell(went_on)
        tally.restored.clear()
        self.total.restored.clear()

    def _checked(self, found: Iterable[FoundWhole | BadLine]) -> Iterator[Whole]:
        for item in found:
            if isinstance(item, BadLine):
                self._bad(item.path, item.number, item.reason)
                continue
            try:
                yield check(item.whole)
            except Unreadable as error:
                self._bad(item.path, item.number, str(error))

    def _bad(self, path: str, number: int, reason: str) -> None:
        self.total.bad += 1
        if self.total.bad <= BAD_LINES_SHOWN:
            self.stderr.write(f"{path}:{number}: skipped: {reason}")

    def _summarize(self) -> None:
        total = self.total
        if not self.seen:
            raise CommandError(f"Nothing readable was found (bad lines: {total.bad}).")
        self._say(
            f"{total.new} new {_sessions(total.new)}, {total.grown} completed, "
            f"{total.unchanged} already there; "
            f"messages {self._would('be added', 'added')}: {total.messages}; "
            f"not asked for: {self.left_out}; bad lines: {total.bad}."
        )
        if self.reopened:
            self._say(f"{self.reopened} {_sessions(self.reopened)} {self._would('go', 'went')} on.")

    def _would(self, will: str, did: str) -> str:
        return f"would {will}" if self.dry_run else did

    def _say(self, text: str) -> None:
        self.stdout.write(text)


class _Places:
    """For a dry run: who has an open session, and who would get one. Writes nothing."""

    def __init__(self) -> None:
        still_open = Session.objects.exclude(state=Session.State.TERMINATED)
        self._taken = set(still_open.values_list("channel", "scope_key"))

    def taken_by(self, scopes: Iterable[tuple[str, str]]) -> int:
        """How many of these ended sessions would go on, the first come first."""
        before = len(self._taken)
        self._taken.update(scopes)
        return len(self._taken) - before

    def taken_by_files(self, batch: Sequence[Whole]) -> int:
        """The same for sessions out of files; one that was still open counts as new there."""
        ended = []
        for session in (whole["session"] for whole in batch):
            scope = (session["channel"], session["scope_key"])
            if session["state"] == Session.State.TERMINATED:
                ended.append(scope)
            else:
                self._taken.add(scope)
        return self.taken_by(ended)


def _found(source: str) -> Iterator[FoundWhole | BadLine]:
    """What stands in the source. Raises `CommandError` where there is none."""
    if source == "-":
        yield from read_lines(sys.stdin.buffer, "standard input")
        return
    path = settings.OPENCLAW_DATA_DIR / source if source in FOLDERS else Path(source)
    if not path.exists():
        raise CommandError(f"There is no {path}.")
    paths = files(path)
    total = sum(size(file) for file in paths)
    with Progress(sys.stderr, total, "bytes") as progress:
        for file in paths:
            try:
                yield from read_file(file, progress.step)
            except OSError as error:
                yield BadLine(str(file), 0, error.strerror or str(error))


def _tell(sessions: Iterable[str]) -> None:
    tell("restore_session", [(session, {"state": "terminated"}) for session in sessions])


def _messages(batch: list[Whole]) -> int:
    return sum(len(whole["messages"]) for whole in batch)


def _sessions(count: int) -> str:
    return "session" if count == 1 else "sessions"


def _manager() -> SessionManager:
    """Sessions with the time-outs that are set."""
    idle = {"": float(settings.OPENCLAW_IDLE_SECONDS)}
    for name, values in settings.OPENCLAW_CHANNEL_SETTINGS.items():
        if seconds := values.get("idle_seconds"):
            idle[name] = float(seconds)
    return SessionManager(idle)
