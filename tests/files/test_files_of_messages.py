"""What people sent, through the files of sessions: kept stays kept, and leads to nobody else's."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import orjson
import pytest

from adapters.base import Media
from gateway.ledger import operate
from gateway.ledger.files import FinishedFile, StartFetches, finish_fetches
from gateway.media.store import Store
from gateway.models import Delivery, Turn
from sessions_app.models import Attachment, Message, Session
from tests.conftest import Clock
from tests.core.kit import CHANNEL, Verbs, inbound
from tests.files.kit import (
    KEPT,
    converse,
    end_all,
    export,
    restore,
    snapshot,
    wipe,
    write_archive,
    write_mirror,
)

PHOTO = Media(kind="image", handle="F-1", mime="image/jpeg", name="cat.jpg", size=3)


def kept_photo(verbs: Verbs, user: str = "u1", path: str = KEPT) -> None:
    """A conversation with a picture in the media folder, which the agent sends back."""
    converse(verbs, f"m-{user}", "look", user, media=(PHOTO,))
    mine = Attachment.objects.filter(message__session__scope_key=f"user:{user}")
    mine.filter(message__role="user").update(state="stored", path=path)
    part = {"file": {"path": path, "kind": "image", "name": "cat.jpg", "size": 3, "mime": ""}}
    Delivery.objects.filter(session__scope_key=f"user:{user}", part=1).update(extra=part)


def exported(data_dir: Path) -> list[dict[str, Any]]:
    return export(data_dir / "all.jsonl")


def put(data_dir: Path, *wholes: dict[str, Any]) -> str:
    path = data_dir / "made.jsonl"
    path.write_bytes(b"\n".join(orjson.dumps(whole) for whole in wholes))
    return restore("--from", str(path))


def test_a_kept_file_is_found_again(verbs: Verbs, data_dir: Path) -> None:
    store = Store(data_dir / "media", 1000)
    (data_dir / "media" / KEPT[:2]).mkdir(parents=True)
    (data_dir / "media" / KEPT[:2] / KEPT).write_bytes(b"cat")
    kept_photo(verbs)
    wholes = exported(data_dir)
    wipe()

    put(data_dir, *wholes)

    file = Attachment.objects.get(message__role="user")
    assert (file.state, file.path) == ("stored", KEPT)
    assert store.find(file.path).read_bytes() == b"cat"
    assert Delivery.objects.get(part=1).extra["file"]["path"] == KEPT


@pytest.mark.parametrize(
    "path",
    [
        "../../etc/passwd",
        "/etc/passwd",
        f"../{KEPT}",
        f"{KEPT}/../../db.sqlite3",
        f"{KEPT}\n",
        KEPT.upper(),
        ".draft-0123456789abcdef",
        7,
        {"a": 1},
    ],
)
def test_no_other_name_than_a_generated_one_is_read(
    verbs: Verbs, data_dir: Path, path: Any
) -> None:
    kept_photo(verbs)
    (good,) = exported(data_dir)
    wipe()
    bad = copy.deepcopy(good)
    bad["session"]["id"] = "sess_bad"
    bad["messages"][0]["attachments"][0]["path"] = path

    assert "not the name of a kept file" in put(data_dir, bad, good)
    assert not Session.objects.filter(pk="sess_bad").exists()


def test_a_file_of_another_person_is_given_to_nobody(verbs: Verbs, data_dir: Path) -> None:
    """Neither as an attachment nor as a part that an operator may send again."""
    kept_photo(verbs, "u1")
    (whole,) = exported(data_dir)
    hostile = copy.deepcopy(whole)
    hostile["session"] |= {"id": "sess_hostile", "scope_key": "user:evil", "chat_id": "evil"}
    hostile["contact"] |= {"user_id": "evil"}
    for number, message in enumerate(hostile["messages"]):
        message["external_id"] = f"evil-{number}"
    for number, delivery in enumerate(hostile["deliveries"]):
        delivery |= {"key": f"evil{number}", "chat_id": "evil", "state": "failed"}

    put(data_dir, hostile)

    theirs = Attachment.objects.get(message__session="sess_hostile", message__role="user")
    assert (theirs.state, theirs.path) == ("failed", "")
    assert theirs.error == "its file belongs to another message"
    assert Delivery.objects.get(key="evil1").extra == {}
    assert Attachment.objects.get(path=KEPT).message.session.scope_key == "user:u1"


def test_what_was_still_to_be_fetched_is_never_fetched(verbs: Verbs, data_dir: Path) -> None:
    """Imports run nothing; an operator may ask for it."""
    verbs.take_in(inbound("1", media=(PHOTO,)), fetches_media=True)
    assert Attachment.objects.get().state == "waiting"
    wholes = exported(data_dir)
    wipe()

    put(data_dir, *wholes)

    file = Attachment.objects.get()
    assert (file.state, file.path, file.handle) == ("failed", "", "F-1")
    assert "not fetched" in file.error
    assert StartFetches(lambda channel: True)(10) == []
    assert operate.fetch_files("ada", [file.pk]) == 1


def fetched(path: str = KEPT) -> None:
    """The channel is back: what waited is stored."""
    for claimed in StartFetches(lambda channel: channel == CHANNEL)(10):
        assert finish_fetches([FinishedFile(claimed, "stored", size=3, path=path)]) == [True]


def test_a_mirror_learns_that_a_file_was_fetched(
    verbs: Verbs, clock: Clock, data_dir: Path
) -> None:
    """Also when nothing else about its session was under way any more."""
    verbs.take_in(inbound("1", media=(PHOTO,)), fetches_media=True)
    operate.cancel_turns("ada", _turns())
    for number in range(3):
        clock.advance(1)
        converse(verbs, f"later {number}", "more", "u2")
    (before, _) = write_mirror(data_dir)
    size = before.stat().st_size
    write_mirror(data_dir)
    assert before.stat().st_size == size

    fetched()
    write_mirror(data_dir)

    rows = snapshot("attempts", "expires_at")
    wipe()
    restore("--from", "mirror")
    assert snapshot("attempts", "expires_at") == rows
    assert Attachment.objects.get(message__role="user").state == "stored"


def _turns() -> list[str]:
    return list(Turn.objects.filter(state="queued").values_list("pk", flat=True))


@pytest.mark.parametrize("write", [write_archive, write_mirror])
def test_a_file_that_came_after_the_end_is_archived_too(
    verbs: Verbs, clock: Clock, data_dir: Path, write: Any
) -> None:
    verbs.take_in(inbound("1", media=(PHOTO,)), fetches_media=True)
    operate.cancel_turns("ada", _turns())
    end_all(clock)
    write(data_dir)

    fetched()
    (file,) = write(data_dir)

    assert KEPT in file.read_text()
    wipe()
    restore("--from", file.relative_to(data_dir).parts[0])
    assert Attachment.objects.get().path == KEPT


def test_other_ids_lead_to_the_person_again(verbs: Verbs, data_dir: Path) -> None:
    verbs.take_in(inbound("1", "hello", "new", aliases=("old",)))
    verbs.answer(verbs.claim_one())
    wholes = exported(data_dir)
    wipe()
    put(data_dir, *wholes)

    verbs.take_in(inbound("2", "me again", "old", aliases=()))

    assert Message.objects.filter(session=Session.objects.get()).count() == 3


def test_an_id_that_is_a_persons_own_is_not_taken_from_them(verbs: Verbs, data_dir: Path) -> None:
    """A file that calls somebody's id an alias of its own does not get their messages."""
    converse(verbs, "1", "mine", "victim", aliases=())
    (whole,) = exported(data_dir)
    whole["session"] |= {"id": "sess_hostile", "scope_key": "user:evil"}
    whole["contact"] |= {"user_id": "evil", "other_ids": ["victim"]}
    whole["messages"], whole["turns"], whole["deliveries"] = [], [], []
    put(data_dir, whole)

    verbs.take_in(inbound("2", "still mine", "victim", aliases=()))

    assert Message.objects.get(text="still mine").session.scope_key == "user:victim"
