"""POST /messages: say something to a person, or put a question to their agent."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from ninja import Router, Schema
from pydantic import Field, StringConstraints

from gateway.api.callers import Caller, Token, caller_of
from gateway.api.conversations import Conversation, Naming, named
from gateway.api.once import answered, key_of, once
from gateway.api.pages import Word
from gateway.api.problems import Problem
from gateway.http import make_trust
from gateway.ledger.outreach import NotAdmitted, Outreach, reach_out
from gateway.media.desk import make_store
from gateway.media.guard import Fetcher
from gateway.media.intake import MAX_FILES, Intake
from gateway.models import Audit
from sessions_app import clock

router = Router(tags=["messages"])

MAX_TEXT = 20_000
EXAMPLE: dict[str, Any] = {
    "channel": "webchat",
    "user_id": "guest_1",
    "text": "Your order is on its way.",
}
Text = Annotated[str, StringConstraints(max_length=MAX_TEXT, pattern=r"^[^\x00]*$")]


class FileIn(Schema):
    """A file by its URL: fetched now, kept, and sent along."""

    model_config = {"extra": "forbid"}

    url: Annotated[str, StringConstraints(max_length=700_000, min_length=1)] = Field(
        description="http, https or data: on the public internet."
    )
    kind: Word = Field("", description="image, video, audio, voice or file; else by content.")
    name: Word = ""


class MessageIn(Naming):
    """A message, and whose conversation it goes into."""

    model_config = {"json_schema_extra": {"examples": [EXAMPLE, EXAMPLE | {"as": "user"}]}}

    text: Text = ""
    speaker: Literal["assistant", "user"] = Field(
        "assistant",
        alias="as",
        description="assistant: the text is sent. user: the agent is asked, its answer is sent.",
    )
    attachments: list[FileIn] = Field([], max_length=MAX_FILES)
    idempotency_key: Word | None = None


class MessageAccepted(Schema):
    """What became of it. Nothing of it was sent yet: that the deliveries tell."""

    session: str
    message: int | None
    turn: str | None = Field(description="The call of the agent that it caused.")
    deliveries: list[str] = Field(description="The parts that go out.")


@router.post("", response={201: MessageAccepted}, auth=Token("messages:write"))
def post_message(request: HttpRequest, asked: MessageIn) -> HttpResponse:
    """Say something to a person, or put a question to their agent in their name.

    A session is made where none is open. Who may not write is not written to (403).
    """
    if asked.speaker == "user" and asked.attachments:
        raise Problem(422, "A question cannot have attachments.")
    if not asked.text.strip() and not asked.attachments:
        raise Problem(422, "It says nothing: give it a text.")
    caller = caller_of(request)
    conversation = named(caller, asked)
    if conversation.channel not in settings.OPENCLAW_CHANNELS:
        raise Problem(409, "The channel of this conversation is not enabled.")
    key = key_of(request, asked.idempotency_key)
    if before := answered(request, key, asked):  # before anything is fetched
        return before
    files = _fetched(asked.attachments)
    try:
        return once(request, key, asked, lambda: _reach(caller, conversation, asked, files))
    except NotAdmitted as error:
        raise Problem(403, f"This person may not be written to: {error}.") from None


def _reach(
    caller: Caller, conversation: Conversation, asked: MessageIn, files: Sequence[dict[str, Any]]
) -> MessageAccepted:
    asks, now = asked.speaker == "user", clock.now()
    reached = reach_out(
        Outreach(
            channel=conversation.channel,
            scope_key=conversation.scope_key,
            user_id=conversation.user_id,
            chat_id=conversation.chat_id,
            target=conversation.target,
            # as the operator's word it stays in the history that agents are shown
            origin="user" if asks else "operator",
            text="" if asks else asked.text,
            prompt=asked.text if asks else "",
            attachments=files,
        ),
        now,
    )
    action, detail = "ask_agent" if asks else "send_message", {"message": reached.message}
    Audit.objects.create(
        at=now, actor=caller.name[:150], action=action, row=reached.session, detail=detail
    )
    return MessageAccepted(
        session=reached.session,
        message=reached.message,
        turn=reached.turn or None,
        deliveries=list(reached.deliveries),
    )


def _fetched(attachments: Sequence[FileIn]) -> list[dict[str, Any]]:
    """The files, kept here. Raises `Problem` 422 for one that cannot be had."""
    if not attachments:
        return []
    seconds = settings.OPENCLAW_MEDIA_FETCH_SECONDS
    intake = Intake(make_store(), Fetcher(make_trust()), seconds)
    # a loop of this thread's own: the gateway's is left alone
    files = asyncio.run(intake.take([one.dict() for one in attachments], ""))
    failed = [
        {"field": f"attachments.{number}.url", "message": str(file["error"])}
        for number, file in enumerate(files)
        if file.get("error")
    ]
    if failed:
        raise Problem(422, "An attachment cannot be had.", failed)
    return files
