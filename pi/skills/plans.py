"""Reminders and planned tasks, as people ask for them."""

from __future__ import annotations

import re
from datetime import datetime

from pi.skills import Call
from pi.skills.when import Split, bare_text, may_say_when, reads, split_time
from pi.tools.schedules import WHEN
from pi.tools.written_clocks import read_clock
from pi.tools.written_dates import NUMBER_WORDS

WHAT = "What shall I remind you of? For example: `remind me tomorrow at 9 to call Ana`."
ALL_OF_WHAT = "All of what? Write `cancel all reminders` or `delete all notes`."
WHICH = "Which one? Write for example `cancel the reminder about Ana`."
WHICH_ALARMS = (
    "Alarms and timers are reminders here: write `what are my reminders` to see them, and cancel "
    "one by its id, or `cancel all reminders`."
)

_MAKE = r"(?:set|make|create|add|schedule|i need|i want|i(?:'d| would) like|can i (?:get|have))"
_ASKED = re.compile(
    r"(?:(?:remind|ping|nudge|alert) me|(?P<wake>wake me(?: up)?)"
    rf"|(?:{_MAKE} )?(?:me )?(?:a |an |the )?(?:new )?(?:(?P<often>daily|weekly|monthly) )?"
    r"(?:reminder|(?P<alarm>alarm))(?: for me)?)(?:[ ,:]+(?P<rest>.+))?",
    re.IGNORECASE,
)
_TIMER = re.compile(
    r"(?:(?:set|start|make|create|add) )?(?:me )?(?:a |an )?(?:new )?"
    rf"(?:timer(?: (?:for|of))?:?|(?P<span>(?:[0-9]\S*|{NUMBER_WORDS.pattern})[ -]\w+) timer)"
    r"(?: (?P<rest>.+))?",
    re.IGNORECASE,
)
_TOLD = re.compile(r"(?:tell|text|message) me (?P<rest>(?P<when>.+?) (?:to|that) .+)", re.I)
_TOLD_TO = re.compile(r"(?:tell|text|message) me (?P<rest>to .+)", re.IGNORECASE)
_LATER = re.compile(r".{2,80} remind me (?:to|that|about|of) .+", re.IGNORECASE)
_REMEMBER = re.compile(r"(?:remember|(?:don't|do not) forget) (?P<rest>to .+)", re.IGNORECASE)
_TASK = re.compile(
    r"(?:send|give|tell|show|write|post|message|text|report|summari[sz]e|brief|wish|ask)\b.*",
    re.IGNORECASE,
)
_TASK_ONCE = re.compile(r"(?:send|post|message|text|brief)\b.*", re.IGNORECASE)
_PLANS = r"(?:reminders?|plans?|schedules?|planned tasks?|scheduled tasks?)"
_THINGS = rf"(?:{_PLANS}|alarms?|timers?)"
_LIST = re.compile(
    rf"(?:(?:what|which) (?:is|are) |show (?:me )?|list |see |view )?(?:all )?(?:of )?"
    rf"(?:(?:my|the|your|current|active|open|pending|upcoming) )*{_THINGS}"
    rf"|(?:what|which) {_THINGS} (?:are there|do i have|have i(?: set| made)?|are set)"
    rf"|(?:do i have|have i|are there|have i got) (?:any )?{_THINGS}(?: set)?|any {_THINGS}"
    r"|what (?:is|have (?:i|you|we)|do i have) (?:planned|scheduled|coming up)(?: for me)?"
    r"|what (?:is|comes|is coming) (?:next|up next)"
    r"|what do i have (?:planned )?(?:for |on )?(?:today|tomorrow|next|this week)|/reminders",
    re.IGNORECASE,
)
_STOP = r"(?:cancel|delete|remove|stop|drop|clear|undo|forget|kill)"
_CANCEL_ALL = re.compile(
    rf"{_STOP} (?:all|every|everything)(?: of)?(?: (?:my|the|planned))* {_PLANS}"
    rf"|{_STOP} (?:my|the) (?:reminders|plans|schedules)",
    re.IGNORECASE,
)
_ALL_OF_WHAT = re.compile(rf"{_STOP} (?:all|everything|it all|all of it)", re.IGNORECASE)
_CANCEL_ALARMS = re.compile(
    rf"{_STOP} (?:(?:all|every|both|any|of|my|the|these|those|active|running|planned) )*"
    rf"(?:alarms|timers)|{_STOP} (?:all|every) (?:alarm|timer)",
    re.IGNORECASE,
)
_CANCEL_ONE = re.compile(
    rf"{_STOP} (?:(?:the|my|that|this) )?(reminder|alarm|timer)"
    r"|(?:cancel|stop) (it|that|this|them|these|those)(?: one)?",
    re.IGNORECASE,
)
# "forget" is for notes, unless a reminder is named
_NO_NOTE = r"(?!forget (?!(?:(?:the|my|this) (?:\S+ ){0,2}|that )?reminders?\b))"
_CANCEL = re.compile(
    rf"{_NO_NOTE}{_STOP} (?:(?:the|my|that|this) )?{_THINGS}"
    r"(?: (?:about|to|for|of|with|called|named|id|that says))? (?P<a>.+)"
    rf"|{_NO_NOTE}{_STOP} (?:(?:the|my|that) )?(?P<b>.+) {_THINGS}"
    r"|(?:stop reminding|(?:don't|do not) remind) me(?: (?:about|to|of))? (?P<c>.+?)(?: any ?more)?"
    r"|(?:cancel|stop) (?:(?:the|my|sending(?: me)?) )*(?P<d>.+)",
    re.IGNORECASE,
)


def plans(phrase: str, now: datetime) -> Call | str | None:
    """A planning tool to call, a question back, or None. `now` is the person's local time."""
    if _LIST.fullmatch(phrase):
        return Call("list_plans")
    if _CANCEL_ALL.fullmatch(phrase):
        return Call("cancel_all_plans")
    if _CANCEL_ALARMS.fullmatch(phrase):
        return WHICH_ALARMS
    if _ALL_OF_WHAT.fullmatch(phrase):
        return ALL_OF_WHAT
    if found := _wish(phrase, now) or _timer(phrase, now):
        return found
    split = split_time(phrase, now)
    return (split and (_reminder(split, now) or _task(split))) or _later(phrase) or _cancel(phrase)


def _wish(phrase: str, now: datetime) -> Call | str | None:
    """Remind me … with the time anywhere in it."""
    if asked := _ASKED.fullmatch(phrase):
        return _remind(asked, asked["rest"] or "", now)
    if (asked := _TOLD.fullmatch(phrase)) and reads(asked["when"], now):
        return _remind(asked, asked["rest"], now)
    asked = _REMEMBER.fullmatch(phrase) or _TOLD_TO.fullmatch(phrase)
    if asked and split_time(asked["rest"], now):
        return _remind(asked, asked["rest"], now)
    return None


def _reminder(found: Split, now: datetime) -> Call | str | None:
    """Tomorrow at 9 remind me …: the time first."""
    asked = _ASKED.fullmatch(found.rest) or _TOLD_TO.fullmatch(found.rest)
    return _planned(asked, found, bare_text(asked["rest"] or ""), now) if asked else None


def _later(phrase: str) -> str | None:
    """A reminder whose time comes first and could not be read."""
    return WHEN if _LATER.fullmatch(phrase) and may_say_when(phrase) else None


def _remind(asked: re.Match[str], rest: str, now: datetime) -> Call | str:
    found = split_time(rest, now)
    if found is not None:
        return _planned(asked, found, bare_text(found.rest), now)
    if often := _group(asked, "often"):
        return _planned(asked, Split(often, rest, None), bare_text(rest), now)
    return WHEN if rest else WHAT


def _planned(asked: re.Match[str], found: Split, text: str, now: datetime) -> Call | str:
    """The reminder, if it is clear when and of what."""
    when, often = found.when, _group(asked, "often")
    if often and often != when:
        when = f"{often} {when}"
    if found.unclear or not reads(when, now):
        return WHEN
    wakes = _group(asked, "wake") or _group(asked, "alarm")
    clock = read_clock(when.lower(), alone=True)
    if wakes and clock and clock.open:
        when = f"{when} in the morning"
    text = _named(text or wakes.lower(), "alarm") if wakes else text
    return Call("remind", {"when": when, "text": text}) if text else WHAT


def _timer(phrase: str, now: datetime) -> Call | str | None:
    """Set a timer for ten minutes; a ten minute timer."""
    match = _TIMER.fullmatch(phrase)
    if match is None:
        return None
    span = (match["span"] or "").replace("-", " ")
    rest = (match["rest"] or "").removeprefix("in ")
    found = split_time(f"in {span} {rest}" if span else f"in {rest}", now)
    if found is None or found.unclear or not found.when.startswith("in "):
        return WHEN
    return Call("remind", {"when": found.when, "text": _named(bare_text(found.rest), "timer")})


def _named(text: str, kind: str) -> str:
    """The text with the word one will call it by."""
    return text if text.lower() == kind else f"{text} ({kind})" if text else kind


def _task(found: Split) -> Call | str | None:
    """Send me … every day at 9: the time first or last."""
    again = found.when.lower().startswith(("every ", "each "))  # also where it reads no time yet
    again = found.timing.kind != "at" if found.timing else again
    if not (_TASK if again else _TASK_ONCE).fullmatch(found.rest):
        return None
    return WHEN if found.unclear else Call("plan_task", {"when": found.when, "task": found.rest})


def _group(match: re.Match[str], name: str) -> str:
    return match.groupdict().get(name) or ""


def _cancel(phrase: str) -> Call | str | None:
    if one := _CANCEL_ONE.fullmatch(phrase):
        named = (one[1] or "").lower() in ("alarm", "timer")
        return Call("cancel_plan", {"which": one[1]}) if named else WHICH
    match = _CANCEL.fullmatch(phrase)
    if match is None:
        return None
    which = next(text for text in match.groups() if text)
    return Call("cancel_plan", {"which": re.sub(rf" {_THINGS}$", "", which)})
