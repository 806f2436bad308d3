"""The gateway writes the files by itself: however a session ends, and whatever kills it."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from django.db.models import F
from pytest_django.fixtures import Settings

from adapters.base import Status
from gateway import archiving, mirror
from gateway.archiving import Filing, archive_ended, archive_folder, mirror_folder
from gateway.cleanup import clean_sessions, forget_sessions
from gateway.ledger import operate
from gateway.ledger.records import FinishedDelivery, FinishedTurn, Part
from gateway.ledger.recovery import GATEWAY, beat, resume_sessions
from gateway.mirror import mirror_changed
from gateway.models import Delivery, Turn
from gateway.wholes import Held
from sessions_app import archive
from sessions_app.models import Session
from tests.conftest import Clock
from tests.core.kit import IDLE, Verbs, in_thread, inbound, sent, until
from tests.e2e.world import World, wait_until, world
from tests.files.kit import (
    converse,
    end_all,
    restore,
    snapshot,
    wipe,
    write_archive,
    write_mirror,
)


def by_cleanup(verbs: Verbs, clock: Clock) -> None:
    clock.advance(IDLE)
    beat(GATEWAY)
    assert clean_sessions() == 1


def by_the_next_message(verbs: Verbs, clock: Clock) -> None:
    clock.advance(IDLE)
    verbs.take_in(inbound("2", "long after"))


def by_an_operator(verbs: Verbs, clock: Clock) -> None:
    assert operate.terminate_sessions("ada", [Session.objects.get().pk]) == 1


def by_a_restart(verbs: Verbs, clock: Clock) -> None:
    resume_sessions(verbs.sessions, "never")


@pytest.mark.parametrize("end", [by_cleanup, by_the_next_message, by_an_operator, by_a_restart])
def test_however_a_session_ends_it_is_archived(
    verbs: Verbs, clock: Clock, data_dir: Path, end: Any
) -> None:
    converse(verbs, "1", "hello")
    assert write_archive(data_dir) == []
    end(verbs, clock)
    (file,) = write_archive(data_dir)
    whole = orjson.loads(file.read_bytes())
    assert whole["session"]["state"] == "terminated"
    assert [message["text"] for message in whole["messages"]] == ["hello", "re hello"]
    assert file.name == f"{whole['session']['id']}.json"
    assert file.parent == archive_folder(data_dir) / whole["session"]["created_at"][:7].replace(
        "-", "/"
    )


def test_a_session_is_archived_when_its_last_words_have_arrived(
    verbs: Verbs, clock: Clock, data_dir: Path
) -> None:
    verbs.take_in(inbound("1"))
    verbs.answer(verbs.claim_one())
    operate.terminate_sessions("ada", [Session.objects.get().pk])
    assert write_archive(data_dir) == []
    verbs.finish_deliveries([sent(claim) for claim in verbs.send()])
    (file,) = write_archive(data_dir)
    assert [d["state"] for d in orjson.loads(file.read_bytes())["deliveries"]] == ["sent"]


def test_who_is_brought_back_is_archived_again(verbs: Verbs, clock: Clock, data_dir: Path) -> None:
    converse(verbs, "1", "hello")
    end_all(clock)
    (file,) = write_archive(data_dir)
    operate.restore_sessions("ada", [Session.objects.get().pk])
    clock.advance(5)
    converse(verbs, "2", "again")
    end_all(clock)
    assert write_archive(data_dir) == [file]
    assert len(orjson.loads(file.read_bytes())["messages"]) == 4


def test_nothing_is_read_twice(verbs: Verbs, clock: Clock, data_dir: Path) -> None:
    converse(verbs, "1", "hello")
    end_all(clock)
    (file,) = write_archive(data_dir)
    file.write_bytes(b"changed by hand")
    write_archive(data_dir)
    assert file.read_bytes() == b"changed by hand"


def asked_again(verbs: Verbs) -> None:
    assert operate.requeue_turns("ada", [Turn.objects.get(state="failed").pk]) == 1
    verbs.answer(verbs.claim_one(), "at last")
    verbs.finish_deliveries([sent(claim) for claim in verbs.send()])


def sent_again(verbs: Verbs) -> None:
    assert operate.retry_deliveries("ada", [Delivery.objects.get(text="Sorry.").pk]) == 1
    verbs.finish_deliveries([sent(claim, "r-later") for claim in verbs.send()])


def let_go(verbs: Verbs) -> None:
    assert operate.discard_deliveries("ada", [Delivery.objects.get(text="Sorry.").pk]) == 1


def told_later(verbs: Verbs) -> None:
    key = Delivery.objects.get(text="more").key
    verbs.take_in(statuses=[Status(key, "", "failed", "blocked")])


def edited(verbs: Verbs) -> None:
    verbs.take_in(inbound("1", "hello, better", is_edit=True))


ITS_OWN = ("revision", "last_seq")
"""Columns that a restored session counts for itself."""

AFTERWARDS = [asked_again, sent_again, let_go, told_later, edited]


def _ended_badly(verbs: Verbs, clock: Clock) -> None:
    """One good answer, one failed turn whose notice was refused; then the session ends."""
    converse(verbs, "1", "hello")
    verbs.take_in(inbound("2", "this fails"))
    turn = verbs.claim_one()
    verbs.finish_turns(
        [FinishedTurn(turn, "failed", notice="Sorry.", parts=[Part("Sorry.")], error_code="x")]
    )
    (claim,) = verbs.send()
    verbs.finish_deliveries([FinishedDelivery(claim, "failed", error_code="refused")])
    end_all(clock)


@pytest.mark.parametrize("act", AFTERWARDS)
@pytest.mark.parametrize("mode", ["archive", "mirror"])
def test_what_happens_after_the_end_is_in_the_file_too(
    verbs: Verbs, clock: Clock, data_dir: Path, mode: str, act: Any
) -> None:
    write = {"archive": write_archive, "mirror": write_mirror}[mode]
    _ended_badly(verbs, clock)
    write(data_dir)
    act(verbs)
    write(data_dir)
    before = snapshot(*ITS_OWN)
    wipe()
    restore("--from", mode)
    assert snapshot(*ITS_OWN) == before


@pytest.mark.parametrize("mode", ["archive", "mirror"])
def test_what_happens_while_the_file_is_written_is_written_after_it(
    verbs: Verbs, clock: Clock, data_dir: Path, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = {"archive": write_archive, "mirror": write_mirror}[mode]
    _ended_badly(verbs, clock)
    works = archive.read

    def read_then_act(wanted: Any) -> Any:
        yield from list(works(wanted))
        monkeypatch.setattr(archive, "read", works)
        let_go(verbs)

    monkeypatch.setattr(archive, "read", read_then_act)
    write(data_dir)
    assert Session.objects.get().archived_at is None
    write(data_dir)
    before = snapshot("revision")
    wipe()
    restore("--from", mode)
    assert snapshot("revision") == before


def test_retention_leaves_what_was_brought_back_and_what_is_under_way(
    verbs: Verbs, clock: Clock, data_dir: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.OPENCLAW_JSON, settings.OPENCLAW_RETENTION_DAYS = "off", 30
    _ended_badly(verbs, clock)
    session = Session.objects.get().pk
    clock.advance(31 * 86400)
    assert operate.requeue_turns("ada", [Turn.objects.get(state="failed").pk]) == 1
    assert forget_sessions() == 0
    verbs.answer(verbs.claim_one(), "at last")
    verbs.finish_deliveries([sent(claim) for claim in verbs.send()])

    def restored_meanwhile(*_: Any) -> None:
        assert operate.restore_sessions("ada", [session]) == 1

    monkeypatch.setattr("gateway.cleanup.forget_files", restored_meanwhile)
    assert forget_sessions() == 0
    assert Session.objects.get().state == "active"


@pytest.mark.parametrize("mode", ["archive", "mirror"])
def test_retention_takes_rows_and_files_but_only_what_was_written(
    verbs: Verbs, clock: Clock, data_dir: Path, settings: Settings, mode: str
) -> None:
    settings.OPENCLAW_JSON, settings.OPENCLAW_RETENTION_DAYS = mode, 30
    write = {"archive": write_archive, "mirror": write_mirror}[mode]
    converse(verbs, "1", "old", "u1")
    end_all(clock)
    clock.advance(31 * 86400)
    converse(verbs, "2", "new", "u2")
    end_all(clock)

    assert forget_sessions() == 0
    assert len(write(data_dir)) == 2
    assert forget_sessions() == 1

    (file,) = write(data_dir)
    assert b"new" in file.read_bytes()
    assert [row["text"] for row in snapshot()["messages"]] == ["new", "re new"]


async def test_a_full_disk_stops_nothing_and_is_said(
    verbs: Verbs,
    clock: Clock,
    data_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(archiving, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(archiving, "RETRY_SECONDS", 0.05)
    await in_thread(_one_ended, verbs, clock)
    works, full = os.fsync, True

    def fsync(handle: int) -> None:
        if full:
            raise OSError(28, "No space left on device")
        works(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    filing = Filing("archive", data_dir)
    with caplog.at_level(logging.ERROR):
        task = asyncio.create_task(filing.run())
        await until(lambda: "No space left on device" in caplog.text)
    assert list(archive_folder(data_dir).rglob("*.json")) == []
    full = False
    await until(lambda: list(archive_folder(data_dir).rglob("*.json")))
    task.cancel()
    await filing.stop()


@pytest.mark.parametrize("write", [write_archive, write_mirror])
def test_one_file_that_cannot_be_written_holds_up_no_other(
    verbs: Verbs, clock: Clock, data_dir: Path, write: Any
) -> None:
    for number in range(3):
        converse(verbs, f"m{number}", f"text {number}", f"u{number}")
    end_all(clock)
    files = write(data_dir)
    Session.objects.update(archived_at=None)
    for file in files:
        file.unlink()
    files[0].mkdir()

    with pytest.raises(IsADirectoryError):
        write(data_dir)

    assert [file.is_file() for file in files] == [False, True, True]
    assert Session.objects.filter(archived_at=None).count() == 1
    files[0].rmdir()
    write(data_dir)
    assert [file.is_file() for file in files] == [True, True, True]


def _one_ended(verbs: Verbs, clock: Clock) -> None:
    converse(verbs, "1", "hello")
    end_all(clock)


@pytest.mark.parametrize(
    ("mode", "folders"),
    [("off", []), ("archive", ["archive"]), ("mirror", ["mirror"]), ("nonsense", [])],
)
async def test_the_setting_decides(
    verbs: Verbs, clock: Clock, data_dir: Path, mode: str, folders: list[str]
) -> None:
    await in_thread(_one_ended, verbs, clock)
    filing = Filing(mode, data_dir)
    await filing.stop()
    assert [path.name for path in data_dir.iterdir()] == folders


def test_a_delivery_that_an_operator_lets_go_is_in_the_final_mirror(
    verbs: Verbs, clock: Clock, data_dir: Path
) -> None:
    """The end of a session is compared with what stands in the file."""
    converse(verbs, "1", "hello")
    clock.advance(1)
    converse(verbs, "2", "more")
    write_mirror(data_dir)
    first = Delivery.objects.order_by("pk")[0]
    Delivery.objects.filter(pk=first.pk).update(state="failed", error_code="discarded")
    end_all(clock)
    write_mirror(data_dir)
    before = snapshot()
    wipe()
    restore("--from", "mirror")
    assert snapshot() == before


@pytest.fixture
def mirrored(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path, "webhook", OPENCLAW_JSON="mirror") as made:
        yield made


def _complete(data_dir: Path, said: dict[str, list[str]]) -> bool:
    """Whether each session's mirror holds every text, once where it counts."""
    from sessions_app.archive_files import FoundWhole, read_file

    texts: dict[str, list[str]] = {}
    for file in mirror_folder(data_dir).rglob("*.jsonl"):
        for found in read_file(file):
            if isinstance(found, FoundWhole):
                chat = found.whole["session"]["chat_id"]
                texts[chat] = [message["text"] for message in found.whole["messages"]]
    return texts == said


@pytest.mark.heavy
def test_killed_while_it_mirrors_it_has_everything_a_moment_after_the_restart(
    mirrored: World, tmp_path: Path
) -> None:
    for round_ in range(6):
        for user in range(5000, 5008):
            mirrored.say(user)
        wait_until(lambda: list(mirror_folder(mirrored.gateway.data_dir).rglob("*.jsonl")))
        if round_ % 2:
            mirrored.settle()
        mirrored.gateway.kill9()
        mirrored.gateway.restart()
    mirrored.settle()
    mirrored.quiet()

    rows = mirrored.probe.rows("sessions_app.Message", "session__chat_id", "text", "seq")
    said: dict[str, list[str]] = {}
    for row in sorted(rows, key=lambda row: row["seq"]):
        said.setdefault(row["session__chat_id"], []).append(row["text"])
    assert len(said) == 8
    wait_until(lambda: _complete(mirrored.gateway.data_dir, said), 20, "a complete mirror")
    assert mirrored.gateway.stop() == 0
    for file in mirror_folder(mirrored.gateway.data_dir).rglob("*.jsonl"):
        lines = file.read_bytes().splitlines(keepends=True)
        assert all(line.endswith(b"\n") and orjson.loads(line) for line in lines)


def test_a_real_gateway_archives_what_ends(tmp_path: Path) -> None:
    with world(tmp_path, "webhook", OPENCLAW_RESTORE="never") as made:
        made.say(7001, "to be kept")
        made.settle()
        made.quiet()
        made.gateway.stop()
        made.gateway.restart()  # open sessions end here
        (file,) = wait_until(
            lambda: list(archive_folder(made.gateway.data_dir).rglob("*.json")), 20, "an archive"
        )
        whole = orjson.loads(file.read_bytes())
        assert len(whole["messages"]) == 2
        assert {d["state"] for d in whole["deliveries"]} == {"sent"}


def _talk(verbs: Verbs, *users: str) -> None:
    for user in users:
        verbs.converse(user, user=user)
    verbs.finish_deliveries([sent(claim) for claim in verbs.send()])


def _nested(levels: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _ in range(levels):
        found = {"in": found}
    return found


@pytest.mark.parametrize("mode", ["archive", "mirror"])
def test_what_is_nested_deeply_is_written_all_the_same(
    verbs: Verbs, clock: Clock, data_dir: Path, mode: str
) -> None:
    """An agent's `usage` of 253 levels kept all sessions from their files, and so from being
    forgotten in time."""
    _talk(verbs, "u1", "u2")
    Turn.objects.update(usage=_nested(253))
    end_all(clock)
    before = snapshot()
    {"archive": write_archive, "mirror": write_mirror}[mode](data_dir)
    assert not Session.objects.filter(archived_at=None).exists()
    wipe()
    restore("--from", mode)
    assert snapshot() == before


@pytest.mark.parametrize(
    ("look", "folder"), [(archive_ended, archive_folder), (mirror_changed, mirror_folder)]
)
def test_sessions_that_cannot_be_filed_are_left_alone_until_they_change(
    verbs: Verbs,
    clock: Clock,
    data_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    look: Callable[[Path, Held], bool],
    folder: Callable[[Path], Path],
) -> None:
    """They came first each time: a batch in 31 seconds, or with as many as a batch holds, none."""
    monkeypatch.setattr(archiving, "BATCH", 2)
    monkeypatch.setattr(mirror, "BATCH", 2)
    for user in ("bad1", "bad2", "good1", "good2", "good3"):
        _talk(verbs, user)
        clock.advance(1)
    end_all(clock)
    bad = list(Session.objects.filter(scope_key__contains="bad").values_list("pk", flat=True))
    head, broken = archive._head, True

    def spoiled(row: Any, *more: Any) -> Any:
        if broken and row[0] in bad:
            raise TypeError("Recursion limit reached")
        return head(row, *more)

    monkeypatch.setattr(archive, "_head", spoiled)
    held = Held()

    def looks() -> set[str]:
        assert not all(look(folder(data_dir), held) for _ in range(10))
        return set(Session.objects.filter(archived_at=None).values_list("pk", flat=True))

    assert looks() == set(bad)
    assert looks() == set(bad)
    assert [caplog.text.count(session) for session in bad] == [1, 1]
    broken = False
    Session.objects.filter(pk=bad[0]).update(revision=F("revision") + 1)
    assert looks() == {bad[1]}
    held = Held()  # another start
    assert looks() == set()


@pytest.mark.parametrize("write", [write_archive, write_mirror])
@pytest.mark.parametrize("where", ["read", "written"])
def test_a_session_that_cannot_be_filed_holds_up_no_other(
    verbs: Verbs,
    clock: Clock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    write: Callable[[Path], list[Path]],
    where: str,
) -> None:
    _talk(verbs, "u1", "u2", "u3")
    end_all(clock)
    bad = Session.objects.get(scope_key="user:u2").pk
    name = "_head" if where == "read" else "records"
    good = getattr(archive, name)

    def spoiled(first: Any, *more: Any) -> Any:
        session = first[0] if where == "read" else first["session"]["id"]
        if session == bad:
            raise TypeError("Recursion limit reached")
        return good(first, *more)

    monkeypatch.setattr(archive, name, spoiled)
    if where == "written":
        line = archiving.line

        def spoiled_line(whole: Any) -> bytes:
            return line(whole) if whole["session"]["id"] != bad else spoiled(whole)

        monkeypatch.setattr(archiving, "line", spoiled_line)
    write(tmp_path)
    assert Session.objects.get(archived_at=None).pk == bad
    assert bad in caplog.text
