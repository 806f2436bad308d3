"""`export_sessions` and `restore_sessions`: what is chosen, what is said, what is never done."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import orjson
import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from pytest_django.fixtures import Settings

from gateway.models import Audit, Turn
from sessions_app import archive
from sessions_app.archive_files import read_file
from sessions_app.management.commands import restore_sessions
from sessions_app.models import Contact, Message, Session
from sessions_app.progress import Progress
from tests.conftest import Clock
from tests.core.kit import Verbs, inbound
from tests.files.kit import (
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
from tests.process import ROOT, clean_environment, fresh_data_dir


def ids(**conditions: Any) -> list[str]:
    return list(Session.objects.filter(**conditions).order_by("pk").values_list("pk", flat=True))


def exported(data_dir: Path, *arguments: str) -> list[str]:
    return [line["session"]["id"] for line in export(data_dir / "out.jsonl", *arguments)]


@pytest.fixture
def three(verbs: Verbs, clock: Clock) -> list[str]:
    """Sessions of u1 (Ada), u2 and u3, an hour apart, the last one now."""
    for number in (1, 2, 3):
        clock.advance(3600)
        converse(verbs, f"m{number}", f"text {number}", f"u{number}")
    Contact.objects.filter(user_id="u1").update(name="Ada")
    return [Session.objects.get(scope_key=f"user:u{number}").pk for number in (1, 2, 3)]


def test_export_chooses(three: list[str], clock: Clock, data_dir: Path) -> None:
    one, two, three_ = three
    assert exported(data_dir) == three
    assert exported(data_dir, "--session", one, "--session", three_) == [one, three_]
    assert exported(data_dir, "--person", "ada") == [one]
    assert exported(data_dir, "--person", "u2") == [two]
    assert exported(data_dir, "--person", "nobody") == []
    assert exported(data_dir, "--channel", "testchat") == three
    assert exported(data_dir, "--channel", "otherchat") == []
    assert exported(data_dir, "--since", "90m") == [two, three_]
    assert exported(data_dir, "--until", "90m") == [one]
    since = (clock.time.replace(tzinfo=None)).isoformat()
    assert exported(data_dir, "--since", since) == [three_]
    assert exported(data_dir, "--since", "2h", "--until", "1h", "--person", "u2") == []


def test_restore_from_files_chooses_the_same_way(
    three: list[str], clock: Clock, data_dir: Path
) -> None:
    one, two, three_ = three
    export(data_dir / "all.jsonl")
    source = str(data_dir / "all.jsonl")
    for arguments, wanted in {
        ("--session", two): [two],
        ("--person", "ADA"): [one],
        ("--person", "u3"): [three_],
        ("--channel", "otherchat"): [],
        ("--since", "90m"): [two, three_],
        ("--until", "90m"): [one],
    }.items():
        wipe()
        said = restore("--from", source, *arguments)
        assert ids() == wanted, arguments
        assert f"not asked for: {3 - len(wanted)};" in said


def test_ended_sessions_go_on_out_of_the_database(
    three: list[str], clock: Clock, verbs: Verbs
) -> None:
    end_all(clock)
    assert restore("--person", "Ada") == "1 session went on.\n"
    assert ids(state="active") == three[:1]
    session = Session.objects.get(pk=three[0])
    assert session.ended_at is None
    assert session.expires_at is not None
    assert (session.expires_at - clock()).total_seconds() == 900
    verbs.take_in(inbound("next", "and on", "u1"))
    assert Message.objects.filter(session=three[0]).count() == 3
    before = snapshot()
    assert restore("--person", "Ada") == "0 sessions went on.\n"
    assert snapshot() == before
    assert restore("--all") == "2 sessions went on.\n"


def test_a_channel_has_its_own_time_out(three: list[str], clock: Clock, settings: Settings) -> None:
    settings.OPENCLAW_CHANNEL_SETTINGS = {"testchat": {"idle_seconds": "60"}, "other": {}}
    end_all(clock)
    restore("--session", three[0])
    session = Session.objects.get(pk=three[0])
    assert session.expires_at
    assert (session.expires_at - clock()).total_seconds() == 60


def test_the_latest_of_a_person_goes_on(verbs: Verbs, clock: Clock) -> None:
    for number in range(3):
        converse(verbs, f"m{number}", f"text {number}")
        clock.advance(10)
        end_all(clock)
    said = restore("--person", "u1")
    assert said == "1 session went on.\n2 left ended: their person has another session open.\n"
    assert Message.objects.get(text="text 2").session.state == "active"


def test_an_export_shows_one_moment_whatever_is_written_meanwhile(
    verbs: Verbs, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A turn that is done is never exported without its answer."""
    verbs.take_in(inbound("1"))
    section = archive.sections[0]
    works = section.read

    def answer() -> None:
        verbs.answer(verbs.claim_one())
        connection.close()

    def answered_meanwhile(wanted: Any) -> Any:
        thread = threading.Thread(target=answer)  # the messages have been read by now
        thread.start()
        thread.join()
        return works(wanted)

    monkeypatch.setattr(section, "read", answered_meanwhile)
    (whole,) = export(data_dir / "all.jsonl")
    assert [message["text"] for message in whole["messages"]] == ["hello"]
    assert [turn["state"] for turn in whole["turns"]] == ["queued"]
    assert whole["deliveries"] == []
    assert Turn.objects.get().state == "done"


def test_everything_at_once_has_to_be_asked_for(three: list[str], clock: Clock) -> None:
    end_all(clock)
    with pytest.raises(CommandError, match="Choose some, or give --all"):
        restore()
    assert ids(state="active") == []


@pytest.mark.parametrize("source", ["database", "archive", "mirror"])
def test_dry_run_says_it_and_changes_nothing(
    three: list[str], clock: Clock, data_dir: Path, source: str
) -> None:
    write_mirror(data_dir)
    end_all(clock)
    write_archive(data_dir)
    if source != "database":
        wipe()
    before = snapshot()

    said = restore("--from", source, "--all", "--dry-run")

    assert snapshot() == before
    assert "3 sessions would go on" in said or "3 new sessions" in said
    assert "would" in said


@pytest.mark.parametrize("source", ["database", "archive"])
def test_dry_run_counts_what_the_run_itself_will_do(
    verbs: Verbs,
    clock: Clock,
    data_dir: Path,
    source: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(restore_sessions, "MAX_SESSIONS", 2)  # one person's are in many batches
    for number in range(5):
        for user in ("u1", "u2", "u3"):
            converse(verbs, f"{user}-{number}", "hello", user)
        clock.advance(10)
        end_all(clock)
    converse(verbs, "again", "here already", "u3")
    write_archive(data_dir)
    if source == "archive":
        Session.objects.filter(state="terminated").delete()

    said = restore("--from", source, "--all", "--reopen", "--dry-run")
    done = restore("--from", source, "--all", "--reopen")

    assert "2 sessions would go on" in said
    assert "2 sessions went on" in done
    assert [int(one) for one in re.findall(r"\d+", said)] == [
        int(one) for one in re.findall(r"\d+", done)
    ]


def test_people_are_found_by_name_in_any_case_and_alphabet(
    three: list[str], clock: Clock, data_dir: Path
) -> None:
    Contact.objects.filter(user_id="u1").update(name="Åsa")
    end_all(clock)
    write_archive(data_dir)
    assert exported(data_dir, "--person", "åsa") == three[:1]
    assert "1 already there" in restore("--from", "archive", "--person", "åsa")


def test_archived_sessions_stay_ended_unless_reopened(
    three: list[str], clock: Clock, data_dir: Path
) -> None:
    end_all(clock)
    write_archive(data_dir)
    wipe()
    restore("--from", "archive")
    assert ids(state="terminated") == three
    assert restore("--from", "archive", "--person", "u2", "--reopen").endswith(
        "\n1 session went on.\n"
    )
    assert ids(state="active") == three[1:2]
    assert restore("--from", "archive").startswith("0 new sessions, 0 completed, 3 already there")
    assert ids(state="active") == three[1:2]


def test_open_sessions_have_their_idle_time_before_them(
    three: list[str], clock: Clock, data_dir: Path
) -> None:
    write_mirror(data_dir)
    wipe()
    clock.advance(100_000)
    restore("--from", "mirror", "--session", three[0])
    session = Session.objects.get()
    assert session.state == "active"
    assert session.expires_at
    assert (session.expires_at - clock()).total_seconds() == 900


def test_a_folder_of_anything_of_ours_is_read(verbs: Verbs, clock: Clock, data_dir: Path) -> None:
    some_conversations(verbs, clock)
    write_mirror(data_dir)
    end_all(clock)
    write_archive(data_dir)
    export(data_dir / "all.jsonl")
    (data_dir / "notes.txt").write_text("not ours")
    (data_dir / ".half.json.ab12").write_text("{")
    before = snapshot()
    wipe()
    assert "bad lines: 0." in restore("--from", str(data_dir))
    assert [row["text"] for row in snapshot()["messages"]] == [
        row["text"] for row in before["messages"]
    ]


def test_transcripts_are_escaped_and_named_by_number(
    verbs: Verbs, clock: Clock, data_dir: Path
) -> None:
    bad = '<script>alert(1)</script>"><img src=x onerror=alert(1)>'
    photo = {"kind": bad[:20], "name": bad, "size": 1000}
    verbs.take_in(inbound("1", bad, "../../u1", sender_name=bad))
    code = f"{bad}\n```html\n{bad}\n```\nand"
    verbs.answer(verbs.claim_one(), code, agent="one", attachments=[photo])
    clock.advance(86400)
    verbs.take_in(inbound("2", "שלום", "../../u1"))
    Session.objects.update(chat_id=bad, agent=bad)
    folder = data_dir / "pages"

    call_command("export_sessions", "--html", "--output", str(folder), stderr=io.StringIO())

    assert sorted(path.name for path in folder.iterdir()) == ["00001.html", "index.html"]
    for path in folder.iterdir():
        page = path.read_text()
        assert "<script" not in page
        assert "<img" not in page
        assert "&lt;script&gt;" in page
        assert "default-src 'none'" in page
        assert not re.search(r"(src|href)=\"?(https?:|//|javascript:)", page)
    page = (folder / "00001.html").read_text()
    assert page.count("<h2>") == 2
    assert page.count('dir="auto"') == 3
    assert 'class="message left"' in page
    assert 'class="message right"' in page
    assert page.count("<pre") == 1
    assert "```" not in page
    assert page.count("<strong>") == 2
    assert "<strong>delivery: queued</strong>" in page
    assert "<strong>pending</strong>" in page


def test_html_needs_a_folder(three: list[str]) -> None:
    with pytest.raises(CommandError, match="--output FOLDER"):
        call_command("export_sessions", "--html")


def test_export_that_cannot_be_written_says_so(three: list[str], data_dir: Path) -> None:
    with pytest.raises(CommandError, match=r"Cannot write .*: No such file or directory"):
        call_command("export_sessions", "--output", str(data_dir / "no" / "folder.jsonl"))


@pytest.mark.parametrize("value", ["soon", "7x", "2026-13-01", ""])
def test_a_time_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(CommandError, match="is no time"):
        call_command("export_sessions", "--since", value)


def manage(data_dir: Path, *arguments: str, stdin: bytes = b"") -> tuple[int, bytes, str]:
    """A command in a process of its own: (exit status, stdout, stderr)."""
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=clean_environment(data_dir),
        input=stdin,
        capture_output=True,
        timeout=60,
    )
    return done.returncode, done.stdout, done.stderr.decode()


def test_one_data_folder_pours_into_another(tmp_path: Path) -> None:
    """As a person would do it: through a pipe, with exit statuses."""
    from tests.files.test_hostile_files import WHOLE

    one, two = fresh_data_dir(tmp_path), fresh_data_dir(tmp_path)
    line = orjson.dumps(WHOLE)
    status, out, _ = manage(one, "restore_sessions", "--from", "-", stdin=line + b"\n{cut")
    assert (status, out[:14]) == (0, b"1 new session,")
    status, exported_, said = manage(one, "export_sessions")
    assert (status, said) == (0, "1 sessions written.\n")
    assert orjson.loads(exported_)["messages"][0]["text"] == "hello"
    status, _, said = manage(two, "restore_sessions", "--from", "-", stdin=b"nothing\n")
    assert status == 1
    assert said.strip().endswith("Nothing readable was found (bad lines: 1).")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_for_terminals() -> None:
    quiet, shown = io.StringIO(), Terminal()
    for stream in (quiet, shown):
        with Progress(stream, 2000, "sessions") as progress:
            for _ in range(2000):
                progress.step()
    assert quiet.getvalue() == ""
    assert shown.getvalue().endswith("100% 2,000 of 2,000 sessions \n")
    assert shown.getvalue().count("\r") < 50


def test_a_restore_from_a_file_stands_in_the_audit(verbs: Verbs, data_dir: Path) -> None:
    converse(verbs, "1", "hello")
    export(data_dir / "all.jsonl")
    wipe()
    restore("--from", str(data_dir / "all.jsonl"), "--dry-run")
    assert not Audit.objects.exists()
    restore("--from", str(data_dir / "all.jsonl"))
    restore("--from", str(data_dir / "all.jsonl"))  # changes nothing, so there is nothing to say
    (line,) = Audit.objects.all()
    assert line.action == "restore_files"
    assert line.detail == {"new": 1, "completed": 0, "messages": 2}


def test_progress_of_one_big_file_is_told_by_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "one.jsonl"
    path.write_bytes(b"{}\n" + b"x" * 5000 + b"\n\n[1]\n")
    told: list[int] = []
    list(read_file(path, told.append))
    assert len(told) == 4
    assert sum(told) == path.stat().st_size
