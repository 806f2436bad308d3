"""/contacts: people, and what is known about them. Who may write is not decided here."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from django.http import HttpRequest
from ninja import Path, Router

from gateway.api.callers import Agent, Caller, Token, caller_of
from gateway.api.documents import change_person
from gateway.api.pages import DEFAULT, MAX_ID, Cursor, Limit, Page, Word, page
from gateway.api.problems import missing
from gateway.api.shapes import ContactOut, Document, Patch, contact_out, document
from sessions_app.models import Contact

router = Router(tags=["contacts"])
READ, WRITE = Token("contacts:read"), Token("contacts:write")

Access = Literal["", "pending", "allowed", "blocked"]
ContactId = Annotated[int, Path(ge=1, le=MAX_ID)]


@router.get("", response=Page[ContactOut], auth=READ)
def list_contacts(
    request: HttpRequest,
    channel: Word = "",
    user_id: Word = "",
    access: Access = "",
    limit: Limit = DEFAULT,
    cursor: Cursor = "",
) -> dict[str, Any]:
    """People, newest first."""
    wanted = {"channel": channel, "user_id": user_id, "access": access}
    rows = Contact.objects.filter(**_within(caller_of(request)))
    rows = rows.filter(**{name: value for name, value in wanted.items() if value})
    found, following = page(rows, limit, cursor)
    return {"items": [contact_out(row) for row in found], "next": following}


@router.get("/{contact_id}", response=ContactOut, auth=READ)
def get_contact(request: HttpRequest, contact_id: ContactId) -> ContactOut:
    """One person."""
    return contact_out(_contact(caller_of(request), contact_id))


@router.get("/{contact_id}/preferences", response=Document, auth=READ)
def get_preferences(request: HttpRequest, contact_id: ContactId) -> Document:
    """A person's preferences."""
    return document(_contact(caller_of(request), contact_id).preferences)


@router.patch("/{contact_id}/preferences", response=Document, auth=WRITE)
def patch_contact_preferences(
    request: HttpRequest, contact_id: ContactId, patch: Patch
) -> Document:
    """Merge into them; null deletes. Answers all of them."""
    caller = caller_of(request)
    return change_person(caller.name, _contact(caller, contact_id).pk, "preferences", patch)


@router.get("/{contact_id}/notes", response=Document, auth=READ)
def get_notes(request: HttpRequest, contact_id: ContactId) -> Document:
    """The notes about a person."""
    return document(_contact(caller_of(request), contact_id).notes)


@router.patch("/{contact_id}/notes", response=Document, auth=WRITE)
def patch_contact_notes(request: HttpRequest, contact_id: ContactId, patch: Patch) -> Document:
    """Merge into them; null deletes. Answers all of them."""
    caller = caller_of(request)
    return change_person(caller.name, _contact(caller, contact_id).pk, "notes", patch)


def _within(caller: Caller) -> dict[str, Any]:
    if isinstance(caller, Agent):
        return {"pk": None}
    return {"pk": caller.contact.pk} if caller.contact else {}


def _contact(caller: Caller, contact_id: int) -> Contact:
    if found := Contact.objects.filter(**_within(caller)).filter(pk=contact_id).first():
        return found
    raise missing("person")
