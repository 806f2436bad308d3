"""Conversations for the tests of files, and everything that the database says about them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import orjson
from django.core.management import call_command

from adapters.base import Media, Quote
from gateway.archiving import archive_ended, archive_folder, mirror_folder
from gateway.ledger.records import Part
from gateway.mirror import mirror_changed
from gateway.models import Delivery, Turn
from gateway.wholes import Held
from sessions_app.models import Attachment, Contact, ContactAlias, Message, Session
from tests.conftest import Clock
from tests.core.kit import Verbs, inbound, sent

Rows = dict[str, list[dict[str, Any]]]
KEYS = ("id", "contact_id", "session_id", "message_id", "agent_id")
OURS = ("archived_at", "crashes", "not_before", "lease_owner", "lease_until", "retried_at")
"""Columns about work, files and rows that mean nothing elsewhere."""

KEPT = "0123456789abcdef0123456789abcdef.jpg"
"""The generated name of a file in the media folder."""


def snapshot(*leave_out: str) -> Rows:
    """Every conversation as its rows say, with names in place of row numbers."""
    drop = {*KEYS, *OURS, *leave_out}
    queries = {
        "contacts": Contact.objects.order_by("channel", "user_id").values(),
        "aliases": ContactAlias.objects.order_by("channel", "user_id").values(
            *_columns(ContactAlias), "contact__user_id"
        ),
        "sessions": Session.objects.order_by("pk").values(
            *_columns(Session), "contact__user_id", "pk"
        ),
        "messages": Message.objects.order_by("session", "seq").values(
            *_columns(Message), "session__pk"
        ),
        "attachments": Attachment.objects.order_by("message__session", "message__seq", "id").values(
            *_columns(Attachment), "message__session", "message__seq"
        ),
        "turns": Turn.objects.order_by("pk").values(
            *_columns(Turn), "pk", "session__pk", "agent__name"
        ),
        "deliveries": Delivery.objects.order_by("key").values(
            *_columns(Delivery), "session__pk", "message__seq"
        ),
    }
    return {
        name: [{key: row[key] for key in row if key not in drop} for row in query]
        for name, query in queries.items()
    }


def _columns(model: Any) -> list[str]:
    return [field.attname for field in model._meta.concrete_fields]


def converse(verbs: Verbs, external_id: str, text: str, user: str = "u1", **changes: Any) -> None:
    """A question, answered and sent, with all that a turn can bring."""
    verbs.take_in(inbound(external_id, text, user, **changes))
    verbs.answer(
        verbs.claim_one(),
        f"re {text}",
        parts=[Part(f"re {text}"), Part("more")],
        agent="one",
        usage={"tokens": 3},
        events=[{"type": "tool_call", "name": "look"}],
        attachments=[{"kind": "image", "name": "plot.png", "mime": "image/png", "size": 5}],
    )
    while claims := verbs.send():
        verbs.finish_deliveries([sent(claim, f"r-{external_id}") for claim in claims])


def some_conversations(verbs: Verbs, clock: Clock) -> None:
    """Three people; files, a silence, a failure, an edit, a name, notes; one comes back."""
    photo = Media(kind="image", handle="file-1", mime="image/jpeg", name="cat.jpg", size=123)
    quote = Quote("what was it?", "Bo", "0")
    words = "hello\nאבג 🐈 \u2028 <b>"
    more = {"media": (photo,) * 4, "aliases": ("+49",), "quote": quote, "forwarded": "Zoe"}
    converse(verbs, "1", words, sender_name="Ada", **more)
    _files_of_every_kind()
    clock.advance(10)
    converse(verbs, "2", "second", "u1")
    verbs.take_in(inbound("2", "second, better", "u1", is_edit=True))
    verbs.take_in(inbound("3", "no answer wanted", "u2"))
    verbs.answer(verbs.claim_one(), "", silent=True)
    verbs.take_in(inbound("4", "this fails", "u3"))
    turn = verbs.claim_one()
    verbs.finish_turns([_failed(turn)])
    verbs.finish_deliveries([sent(claim) for claim in verbs.send()])
    Contact.objects.filter(user_id="u1").update(
        access="allowed", preferences={"tone": "kind"}, notes={"a": [1, None]}
    )
    Message.objects.filter(text="re second").update(generated=True, origin="schedule")
    Session.objects.filter(scope_key="user:u1").update(context={"topic": {"x": 1.5}})


def _files_of_every_kind() -> None:
    """What can have become of a file: kept, given up, deleted after its time, a link."""
    kept, failed, pruned, _ = Attachment.objects.filter(message__role="user").order_by("pk")
    fields: list[tuple[Attachment, dict[str, Any]]] = [
        (kept, {"state": "stored", "path": KEPT, "attempts": 1}),
        (failed, {"state": "failed", "error": "the platform has it no more", "attempts": 3}),
        (pruned, {"state": "pruned", "path": KEPT.replace("0", "f"), "attempts": 1}),
    ]
    for file, changes in fields:
        Attachment.objects.filter(pk=file.pk).update(**changes)


def _failed(turn: Any) -> Any:
    from gateway.ledger.records import FinishedTurn

    return FinishedTurn(
        turn,
        "failed",
        notice="Sorry.",
        parts=[Part("Sorry.")],
        partial="half an",
        error_code="timeout",
    )


def end_all(clock: Clock) -> None:
    """Every session ends now."""
    Session.objects.exclude(state="terminated").update(state="terminated", ended_at=clock())


def wipe() -> None:
    """An empty database."""
    Session.objects.all().delete()
    Contact.objects.all().delete()
    assert not any(snapshot().values())


def write_archive(data_dir: Path) -> list[Path]:
    """What the gateway does about sessions that have ended. The files."""
    held = Held()
    while archive_ended(archive_folder(data_dir), held):
        pass
    return sorted(archive_folder(data_dir).rglob("*.json"))


def write_mirror(data_dir: Path) -> list[Path]:
    """What the gateway does once in a while with OPENCLAW_JSON=mirror. The files."""
    held = Held()
    while mirror_changed(mirror_folder(data_dir), held):
        pass
    return sorted(mirror_folder(data_dir).rglob("*.jsonl"))


def restore(*arguments: str, **options: Any) -> str:
    """`manage.py restore_sessions`: what it says, bad lines too."""
    out = io.StringIO()
    call_command("restore_sessions", *arguments, stdout=out, stderr=out, **options)
    return out.getvalue()


def export(path: Path, *arguments: str) -> list[dict[str, Any]]:
    """`manage.py export_sessions` to a file: its lines."""
    call_command("export_sessions", "--output", str(path), *arguments, stderr=io.StringIO())
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]
