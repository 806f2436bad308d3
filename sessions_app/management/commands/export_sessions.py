"""`manage.py export_sessions`: sessions as JSON Lines, or as pages to read and print."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import Q

from sessions_app import archive
from sessions_app.archive import Wanted, Whole
from sessions_app.archive_files import line, write_whole
from sessions_app.models import Session
from sessions_app.progress import Progress
from sessions_app.selection import add_arguments, selection
from sessions_app.transcript import Index, render_transcript


class Command(BaseCommand):
    """Writes to a file, a folder or standard output; says on stderr how much it was."""

    help = (
        "Write sessions with all their messages as JSON Lines, one session a line, or with --html "
        "as transcripts. restore_sessions reads the former. "
        "Example: manage.py export_sessions --channel webchat --since 30d --output sessions.jsonl"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        add_arguments(parser)
        parser.add_argument(
            "--output",
            default="-",
            metavar="PATH",
            help="A file; with --html a folder. - is standard output (default).",
        )
        parser.add_argument(
            "--html", action="store_true", help="One page per session, and an index of them."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Raises `CommandError` where it cannot write."""
        condition = selection(options).query()
        total = Session.objects.filter(condition).count()
        try:
            with Progress(sys.stderr, total, "sessions") as progress:
                wholes = _sessions(condition, progress)
                if options["html"]:
                    count = _write_pages(wholes, options["output"])
                else:
                    count = _write_lines(wholes, options["output"])
        except BrokenPipeError:  # whoever read has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return
        except OSError as error:
            raise CommandError(f"Cannot write {options['output']}: {error.strerror}") from error
        self.stderr.write(f"{count} sessions written.")


def _sessions(condition: Q, progress: Progress) -> Iterator[Whole]:
    """The chosen sessions in the order in which they began, a batch in memory at a time."""
    last = ""
    while True:
        page = Session.objects.filter(condition, pk__gt=last).order_by("pk")
        ids = list(page.values_list("pk", flat=True)[: archive.BATCH])
        if not ids:
            return
        yield from archive.read([Wanted(session) for session in ids])
        progress.step(len(ids))
        last = ids[-1]


def _write_lines(wholes: Iterator[Whole], output: str) -> int:
    count = 0
    with _target(output) as file:
        for whole in wholes:
            file.write(line(whole))
            count += 1
    return count


def _write_pages(wholes: Iterator[Whole], output: str) -> int:
    if output == "-":
        raise CommandError("Transcripts go into a folder: --html --output FOLDER.")
    folder = Path(output)
    index = Index()
    for whole in wholes:
        write_whole(folder / index.add(whole), render_transcript(whole).encode())
    write_whole(folder / "index.html", index.render().encode())
    return len(index)


@contextmanager
def _target(output: str) -> Iterator[BinaryIO]:
    """Standard output, or a file for us alone that is there in full or not at all."""
    if output == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(output)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
