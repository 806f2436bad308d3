"""Out of the database and into an empty one: the same conversations, from every kind of file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError

from gateway import mirror
from sessions_app.models import Message, Session
from tests.conftest import Clock
from tests.core.kit import Verbs, inbound, sent
from tests.files.kit import (
    Rows,
    converse,
    end_all,
    export,
    restore,
    snapshot,
    some_conversations,
    wipe,
    write_archive,
    write_mirror,
)


def _from_archive(data_dir: Path, clock: Clock) -> str:
    end_all(clock)
    write_archive(data_dir)
    return "archive"


def _from_mirror(data_dir: Path, clock: Clock) -> str:
    write_mirror(data_dir)
    return "mirror"


def _from_ended_mirror(data_dir: Path, clock: Clock) -> str:
    write_mirror(data_dir)
    end_all(clock)
    write_mirror(data_dir)
    return "mirror"


def _from_export(data_dir: Path, clock: Clock) -> str:
    export(data_dir / "all.jsonl")
    return str(data_dir / "all.jsonl")


SOURCES = [_from_archive, _from_mirror, _from_ended_mirror, _from_export]
Source = Callable[[Path, Clock], str]


def there_and_back(
    data_dir: Path, clock: Clock, write: Source, *leave_out: str
) -> tuple[Rows, Rows, str]:
    """What the database said before it was emptied, and what after the restore."""
    source = write(data_dir, clock)
    before = snapshot(*leave_out)
    wipe()
    said = restore("--from", source)
    return before, snapshot(*leave_out), said


@pytest.mark.parametrize("write", SOURCES)
def test_an_empty_database_gets_the_same_conversations(
    verbs: Verbs, clock: Clock, data_dir: Path, write: Source
) -> None:
    some_conversations(verbs, clock)

    before, after, said = there_and_back(data_dir, clock, write)

    assert after == before
    assert len(after["messages"]) == 7
    assert len(after["attachments"]) == 6
    assert [row["state"] for row in after["attachments"]].count("stored") == 1
    assert [row["user_id"] for row in after["aliases"]] == ["+49"]
    asked = after["messages"][0]["context"]
    assert asked["quote"]["text"] == "what was it?" and asked["forwarded"] == "Zoe"
    assert sum(row["generated"] for row in after["messages"]) == 1
    assert len(after["turns"]) == 4
    assert "3 new sessions, 0 completed" in said
    assert "bad lines: 0." in said


@pytest.mark.parametrize("write", SOURCES)
def test_restored_twice_changes_nothing(
    verbs: Verbs, clock: Clock, data_dir: Path, write: Source
) -> None:
    some_conversations(verbs, clock)
    source = write(data_dir, clock)
    before = snapshot()

    assert "0 new sessions, 0 completed, 3 already there; messages added: 0;" in restore(
        "--from", source
    )
    assert snapshot() == before

    wipe()
    restore("--from", source)
    restore("--from", source)
    assert snapshot() == before


def test_mirror_written_after_every_step_gives_the_same(
    verbs: Verbs, clock: Clock, data_dir: Path
) -> None:
    for number in range(4):
        verbs.take_in(inbound(f"q{number}", f"question {number}"))
        write_mirror(data_dir)
        turn = verbs.claim_one()
        write_mirror(data_dir)
        verbs.take_in(inbound(f"late{number}", "while it was written"))  # behind the answer
        write_mirror(data_dir)
        verbs.answer(turn, f"answer {number}")
        write_mirror(data_dir)
        clock.advance(1)
        verbs.answer(verbs.claim_one(), "that too")
        verbs.take_in(inbound(f"late{number}", "edited", is_edit=True))
        write_mirror(data_dir)
        while claims := verbs.send():
            verbs.finish_deliveries([sent(claim) for claim in claims])
        write_mirror(data_dir)
        clock.advance(1)

    before, after, _ = there_and_back(data_dir, clock, _from_mirror, "expires_at")

    assert after == before
    assert len(after["messages"]) == 16


def test_mirror_grows_by_what_is_new(verbs: Verbs, clock: Clock, data_dir: Path) -> None:
    """It is never written again from the start."""
    for number in range(20):
        converse(verbs, f"{number}", "x" * 1000)
        clock.advance(1)
        (file,) = write_mirror(data_dir)
    size, start = file.stat().st_size, file.read_bytes()

    converse(verbs, "last", "y")
    write_mirror(data_dir)

    assert file.read_bytes().startswith(start)
    assert 0 < file.stat().st_size - size < 6000
    grown = file.stat().st_size
    write_mirror(data_dir)
    assert file.stat().st_size == grown


@pytest.mark.parametrize("write", [_from_mirror, _from_export])
def test_a_last_line_cut_by_a_crash_costs_only_itself(
    verbs: Verbs, clock: Clock, data_dir: Path, write: Source
) -> None:
    some_conversations(verbs, clock)
    source = write(data_dir, clock)
    before = snapshot()
    files = [path for path in data_dir.rglob("*.jsonl") if path.is_file()]
    for file in files:
        with file.open("ab") as end:
            end.write(file.read_bytes().splitlines()[-1][:-20])
    wipe()

    said = restore("--from", source)

    assert snapshot() == before
    assert f"bad lines: {len(files)}." in said
    assert f"{files[0]}:" in said


def test_mirror_goes_on_after_a_cut_line(verbs: Verbs, clock: Clock, data_dir: Path) -> None:
    converse(verbs, "1", "first")
    (file,) = write_mirror(data_dir)
    with file.open("ab") as end:
        end.write(b'{"record": "messages", "da')
    clock.advance(1)
    converse(verbs, "2", "second")
    write_mirror(data_dir)
    before = snapshot()
    wipe()

    assert "bad lines: 0." in restore("--from", "mirror")
    assert snapshot() == before


@pytest.mark.parametrize("done", [False, True])
def test_a_kill_between_file_and_database_repeats_nothing(
    verbs: Verbs, clock: Clock, data_dir: Path, monkeypatch: pytest.MonkeyPatch, done: bool
) -> None:
    """What was appended is recognised, though the database knows nothing of it."""
    if done:
        converse(verbs, "0", "before")
        write_mirror(data_dir)
        clock.advance(1)
    converse(verbs, "1", "first")
    works = mirror.run_rows

    def killed(sql: str, *arguments: Any) -> Any:
        if "INSERT INTO sessions_app_mirror" in sql:
            raise OperationalError("killed")
        return works(sql, *arguments)

    monkeypatch.setattr(mirror, "run_rows", killed)
    with pytest.raises(OperationalError):
        write_mirror(data_dir)
    monkeypatch.undo()

    (file,) = write_mirror(data_dir)

    lines = file.read_bytes().splitlines()
    assert len(lines) == len(set(lines))
    before = snapshot()
    wipe()
    restore("--from", "mirror")
    assert snapshot() == before


def test_mirror_that_was_lost_is_written_again(verbs: Verbs, clock: Clock, data_dir: Path) -> None:
    converse(verbs, "1", "first")
    (file,) = write_mirror(data_dir)
    file.unlink()
    clock.advance(1)
    converse(verbs, "2", "second")
    write_mirror(data_dir)
    before = snapshot()
    wipe()
    restore("--from", "mirror")
    assert snapshot() == before


def test_work_under_way_comes_back_as_history(verbs: Verbs, clock: Clock, data_dir: Path) -> None:
    """OC 39138: imports never send, and never run."""
    verbs.take_in(inbound("1", "waits", "u1"))
    verbs.take_in(inbound("2", "is answered", "u2"))
    claims = {turn.session: turn for turn in verbs.claim()}
    answered = Session.objects.get(scope_key="user:u2").pk
    verbs.answer(claims[answered], "not sent yet")
    export(data_dir / "all.jsonl")
    wipe()

    restore("--from", str(data_dir / "all.jsonl"))

    rows = snapshot()
    assert {row["text"]: row["disposition"] for row in rows["messages"]} == {
        "waits": "failed",
        "is answered": "answered",
        "not sent yet": "",
    }
    assert sorted((row["state"], row["error_code"]) for row in rows["turns"]) == [
        ("done", ""),
        ("failed", "filed"),
    ]
    assert [(d["state"], d["error_code"]) for d in rows["deliveries"]] == [("unsure", "filed")]
    assert verbs.claim() == []
    assert verbs.send() == []


def test_a_restored_conversation_goes_on(verbs: Verbs, clock: Clock, data_dir: Path) -> None:
    converse(verbs, "1", "first")
    export(data_dir / "all.jsonl")
    wipe()
    clock.advance(10_000)
    restore("--from", str(data_dir / "all.jsonl"))

    verbs.take_in(inbound("2", "second"))

    assert list(Message.objects.order_by("seq").values_list("seq", "text")) == [
        (1000, "first"),
        (1001, "re first"),
        (2000, "second"),
    ]
    assert len(verbs.claim_one().history) == 3
