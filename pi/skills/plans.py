"""Reminders and planned tasks, as people ask for them."""

from __future__ import annotations

import re
from datetime import datetime

from pi.skills import Call
from pi.tools import ToolError
from pi.tools.dates import Clock
from pi.tools.schedules import WHEN
from pi.tools.written_dates import MONTHS, WEEKDAYS
from pi.tools.written_times import Timing, read_timing

WHAT = "What shall I remind you of? For example: `remind me tomorrow at 9 to call Ana`."
MAX_SPAN = 9

_ASKED = re.compile(
    r"(?:(?:remind|ping|nudge|alert) me|(?P<wake>wake me(?: up)?)|(?:set|make|create|add|i need"
    r"|i want|i(?:'d| would) like|can i (?:get|have)) (?:me )?(?:a |an )?"
    r"(?:new )?(?:daily |weekly |monthly )?(?:reminder|alarm)(?: for me)?)(?:[ ,:]+(?P<rest>.+))?",
    re.IGNORECASE,
)
_REMEMBER = re.compile(r"(?:remember|(?:don't|do not) forget) (?P<rest>to .+)", re.IGNORECASE)
_TASK = re.compile(
    r"(?:send|give|tell|show|write|post|message|text|report|summari[sz]e|brief|wish|ask)\b.*",
    re.IGNORECASE,
)
_TASK_ONCE = re.compile(r"(?:send|post|message|text|brief)\b.*", re.IGNORECASE)
_LINK = re.compile(
    r"^(?:[,:;-] ?|to |that |about |of |for )+"
    r"|(?: (?:when|once|as soon as) it(?:'s| is)| at| by| around)$|[ ,:;]+$",
    re.IGNORECASE,
)
_THINGS = r"(?:reminders?|plans?|schedules?|alarms?|planned tasks?|scheduled tasks?)"
_LIST = re.compile(
    rf"(?:(?:what|which) (?:is|are) |show (?:me )?|list |see |view )?(?:all )?(?:of )?"
    rf"(?:(?:my|the|your|current|active|open|pending|upcoming) )*{_THINGS}"
    rf"|(?:what|which) {_THINGS} (?:are there|do i have|have i(?: set| made)?|are set)"
    rf"|(?:do i have|have i|are there|have i got) (?:any )?{_THINGS}(?: set)?|any {_THINGS}"
    r"|what (?:is|have (?:i|you|we)|do i have) (?:planned|scheduled|coming up)(?: for me)?"
    r"|/reminders",
    re.IGNORECASE,
)
_STOP = r"(?:cancel|delete|remove|stop|drop|clear|undo|forget|kill)"
_CANCEL_ALL = re.compile(
    rf"{_STOP} (?:all|every|everything)(?: of)?(?: (?:my|the|planned))*(?: {_THINGS})?"
    rf"|{_STOP} (?:my|the) (?:reminders|plans|schedules|alarms)",
    re.IGNORECASE,
)
_CANCEL = re.compile(
    rf"{_STOP} (?:(?:the|my|that|this) )?{_THINGS}(?: (?:about|to|for|of|with|called|named|id|that"
    rf" says))? (?P<a>.+)|{_STOP} (?:(?:the|my|that) )?(?P<b>.+) {_THINGS}"
    r"|stop reminding me(?: (?:about|to|of))? (?P<c>.+)"
    r"|(?:cancel|stop) (?:(?:the|my|sending(?: me)?) )*(?P<d>.+)",
    re.IGNORECASE,
)
_STARTERS = re.compile(
    r"(?:in|at|on|every|each|tomorrow|today|tonight|next|this|daily|hourly|nightly|weekly|monthly"
    rf"|yearly|after|weekdays?|the|day|noon|midnight|half|[0-9*].*|{'|'.join(WEEKDAYS)}"
    rf"|{'|'.join(f'{day}s' for day in WEEKDAYS)}|{'|'.join(MONTHS)})",
    re.IGNORECASE,
)


class Plans:
    """The skill: finds the time in a phrase, and what is to happen then."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def __call__(self, phrase: str) -> Call | str | None:
        """A planning tool to call, a question back, or None."""
        if _LIST.fullmatch(phrase):
            return Call("list_plans")
        if _CANCEL_ALL.fullmatch(phrase):
            return Call("cancel_all_plans")
        return self._reminder(phrase) or self._task(phrase) or _cancel(phrase)

    def _reminder(self, phrase: str) -> Call | str | None:
        """Remind me … with the time anywhere in it, or the time first."""
        if asked := _ASKED.fullmatch(phrase):
            return self._remind(asked["rest"] or "", asked["wake"] or "")
        if (asked := _REMEMBER.fullmatch(phrase)) and split_time(asked["rest"], self._clock()):
            return self._remind(asked["rest"])
        found = split_time(phrase, self._clock())
        if found and (asked := _ASKED.fullmatch(found.rest)):
            return _remind(found.when, asked["rest"] or asked["wake"] or "")
        return None

    def _remind(self, rest: str, wake: str = "") -> Call | str:
        found = split_time(rest, self._clock())
        if found is None:
            return WHEN if rest else WHAT
        return _remind(found.when, found.rest or wake)

    def _task(self, phrase: str) -> Call | None:
        """Send me … every day at 9: the time first or last."""
        found = split_time(phrase, self._clock())
        if found is None:
            return None
        again = found.timing is not None and found.timing.kind != "at"
        if not (_TASK if again else _TASK_ONCE).fullmatch(found.rest):
            return None
        return Call("plan_task", {"when": found.when, "task": found.rest})


class Split:
    """A phrase taken apart: the words that say when, and the rest."""

    def __init__(self, when: str, rest: str, timing: Timing | None) -> None:
        self.when = when
        self.rest = _LINK.sub("", rest)
        self.timing = timing


def split_time(phrase: str, now: datetime) -> Split | None:
    """The longest words at the start, at the end, or within, that name a time or a rhythm."""
    words = phrase.split()
    count = len(words)
    starts = [at for at in range(count) if _STARTERS.fullmatch(words[at].strip(",:;"))]
    spans = [(at, end) for at in starts for end in range(at + 1, min(at + MAX_SPAN, count) + 1)]
    for at, end in sorted(spans, key=lambda span: _rank(span, count)):
        when = " ".join(words[at:end]).strip(" ,:;")
        known, timing = _read(when, now)
        if known:
            return Split(when, " ".join([*words[:at], *words[end:]]), timing)
    return None


def _rank(span: tuple[int, int], count: int) -> tuple[int, int]:
    """First what begins or ends the phrase, longest first; then what stands within."""
    return (0 if span[0] == 0 or span[1] == count else 1, span[0] - span[1])


def _read(when: str, now: datetime) -> tuple[bool, Timing | None]:
    try:
        timing = read_timing(when, now)
    except ToolError:
        return True, None  # a time that has passed: the tool says so
    return timing is not None, timing


def _remind(when: str, what: str) -> Call | str:
    text = _LINK.sub("", what)
    return Call("remind", {"when": when, "text": text}) if text else WHAT


def _cancel(phrase: str) -> Call | None:
    match = _CANCEL.fullmatch(phrase)
    if match is None:
        return None
    which = next(text for text in match.groups() if text)
    return Call("cancel_plan", {"which": re.sub(rf" {_THINGS}$", "", which)})
