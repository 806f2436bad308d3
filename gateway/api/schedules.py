"""/schedules: what is planned; of agents and of programs."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from django.http import HttpRequest, HttpResponse
from ninja import Router, Schema, Status
from pydantic import Field, StringConstraints

from gateway.api.callers import Agent, Caller, Either, Token, caller_of, within
from gateway.api.conversations import Conversation, Naming, contact_of, named
from gateway.api.once import key_of, once
from gateway.api.pages import DEFAULT, Cursor, Limit, Page, Word, page
from gateway.api.problems import Problem, missing
from gateway.api.shapes import ScheduleOut, schedule_out
from gateway.ledger.reminding import timezone_of
from gateway.ledger.schedules import (
    MAX_TEXT,
    NewSchedule,
    ScheduleError,
    TooMany,
    add_schedule,
    cancel_schedule,
)
from gateway.models import Occurrence, Schedule
from gateway.schedules.when import BadTiming

router = Router(tags=["schedules"])
READ, WRITE = Either("schedules:read"), Either("schedules:write")

EXAMPLE: dict[str, Any] = {"kind": "cron", "spec": "0 9 * * *", "prompt": "Tell me what is new."}
WHOSE: dict[str, Any] = {"channel": "webchat", "user_id": "guest_1"}

Text = Annotated[str, StringConstraints(max_length=MAX_TEXT, pattern=r"^[^\x00]*$")]


class ScheduleIn(Naming):
    """What is to be planned. An agent names no conversation: it has one."""

    model_config = {"json_schema_extra": {"examples": [EXAMPLE, EXAMPLE | WHOSE]}}

    kind: Literal["cron", "every", "at"]
    spec: Word = Field(description="0 9 * * *, or seconds, or 2030-01-31T09:00.")
    timezone: Word = Field("", description="Europe/Paris; else the person's.")
    text: Text = Field("", description="Sent as it stands.")
    prompt: Text = Field("", description="Put to the agent, whose answer is sent.")
    catch_up: Literal["skip", "once", "all"] = "once"
    idempotency_key: Word | None = None


class OccurrenceOut(Schema):
    """One time that a schedule was due."""

    id: int
    due_at: datetime
    state: str = Field(description="claimed (under way), ran, failed or skipped.")
    reason: str
    turn: str | None
    message: int | None
    ended_at: datetime | None


@router.get("", response=Page[ScheduleOut], auth=READ)
def list_schedules(
    request: HttpRequest,
    channel: Word = "",
    user_id: Word = "",
    limit: Limit = DEFAULT,
    cursor: Cursor = "",
) -> dict[str, Any]:
    """What is planned and not over, newest first; for an agent, in its own conversation."""
    rows = _reach(caller_of(request)).exclude(next_run=None)
    wanted = {"channel": channel, "contact__user_id": user_id}
    rows = rows.filter(**{name: value for name, value in wanted.items() if value})
    found, following = page(rows, limit, cursor)
    return {"items": [schedule_out(row) for row in found], "next": following}


@router.post("", response={201: ScheduleOut}, auth=WRITE)
def create_schedule(request: HttpRequest, asked: ScheduleIn) -> HttpResponse:
    """Plan a text or a prompt. An agent plans in its own conversation."""
    caller = caller_of(request)
    conversation = named(caller, asked)
    key = key_of(request, asked.idempotency_key)
    try:
        return once(request, key, asked, lambda: _add(caller, conversation, asked))
    except TooMany as error:
        raise Problem(409, _sentence(error)) from None
    except (BadTiming, ScheduleError) as error:
        raise Problem(422, _sentence(error)) from None


@router.get("/{schedule_id}", response=ScheduleOut, auth=READ)
def get_schedule(request: HttpRequest, schedule_id: Word) -> ScheduleOut:
    """One schedule, also one that is over."""
    return schedule_out(_schedule(caller_of(request), schedule_id))


@router.get(
    "/{schedule_id}/occurrences", response=Page[OccurrenceOut], auth=Token("schedules:read")
)
def list_occurrences(
    request: HttpRequest, schedule_id: Word, limit: Limit = DEFAULT, cursor: Cursor = ""
) -> dict[str, Any]:
    """Each time it was due and what came of it, newest first."""
    schedule = _schedule(caller_of(request), schedule_id)
    found, following = page(Occurrence.objects.filter(schedule=schedule), limit, cursor)
    return {"items": [_occurrence_out(row) for row in found], "next": following}


@router.delete("/{schedule_id}", response={204: None}, auth=WRITE)
def delete_schedule(request: HttpRequest, schedule_id: Word) -> Status[None]:
    """Cancel it; what it did stays on record."""
    caller = caller_of(request)
    schedule = _schedule(caller, schedule_id)
    where = (schedule.channel, schedule.scope_key)
    if cancel_schedule(caller.name, schedule.pk, within=where) is None:
        raise missing("schedule")
    return Status(204, None)


def _add(caller: Caller, conversation: Conversation, asked: ScheduleIn) -> ScheduleOut:
    contact = contact_of(conversation)
    direct = not conversation.scope_key.startswith("chat:")
    known = contact.preferences if direct and isinstance(contact.preferences, dict) else {}
    new = NewSchedule(
        contact=contact.pk,
        channel=conversation.channel,
        scope_key=conversation.scope_key,
        chat_id=conversation.chat_id,
        kind=asked.kind,
        spec=asked.spec,
        timezone=asked.timezone or timezone_of(known),
        text=asked.text,
        prompt=asked.prompt,
        catch_up=asked.catch_up,
        target=conversation.target,
    )
    return schedule_out(add_schedule(caller.name, new))


def _reach(caller: Caller) -> Any:
    return Schedule.objects.filter(**within(caller))


def _schedule(caller: Caller, schedule_id: str) -> Schedule:
    found = _reach(caller).filter(pk=schedule_id).first()
    # to an agent, what is over is gone
    if found is None or (isinstance(caller, Agent) and found.next_run is None):
        raise missing("schedule")
    return found  # type: ignore[no-any-return]


def _occurrence_out(row: Occurrence) -> OccurrenceOut:
    return OccurrenceOut(
        id=row.pk,
        due_at=row.due_at,
        state=row.state,
        reason=row.reason,
        turn=row.turn or None,
        message=row.message_id,
        ended_at=row.ended_at,
    )


def _sentence(error: Exception) -> str:
    said = str(error)
    return f"{said[:1].upper()}{said[1:]}."
