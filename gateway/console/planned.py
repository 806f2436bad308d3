"""Planned sends, as operators see, make and change them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.db.models import OuterRef, Subquery
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join

from gateway.console.actions import Operable, action
from gateway.ledger.schedules import (
    ScheduleError,
    arrange,
    check_room,
    disable_schedules,
    enable_schedules,
    wake,
)
from gateway.models import Occurrence, Schedule
from gateway.schedules.when import BadTiming
from gateway.schedules.words import local, rhythm
from sessions_app import clock
from sessions_app.admin import ChannelFilter, ModelAdmin, ReadOnly, shorten
from sessions_app.lists import Fast, ago, chip
from sessions_app.models import Message, Session

if TYPE_CHECKING:
    ScheduleModelForm = forms.ModelForm[Schedule]
else:
    ScheduleModelForm = forms.ModelForm

SHOWN = 20
"""Occurrences that a schedule's page shows; the rest are a list of their own."""

LOOKS = {"claimed": "running", "ran": "done", "failed": "failed", "skipped": "waiting"}
"""state of an occurrence -> its look."""


class ScheduleForm(ScheduleModelForm):
    """When, and what; for a new one also whose."""

    session = forms.CharField(
        required=False,
        max_length=40,
        help_text="A session's id, where it should go into that one's chat. "
        "Empty: into the person's direct chat.",
    )

    class Meta:
        model = Schedule
        fields = (
            "contact",
            "kind",
            "spec",
            "timezone",
            "text",
            "prompt",
            "catch_up",
            "enabled",
        )

    def _get_validation_exclusions(self) -> set[str]:
        """What the database wants of these two, `arrange` asks for in better words."""
        excluded: set[str] = super()._get_validation_exclusions()  # type: ignore[misc]  # untyped
        return excluded | {"text", "prompt"}

    def _post_clean(self) -> None:
        """The same checks as for those that agents and people make, and the next time."""
        super()._post_clean()  # type: ignore[misc]  # Django's stubs leave it out
        if self.errors:
            return
        schedule: Schedule = self.instance
        adding = schedule._state.adding
        before = None if adding else Schedule.objects.get(pk=schedule.pk)
        try:
            if adding:
                self._settle_place(schedule)
                check_room(schedule)
            arrange(schedule, before, clock.now())
        except BadTiming as error:
            self.add_error("spec", str(error))
        except ScheduleError as error:
            self.add_error(None, str(error))

    def _settle_place(self, schedule: Schedule) -> None:
        """Which conversation it goes into. Raises `ScheduleError`."""
        session = self._session(schedule)
        schedule.channel, schedule.scope_key = session.channel, session.scope_key
        schedule.chat_id = session.chat_id
        if not session.scope_key.startswith("user:"):  # in a group the way there is not all
            heard = Message.objects.filter(session=session, role="user").exclude(target={})
            last = heard.order_by("-seq").values_list("target", flat=True).first()
            schedule.target = last or {"chat_id": session.chat_id, "is_group": True}

    def _session(self, schedule: Schedule) -> Session:
        chosen = str(self.cleaned_data.get("session") or "").strip()
        mine = Session.objects.filter(channel=schedule.contact.channel)
        if chosen:
            found = mine.filter(pk=chosen).first()
            lacking = f"there is no session {chosen} on this person's channel"
        else:
            direct = f"user:{schedule.contact.user_id}"
            found = mine.filter(scope_key=direct).order_by("-pk").first()
            lacking = "this person has never written in a direct chat: name a session"
        if found is None:
            raise ScheduleError(lacking)
        return found


enable = action(enable_schedules, "Switch the selected schedules on", "switched on")
disable = action(disable_schedules, "Switch the selected schedules off", "switched off")


class ScheduleAdmin(Operable, Fast, ModelAdmin[Schedule]):
    """Planned sends: whose, what, how often, when next, and what came of the last time."""

    form = ScheduleForm
    actions = (enable, disable)
    list_display = ("what", "person", "often", "upcoming", "last", "standing")
    list_filter = ("enabled", "kind", ChannelFilter)
    list_select_related = ("contact",)
    search_fields = ("=id", "text", "prompt", "contact__name", "contact__user_id")
    search_help_text = "A schedule's id, or part of what it says, of a name or of a person's id."
    ordering = ("-id",)
    raw_id_fields = ("contact",)
    when_empty = "What agents, people (/remind) and operators plan appears here."

    PLACE = ("contact", "channel", "chat_id")
    WHAT = ("text", "prompt", "kind", "spec", "timezone", "catch_up", "enabled")
    FACTS = ("upcoming", "often", "created_by", "created_at", "history")

    def get_fields(self, request: HttpRequest, obj: Schedule | None = None) -> tuple[str, ...]:
        """A new one needs its place; of one that is there, that is fixed."""
        return ("contact", "session", *self.WHAT) if obj is None else (*self.PLACE, *self.WHAT)

    def get_fieldsets(self, request: HttpRequest, obj: Schedule | None = None) -> Any:
        """Below the fields what is known of it."""
        fields = [(None, {"fields": self.get_fields(request, obj)})]
        return fields if obj is None else [*fields, ("What it does", {"fields": self.FACTS})]

    def get_readonly_fields(
        self, request: HttpRequest, obj: Schedule | None = None
    ) -> tuple[str, ...]:
        """Where it goes was settled when it was made."""
        return () if obj is None else (*self.PLACE, *self.FACTS)

    def save_model(self, request: HttpRequest, obj: Schedule, form: Any, change: bool) -> None:
        """Store it, and wake the worker if it is due soon."""
        if not change:
            obj.created_by = request.user.get_username()
        super().save_model(request, obj, form, change)
        wake(obj, clock.now())

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Its occurrences go with it, without being counted: there may be very many."""
        needed = set() if self.has_delete_permission(request) else {"schedule"}
        names = [f"{one} and what is known of its occurrences" for one in objs]
        return names, {"schedules": len(names)}, needed, []

    def complete(self, rows: Sequence[Schedule]) -> None:
        """The last occurrence of each row, in two queries."""
        newest = Occurrence.objects.filter(schedule=OuterRef("pk")).order_by("-due_at")
        wanted = Schedule.objects.filter(pk__in=[row.pk for row in rows])
        ids = wanted.values_list(Subquery(newest.values("pk")[:1]), flat=True)
        found = {one.schedule_id: one for one in Occurrence.objects.filter(pk__in=list(ids))}
        for row in rows:
            row.last_occurrence = found.get(row.pk)  # type: ignore[attr-defined]  # for `last`

    @admin.display(description="what")
    def what(self, schedule: Schedule) -> str:
        """What it says, or what it asks the agent."""
        asks = "" if schedule.text else "asks: "
        said = shorten(schedule.text or schedule.prompt)
        return format_html('<bdi class="words">{}{}</bdi>', asks, said)

    @admin.display(description="to")
    def person(self, schedule: Schedule) -> str:
        """Who it is for, and where where that is a group."""
        group = " in a group" if schedule.scope_key.startswith("chat:") else ""
        where = f"{schedule.channel}{group}"
        return format_html('<bdi>{}</bdi> <span class="quiet">{}</span>', schedule.contact, where)

    @admin.display(description="how often")
    def often(self, schedule: Schedule) -> str:
        """In words."""
        return rhythm(schedule.kind, schedule.spec)

    @admin.display(description="next")
    def upcoming(self, schedule: Schedule) -> str:
        """When it is due, in its own time zone."""
        if schedule.next_run is None:
            return "over"
        when = local(schedule.next_run, schedule.timezone)
        return when if schedule.enabled else f"{when}, but switched off"

    @admin.display(description="last time")
    def last(self, schedule: Schedule) -> str:
        """What came of it."""
        last: Occurrence | None = getattr(schedule, "last_occurrence", None)
        return format_html("{} {}", ago(last.due_at), _state(last)) if last else "–"

    @admin.display(description="state")
    def standing(self, schedule: Schedule) -> str:
        """Whether it goes on."""
        if schedule.next_run is None:
            return chip("done", "over")
        return chip("running", "on") if schedule.enabled else chip("waiting", "off")

    @admin.display(description="occurrences")
    def history(self, schedule: Schedule) -> str:
        """The newest occurrences, and a way to all."""
        rows = schedule.occurrences.order_by("-due_at")[:SHOWN]
        page = reverse("admin:gateway_occurrence_changelist")
        shown = format_html_join(
            "", "{} {} {}<br>", ((ago(row.due_at), _state(row), row.reason) for row in rows)
        )
        link = f"{page}?schedule__id__exact={schedule.pk}"
        return format_html('{}<a href="{}">all of them</a>', shown, link)


class OccurrenceAdmin(Fast, ReadOnly, ModelAdmin[Occurrence]):
    """Each time a schedule was due, and what came of it."""

    list_display = ("due", "what", "person", "standing", "reason")
    list_filter = ("state",)
    list_select_related = ("schedule__contact",)
    search_fields = ("=schedule", "reason")
    search_help_text = "A schedule's id, or words of a reason among the newest 20,000."
    ordering = ("-id",)
    when_empty = "Each time a schedule is due appears here, also where nothing was sent."

    @admin.display(description="due")
    def due(self, occurrence: Occurrence) -> str:
        """In the schedule's own time zone."""
        return local(occurrence.due_at, occurrence.schedule.timezone)

    @admin.display(description="what")
    def what(self, occurrence: Occurrence) -> str:
        """What the schedule says or asks today."""
        schedule = occurrence.schedule
        said = shorten(schedule.text or schedule.prompt)
        page = reverse("admin:gateway_schedule_change", args=(schedule.pk,))
        return format_html('<a href="{}"><bdi class="words">{}</bdi></a>', page, said)

    @admin.display(description="to")
    def person(self, occurrence: Occurrence) -> str:
        """Who it is for."""
        return format_html("<bdi>{}</bdi>", occurrence.schedule.contact)

    @admin.display(description="state")
    def standing(self, occurrence: Occurrence) -> str:
        """A mark and a word."""
        return _state(occurrence)


def _state(occurrence: Occurrence) -> str:
    return chip(LOOKS[occurrence.state], occurrence.get_state_display())
