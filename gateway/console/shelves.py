"""What waits for a person, on four shelves: each lists its kinds and its rows, and can be emptied.

A kind is everything on a shelf with the same channel and the same error code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, F, Min, Model, OuterRef, QuerySet, Subquery, Window
from django.db.models.functions import Coalesce, RowNumber
from django.urls import reverse

from gateway.console import reasons
from gateway.console.reasons import Reason
from gateway.ledger import operate
from gateway.ledger.set_aside import discard_set_aside
from gateway.models import Delivery, SetAside, Turn
from gateway.traces import merged
from sessions_app import clock
from sessions_app.models import Message, Session
from sessions_app.sql import dumps

MANY = 1000
"""Failed turns looked at; and where the count beside the navigation stops."""

NO_CODE = "-"
"""In addresses and forms: the kind without a code. An empty one stands for any."""

DEAD = (Delivery.State.FAILED, Delivery.State.EXPIRED, Delivery.State.UNSURE)
DAY = timedelta(days=1)

Act = Callable[[str, Sequence[Any]], int]
"""(name of the operator, keys of rows) -> how many were changed."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a trace: when (as written), what, and more."""

    at: str
    what: str
    detail: str


@dataclass(frozen=True, slots=True)
class Item:
    """One row of a shelf, ready to be shown."""

    key: str
    url: str
    who: str
    chat_id: str
    session_url: str
    text: str
    since: datetime
    detail: str
    attempts: int
    state: str
    note: str = ""
    trace: Sequence[Entry] = ()
    payload: str = ""


@dataclass(slots=True)
class Kind:
    """Everything on one shelf with the same channel and code (`NO_CODE` where it has none).

    `items` are its newest.
    """

    shelf: Shelf
    channel: str
    code: str
    count: int
    since: datetime | None
    items: list[Item] = field(default_factory=list)

    @property
    def reason(self) -> Reason:
        """Why these wait."""
        return self.shelf.why(self.code)

    @property
    def anchor(self) -> str:
        """An id within the page."""
        return "-".join(filter(None, ("kind", self.shelf.name, self.channel, self.code)))


@dataclass(frozen=True, slots=True)
class Shelf:
    """One sort of thing that waits, and what can be done with it.

    `channel` and `code` are the fields that make the kind (`code` may be empty),
    `since` says when it came to stand here; `rows` is what stands here, `whole` what
    is shown of it. `retry` and `discard` are None where that makes no sense.
    """

    name: str
    one: str
    many: str
    model: type[Model]
    rows: Callable[[], QuerySet[Any]]
    whole: Callable[[], QuerySet[Any]]
    show: Callable[[Any], Item]
    reason: Callable[[str], Reason]
    channel: str
    code: str
    since: str
    retry: Act | None = None
    discard: Act | None = None

    @property
    def permission(self) -> str:
        """Who may see it."""
        names = self.model._meta
        return f"{names.app_label}.view_{names.model_name}"

    @property
    def retries(self) -> bool:
        """Whether its things can be tried again. (A template would call `retry` itself.)"""
        return self.retry is not None

    @property
    def discards(self) -> bool:
        """Whether its things can be let go."""
        return self.discard is not None

    def of_kind(self, channel: str, code: str) -> QuerySet[Any]:
        """The rows of one kind; an empty value stands for all."""
        found = self.rows()
        if channel:
            found = found.filter(**{self.channel: channel})
        return found.filter(**{self.code: _plain(code)}) if code and self.code else found

    def why(self, code: str) -> Reason:
        """What is said of one kind."""
        return self.reason(_plain(code))

    def kinds(self, channel: str = "", code: str = "") -> list[Kind]:
        """Each kind with its count and how long it has been waiting, most first. One query."""
        names = [self.channel, self.code] if self.code else [self.channel]
        grouped = (
            self.of_kind(channel, code)
            .order_by()
            .values_list(*names)
            .annotate(count=Count("pk"), first=Min(self.since))
            .order_by("-count")
        )
        return [
            Kind(self, row[0], (row[1] or NO_CODE) if self.code else "", row[-2], row[-1])
            for row in grouped
        ]

    def fill(self, kinds: Sequence[Kind], each: int) -> None:
        """Give each kind its newest rows. Two queries, however many kinds there are."""
        if not kinds:
            return
        names = [self.channel, self.code] if self.code else [self.channel]
        place = Window(
            RowNumber(), partition_by=[F(name) for name in names], order_by=F("pk").desc()
        )
        newest = self.rows().order_by().annotate(place=place).filter(place__lte=each)
        places: dict[Any, tuple[str, str]] = {
            row[0]: (row[1], (row[2] or NO_CODE) if self.code else "")
            for row in newest.values_list("pk", *names)
        }
        shown = {(kind.channel, kind.code): kind for kind in kinds}
        for row in self.whole().filter(pk__in=list(places)).order_by("-pk"):
            if kind := shown.get(places[row.pk]):
                kind.items.append(self.show(row))

    def page(self, channel: str, code: str, before: str, size: int) -> tuple[list[Item], str]:
        """The next rows of a kind below the key `before`, and the key to go on with or ""."""
        found = self.of_kind(channel, code)
        if before:
            found = found.filter(pk__lt=before)
        keys = list(found.order_by("-pk").values_list("pk", flat=True)[: size + 1])
        rows = self.whole().filter(pk__in=keys[:size]).order_by("-pk")
        return [self.show(row) for row in rows], str(keys[size - 1]) if len(keys) > size else ""


def _plain(code: str) -> str:
    return "" if code == NO_CODE else code


def letters() -> QuerySet[Delivery]:
    """Parts that were not sent, or may not have been, and are not discarded."""
    dead = Delivery.objects.filter(state__in=DEAD).exclude(error_code=operate.DISCARDED)
    return dead.annotate(since=Coalesce("failed_at", "created_at"))


def quarantined() -> QuerySet[Turn]:
    """Turns that are suspected of ending the gateway."""
    found = Turn.objects.filter(state=Turn.State.QUARANTINED)
    return found.annotate(since=Coalesce("ended_at", "queued_at"))


def failed() -> QuerySet[Turn]:
    """Turns that failed within a day, the newest `MANY` of them."""
    since = clock.now() - DAY
    newest = Turn.objects.filter(state=Turn.State.FAILED, ended_at__gt=since).exclude(
        error_code="quarantined"  # an operator let it go
    )
    return Turn.objects.filter(pk__in=newest.order_by("-ended_at")[:MANY].values("pk"))


def aside() -> QuerySet[SetAside]:
    """Payloads that could not be read."""
    return SetAside.objects.all()


def _who(session: Session | None) -> tuple[str, str]:
    if session is None:
        return "", ""
    return str(session.contact), reverse("admin:sessions_app_session_change", args=[session.pk])


def _entries(rows: Any) -> list[Entry]:
    """A trace or a list of an agent's events, each told in one line."""
    return [_entry(row) for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _entry(row: Mapping[str, Any]) -> Entry:
    what = next((str(row[name]) for name in ("result", "kind", "type") if row.get(name)), "")
    rest = {name: row[name] for name in row if name not in ("at", "result", "kind", "type")}
    detail = rest["detail"] if list(rest) == ["detail"] else dumps(rest) if rest else ""
    return Entry(str(row.get("at", "")), what.replace("_", " "), str(detail))


def _beside(extra: Mapping[str, Any]) -> str:
    """What a part without a text carries, in words."""
    if file := extra.get("file"):
        return f"{file.get('kind')}: {file.get('name')}"
    if place := extra.get("location"):
        return f"location: {place.get('latitude')}, {place.get('longitude')}"
    return ""


def _letter(row: Delivery) -> Item:
    who, session_url = _who(row.session)
    return Item(
        key=str(row.pk),
        url=reverse("admin:gateway_delivery_change", args=[row.pk]),
        who=who,
        chat_id=row.chat_id,
        session_url=session_url,
        text=row.text or _beside(row.extra),
        since=row.failed_at or row.created_at,
        detail=row.error_detail,
        attempts=row.attempts,
        state=row.state,
        note="may have arrived before" if row.repeated else "",
        trace=_entries(row.trace),
    )


def _whole_turns() -> QuerySet[Turn]:
    """Turns with whom they are about and what was asked."""
    asked = Message.objects.filter(
        session=OuterRef("session"), seq__lte=OuterRef("upto_seq"), role=Message.Role.USER
    )
    question = Subquery(asked.order_by("-seq").values("text")[:1])
    return Turn.objects.select_related("session__contact", "agent").annotate(question=question)


def _turn(row: Any) -> Item:
    who, session_url = _who(row.session)
    return Item(
        key=str(row.pk),
        url=reverse("admin:gateway_turn_change", args=[row.pk]),
        who=who,
        chat_id=row.session.chat_id,
        session_url=session_url,
        text=row.question or "",
        since=row.ended_at or row.started_at or row.queued_at,
        detail=row.error_detail,
        attempts=row.attempts,
        state=row.state,
        note=f"agent {row.agent.name}" if row.agent else "",
        trace=_entries(merged(row.events)),
    )


def _aside(row: SetAside) -> Item:
    return Item(
        key=str(row.pk),
        url=reverse("admin:gateway_setaside_change", args=[row.pk]),
        who="",
        chat_id=row.external_id,
        session_url="",
        text=row.reason,
        since=row.created_at,
        detail="",
        attempts=0,
        state="set aside",
        payload=row.payload,
    )


SHELVES = {
    shelf.name: shelf
    for shelf in (
        Shelf(
            name="letters",
            one="dead letter",
            many="dead letters",
            model=Delivery,
            rows=letters,
            whole=lambda: Delivery.objects.select_related("session__contact"),
            show=_letter,
            reason=reasons.of_delivery,
            channel="channel",
            code="error_code",
            since="since",
            retry=operate.retry_deliveries,
            discard=operate.discard_deliveries,
        ),
        Shelf(
            name="quarantined",
            one="quarantined turn",
            many="quarantined turns",
            model=Turn,
            rows=quarantined,
            whole=_whole_turns,
            show=_turn,
            reason=lambda code: reasons.of_turn("quarantined"),
            channel="session__channel",
            code="",
            since="since",
            retry=operate.requeue_turns,
            discard=operate.discard_turns,
        ),
        Shelf(
            name="aside",
            one="payload set aside",
            many="payloads set aside",
            model=SetAside,
            rows=aside,
            whole=SetAside.objects.all,
            show=_aside,
            reason=lambda code: reasons.SET_ASIDE,
            channel="channel",
            code="",
            since="created_at",
            discard=discard_set_aside,
        ),
        Shelf(
            name="failed",
            one="failed turn of the last day",
            many="failed turns of the last day",
            model=Turn,
            rows=failed,
            whole=_whole_turns,
            show=_turn,
            reason=reasons.of_turn,
            channel="session__channel",
            code="error_code",
            since="ended_at",
            retry=operate.requeue_turns,
        ),
    )
}

WAITING = ("letters", "quarantined", "aside")
"""The shelves whose things wait until a person decides; failed turns only tell."""
