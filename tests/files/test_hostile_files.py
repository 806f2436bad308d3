"""Files are edited by hand, cut and made up: what cannot be is skipped, the rest comes back."""

from __future__ import annotations

import copy
import io
import os
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from django.core.management import CommandError
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sessions_app import archive_files
from sessions_app.archive_files import append, place, read_lines, remove, write_whole
from sessions_app.models import Contact, Message, Session
from tests.conftest import Clock
from tests.core.kit import Verbs
from tests.files.kit import (
    converse,
    end_all,
    export,
    restore,
    snapshot,
    wipe,
    write_archive,
    write_mirror,
)

WHOLE: dict[str, Any] = {
    "format": "openclaw-session",
    "version": 1,
    "session": {
        "id": "sess_1",
        "channel": "testchat",
        "scope_key": "user:u1",
        "chat_id": "c",
        "state": "terminated",
        "handler": "agent",
        "created_at": "2026-11-22T10:00:00+00:00",
        "last_activity": "2026-11-22T10:05:00+00:00",
    },
    "contact": {
        "channel": "testchat",
        "user_id": "u1",
        "access": "allowed",
        "created_at": "2026-11-22T10:00:00+00:00",
    },
    "messages": [
        {
            "seq": 1000,
            "role": "user",
            "origin": "user",
            "text": "hello",
            "external_id": "m1",
            "disposition": "answered",
            "created_at": "2026-11-22T10:00:00+00:00",
        }
    ],
}


def changed(*path: str | int, to: Any) -> dict[str, Any]:
    """The session above with one value replaced."""
    whole = copy.deepcopy(WHOLE)
    place_: Any = whole
    for key in path[:-1]:
        place_ = place_[key]
    place_[path[-1]] = to
    return whole


def as_file(folder: Path, *lines: Any) -> str:
    """A file with these lines: bytes as they are, else as JSON."""
    path = folder / "some.jsonl"
    path.write_bytes(
        b"\n".join(line if isinstance(line, bytes) else orjson.dumps(line) for line in lines)
    )
    return str(path)


def test_the_least_that_is_a_session_comes_back(verbs: Verbs, data_dir: Path) -> None:
    """Without what has a default; so a file can be written by hand."""
    assert "1 new sessions" in restore("--from", as_file(data_dir, WHOLE)).replace(
        "1 new session,", "1 new sessions,"
    )
    session = Session.objects.get()
    assert (session.pk, session.state, session.last_seq) == ("sess_1", "terminated", 1000)
    assert session.ended_at == session.last_activity
    assert Message.objects.get().text == "hello"


def test_an_archive_laid_out_for_people_comes_back(verbs: Verbs, data_dir: Path) -> None:
    path = data_dir / "pretty.json"
    path.write_bytes(orjson.dumps(WHOLE, option=orjson.OPT_INDENT_2))
    assert "bad lines: 0." in restore("--from", str(path))
    assert Message.objects.get().text == "hello"


BAD: list[Any] = [
    b"not json",
    b'{"cut": "in ha',
    b"[1, 2]",
    b'"text"',
    b"\xff\xfe\x00",
    b'{"format": "openclaw-session", "version": 1, "session": {"id": "\\ud800"}}',
    {},
    changed("format", to="other"),
    changed("version", to=2),
    changed("session", to=None),
    changed("session", "id", to="../../etc/passwd"),
    changed("session", "id", to="x" * 41),
    changed("session", "id", to=7),
    changed("session", "state", to="asleep"),
    changed("session", "channel", to="otherchat"),
    changed("session", "scope_key", to=""),
    changed("session", "last_seq", to=-1),
    changed("session", "last_seq", to=2**63),
    changed("session", "last_seq", to=True),
    changed("session", "created_at", to="yesterday"),
    changed("session", "created_at", to="0001-01-01T00:00:00+14:00"),
    changed("session", "context", to=[]),
    changed("contact", "user_id", to=None),
    changed("contact", "user_id", to="u" * 256),
    changed("contact", "access", to=["allowed"]),
    changed("messages", to={}),
    changed("messages", 0, to="hello"),
    changed("messages", 0, "seq", to=1.5),
    changed("messages", 0, "role", to="root"),
    changed("messages", 0, "text", to=["hello"]),
    changed("messages", 0, "attachments", to=[{"kind": "x" * 33}]),
    changed("turns", to=[{"id": "turn_1", "state": "eternal"}]),
    changed("deliveries", to=[{"key": "k" * 26}]),
]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: str(bad)[:0] or str(BAD.index(bad)))
def test_a_bad_line_is_named_counted_and_skipped(verbs: Verbs, data_dir: Path, bad: Any) -> None:
    good = changed("session", "id", to="sess_good")
    source = as_file(data_dir, b"", bad, good)

    said = restore("--from", source)

    assert f"{source}:2: skipped: " in said
    assert "1 new session, " in said
    assert "bad lines: 1." in said
    assert list(Session.objects.values_list("pk", flat=True)) == ["sess_good"]


def test_nothing_readable_is_an_error(verbs: Verbs, data_dir: Path) -> None:
    with pytest.raises(CommandError, match=r"Nothing readable was found \(bad lines: 2\)"):
        restore("--from", as_file(data_dir, b"x", b"y"))
    with pytest.raises(CommandError, match="There is no "):
        restore("--from", str(data_dir / "nowhere"))
    with pytest.raises(CommandError, match="Nothing readable"):
        restore("--from", as_file(data_dir))


def test_thousands_of_bad_lines_do_not_flood_the_terminal(verbs: Verbs, data_dir: Path) -> None:
    said = restore("--from", as_file(data_dir, *[b"bad"] * 3000, WHOLE))
    assert said.count("skipped: ") == 20
    assert "bad lines: 3000." in said


def test_a_file_that_cannot_be_opened_is_skipped(verbs: Verbs, data_dir: Path) -> None:
    as_file(data_dir, WHOLE)
    (data_dir / "gone.jsonl").symlink_to(data_dir / "nowhere")
    said = restore("--from", str(data_dir))
    assert "gone.jsonl:0: skipped: No such file" in said
    assert "1 new session, " in said


def test_a_line_that_is_too_long_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_files, "MAX_LINE", 1000)
    good = orjson.dumps({"format": "x"})
    found = list(read_lines(io.BytesIO(b"x" * 5000 + b"\n" + good + b"\n" + b"y" * 1500), "f"))
    assert [(type(item).__name__, item.number) for item in found] == [
        ("BadLine", 1),
        ("FoundWhole", 2),
        ("BadLine", 3),
    ]


def test_a_mirror_without_its_first_line_says_so(
    verbs: Verbs, clock: Clock, data_dir: Path
) -> None:
    converse(verbs, "1", "hello")
    (file,) = write_mirror(data_dir)
    lines = file.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if b'{"record":"session"' not in line]
    assert 0 < len(kept) < len(lines)
    file.write_bytes(b"".join(kept))
    wipe()
    with pytest.raises(CommandError, match="Nothing readable"):
        restore("--from", "mirror")


def test_mirrors_behind_each_other_in_one_file_come_back(
    verbs: Verbs, clock: Clock, data_dir: Path
) -> None:
    for user in ("u1", "u2", "u3"):
        converse(verbs, f"m{user}", f"of {user}", user)
    together = b"".join(path.read_bytes() for path in write_mirror(data_dir))
    before = snapshot()
    wipe()
    (data_dir / "all.jsonl").write_bytes(together)
    assert "3 new sessions" in restore("--from", str(data_dir / "all.jsonl"))
    assert snapshot() == before


def test_a_known_session_gets_only_what_it_lacks(
    verbs: Verbs, clock: Clock, data_dir: Path
) -> None:
    converse(verbs, "1", "first")
    clock.advance(1)
    converse(verbs, "2", "second")
    export(data_dir / "all.jsonl")
    before = snapshot()
    Message.objects.filter(text="re first").delete()
    Message.objects.filter(text="second").update(text="as the database has it")
    revision = Session.objects.get().revision

    assert "0 new sessions, 1 completed, 0 already there; messages added: 1;" in restore(
        "--from", str(data_dir / "all.jsonl")
    )

    texts = list(Message.objects.order_by("seq").values_list("text", flat=True))
    assert texts == ["first", "re first", "as the database has it", "re second"]
    assert Session.objects.get().revision == revision + 1  # or agents would not be told of it
    assert len(snapshot()["deliveries"]) == len(before["deliveries"])


def test_an_id_that_another_message_has_is_left_out(verbs: Verbs, data_dir: Path) -> None:
    second = changed("session", "id", to="sess_2")
    third = changed("session", "id", to="sess_3")
    restore("--from", as_file(data_dir, WHOLE))
    restore("--from", as_file(data_dir, second, third))
    rows = Message.objects.order_by("session").values_list("session", "external_id")
    assert list(rows) == [("sess_1", "m1"), ("sess_2", None), ("sess_3", None)]


def test_two_open_sessions_of_one_person_become_one(
    verbs: Verbs, clock: Clock, data_dir: Path
) -> None:
    lines = []
    for number in (1, 2):
        whole = changed("session", "id", to=f"sess_{number}")
        whole["session"]["state"] = "active"
        whole["messages"] = []
        lines.append(whole)
    restore("--from", as_file(data_dir, *lines))
    states = dict(Session.objects.values_list("pk", "state"))
    assert states == {"sess_1": "active", "sess_2": "terminated"}


def test_what_operators_said_about_a_contact_stays(verbs: Verbs, data_dir: Path) -> None:
    Contact.objects.create(channel="testchat", user_id="u1", access="blocked", name="Ada")
    restore("--from", as_file(data_dir, WHOLE))
    contact = Contact.objects.get()
    assert (contact.access, contact.name) == ("blocked", "Ada")


EVERY_TEXT = st.text(st.characters(codec="utf-8"), max_size=60)


@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(texts=st.lists(EVERY_TEXT, min_size=1, max_size=5), name=EVERY_TEXT)
@example(texts=["before\x00after", "\u2028\x85\U0010ffff\ufeff"], name="\x00")
def test_every_text_comes_back_as_it_was(
    verbs: Verbs, clock: Clock, data_dir: Path, texts: list[str], name: str
) -> None:
    wipe_quietly(data_dir)
    contact = Contact.objects.create(
        channel="testchat", user_id="u1", name=name, notes={name: name}
    )
    session = Session.objects.create(
        channel="testchat",
        scope_key="user:u1",
        contact=contact,
        chat_id="c",
        last_seq=(len(texts) - 1) * 1000,
    )
    for number, text in enumerate(texts):
        Message.objects.create(
            session=session,
            seq=number * 1000,
            role="user",
            origin="user",
            text=text,
            channel="testchat",
            target={"text": text},
        )
    before = snapshot()
    write_mirror(data_dir)
    export(data_dir / "all.jsonl")
    for source in ("mirror", str(data_dir / "all.jsonl")):
        wipe()
        restore("--from", source)
        assert snapshot() == before


def wipe_quietly(data_dir: Path) -> None:
    """Between two examples."""
    for file in list(data_dir.rglob("*.jsonl")):
        remove(file)
    Session.objects.all().delete()
    Contact.objects.all().delete()


IDS = st.one_of(EVERY_TEXT, st.from_regex(r"(\.\./|/|\.|\x00|a){1,8}", fullmatch=True))


@given(session=IDS)
def test_no_id_leaves_the_folder(session: str) -> None:
    folder = Path("/data/archive")
    path = place(folder, session, datetime(2026, 11, 22, tzinfo=UTC), ".json")
    assert path.parent == folder / "2026" / "11"
    assert ".." not in path.parts
    assert "\x00" not in str(path)
    assert path.name.strip(".") == path.name
    assert len(path.name) < 100


def test_files_are_for_us_alone(verbs: Verbs, clock: Clock, data_dir: Path) -> None:
    before = os.umask(0)
    try:
        converse(verbs, "1", "secret")
        write_mirror(data_dir)
        end_all(clock)
        write_archive(data_dir)
        export(data_dir / "all.jsonl")
    finally:
        os.umask(before)
    for path in [data_dir / "archive", data_dir / "mirror"]:
        found = [path, *path.rglob("*")]
        assert len(found) == 4
        for item in found:
            wanted = 0o700 if item.is_dir() else 0o600
            assert stat.S_IMODE(item.stat().st_mode) == wanted, item
    assert stat.S_IMODE((data_dir / "all.jsonl").stat().st_mode) == 0o600


def test_a_write_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "folder" / "file.json"
    write_whole(path, b"old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(path, b"new and longer")
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


def test_a_link_in_place_of_a_mirror_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"precious\n")
    (tmp_path / "file.jsonl").symlink_to(tmp_path / "other")
    with pytest.raises(OSError):
        append(tmp_path / "file.jsonl", b"x\n")
    assert (tmp_path / "other").read_bytes() == b"precious\n"


@given(
    whole=st.lists(st.binary(max_size=50).map(lambda b: b.replace(b"\n", b"") + b"\n"), max_size=5),
    cut=st.binary(max_size=200).map(lambda b: b.replace(b"\n", b"")),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_appending_cuts_off_half_a_line_and_nothing_else(
    tmp_path: Path, whole: list[bytes], cut: bytes
) -> None:
    path = tmp_path / "file.jsonl"
    path.write_bytes(b"".join(whole) + cut)
    size = append(path, b"next\n")
    assert path.read_bytes() == b"".join(whole) + b"next\n"
    assert size == path.stat().st_size
