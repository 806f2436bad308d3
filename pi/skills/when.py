"""The words of a wish that say when, taken apart from those that say what.

One part of the time may stand at the start and the other at the end ("tomorrow to
call Ana at 9"). Where words are left over that may belong to the time, nothing is
guessed: the split is `unclear`, and one asks back.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from pi.tools import ToolError
from pi.tools.written_clocks import PART
from pi.tools.written_dates import ABBREVIATED, MONTHS, NUMBER_WORDS, UNITS, WEEKDAYS
from pi.tools.written_times import Timing, read_timing

MAX_SPAN = 11
LINK = re.compile(
    r"^(?:[,:;-] ?|(?:(?:again|please|also|just|then|kindly),? )?(?:to |that |about |of |for ))+"
    r"|(?: (?:when|once|as soon as) it(?:'s| is)| at| by| around)$"
    r"|, (?:please|pls|thanks|thank you|thx)$|[ ,:;]+$",
    re.IGNORECASE,
)
_NO_TEXT = re.compile(
    r"(?:for|again|it|that|this|to|about|of|at|me|please|pls|on|in|so|and|,| )*", re.IGNORECASE
)

_DAYS = rf"{'|'.join(WEEKDAYS)}|{'|'.join(f'{day}s' for day in WEEKDAYS)}"
_STARTERS = re.compile(
    r"in|at|by|around|@.*|on|from|every|each|everyday|tom\w*|tm[rw]\w*|2mor\w*|today|tonight"
    r"|next|this|daily|hourly|nightly|weekly|monthly|yearly|after|weekdays?|weekends?|the|day|first|last"
    r"|noon|midday|midnight|half|quarter|coming|an?|[0-9*].*"
    rf"|(?:{ABBREVIATED.pattern})-(?:{ABBREVIATED.pattern})|{_DAYS}|{'|'.join(MONTHS)}",
    re.IGNORECASE,
)
_BARE_NUMBER = re.compile(r"[0-9]{1,2}")
_MAY_LEAD_A_NUMBER = ("at", "by", "around", "@", "on", "the")
_MAY_FOLLOW_A_NUMBER = re.compile(
    rf"(?:am|pm|a\.m\.?|p\.m\.?|o'?clock|of|\*.*|past|to|min.*|hours?|hrs?|days?|weeks?|months?"
    rf"|{'|'.join(f'{month[:3]}[a-z]*' for month in MONTHS)})[,:;]?",
    re.IGNORECASE,
)
# a day or an hour after these belongs to what is said, not to when
_GUARDS = ("for", "about", "of", "from", "until", "till", "before", "after", "since", "by", "the")
_UNREAD_BEFORE = re.compile(
    r"(?:^| )(?:before|after|until|till|since|from|and|or|between|than|except|but|not|last|within"
    r"|every|each|(?:every|each) (?:\w+|few)"
    r"|(?:before|after|until|till|by|from|to|and|or) [0-9]\S*)$",
    re.IGNORECASE,
)
_TIME_WORD = (
    rf"(?:[0-9]\S*|{NUMBER_WORDS.pattern}|(?:{PART})s?|{_DAYS}|today|tomorrow|tonight|daily|next"
    rf"|every|each|{'|'.join(month for month in MONTHS if month not in ('march', 'may'))})"
)
_UNREAD_AFTER = re.compile(
    rf"(?:until|till|except|excluding|but|unless|if|when|while|starting|beginning|from|between"
    rf"|before|after|every|each|twice|once|weekly|monthly|daily|[0-9]\S*|{NUMBER_WORDS.pattern}|utc|gmt|z|cet"
    r"|cest|bst|[ecmp][sd]?t|\w+ time|a day|a week|a month|week|or)\b(?! (?:am|pm)\b)"
    rf"|(?:and|or|through|-|–|&|/) ?(?:at |on |the |in )*{_TIME_WORD}\b"
    rf"|to (?:[0-9]\S*|{NUMBER_WORDS.pattern}|{_DAYS})\b"
    rf"|of (?:the )?(?:next|this|every|each|month|week|year|[0-9]\S*|{_DAYS}|{'|'.join(MONTHS)})\b"
    r"|not (?:at|on|before|after)\b|the (?:first|second|third|\w+(?:[0-9]th|fth|venth|ghth|nth))\b"
    rf"|(?:in|for|over) (?:the )?(?:next )?(?:[0-9]+|an?|{NUMBER_WORDS.pattern}|few)"
    rf" ?(?:{'|'.join(UNITS.values())})"
    rf"|(?:on |at |in )?(?:the )?{_TIME_WORD}\b",
    re.IGNORECASE,
)
_SAYS_WHEN = ("at", "on", "in", "today", "tonight", "tomorrow", "every", "each", "next")
_RHYTHM_LEFT = re.compile(r"\b(?:every|each|daily|twice|once|weekly|monthly|hourly)\b", re.I)
_TEXT_BEGINS = re.compile(r"(?:to|that|about|of)\b|[:;]", re.IGNORECASE)
_LEADS = re.compile(
    r"(?:to|that|about|of|remind|wake|ping|nudge|alert|send|give|tell|show|message|text)\b|[:;]",
    re.IGNORECASE,
)
_FILLER = re.compile(
    r"(?:again|please|pls|also|just|then|so|kindly|for|me|when it(?:'s| is)|,| )*", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Split:
    """A phrase taken apart. `unclear` where it may well mean another time than `when`."""

    when: str
    rest: str
    timing: Timing | None
    unclear: bool = False


def bare_text(text: str) -> str:
    """What one is to be reminded of without the words that only lead to it; maybe empty."""
    bare = LINK.sub("", text.strip())
    return "" if _NO_TEXT.fullmatch(bare) else bare


def reads(text: str, now: datetime) -> bool:
    """Whether a text names a time or a rhythm, also one that has passed."""
    return _read(text, now)[0]


def may_say_when(phrase: str) -> bool:
    """Whether it begins with a word that times begin with."""
    return bool(_STARTERS.fullmatch(phrase.partition(" ")[0]))


def split_time(phrase: str, now: datetime) -> Split | None:
    """The words at the start, at the end, or within, that name a time or a rhythm."""
    words = phrase.split()
    found = _best(words, now)
    if found is None:
        return None
    at, end = found
    when, before, after = _joined(words[at:end]), words[:at], words[end:]
    if " ".join(after).lower() in ("please", "pls", "thanks", "thank you", "thx"):
        after = []
    unclear = _is_unclear(before, words[at:end], after)
    wanted = _wanted_half(when, now)
    half = _find_half(before, after, wanted, now) if wanted else None
    if wanted and half:
        when = wanted.whole(_joined([*before, *after][half.at : half.end]))
        unclear = unclear or half.unclear
        before, after = half.before, half.after
    unclear = unclear or any(_other_times(before, now))
    return Split(when, LINK.sub("", " ".join([*before, *after])), _read(when, now)[1], unclear)


def _best(words: list[str], now: datetime) -> tuple[int, int] | None:
    """Where the time stands: first what leads to "to …", then what begins or ends the phrase."""
    count = len(words)
    starts = [at for at in range(count) if _may_start(words, at)]
    spans = [(at, end) for at in starts for end in range(at + 1, min(at + MAX_SPAN, count) + 1)]

    def rank(span: tuple[int, int]) -> tuple[int, int]:
        at, end = span
        leads = end < count and _LEADS.match(words[end]) and _FILLER.fullmatch(_joined(words[:at]))
        return (0 if leads else 1 if at == 0 or end == count else 2, at - end)

    for at, end in sorted(spans, key=rank):
        if reads(_joined(words[at:end]), now):
            return _longest(words, at, end, now)
    return None


def _longest(words: list[str], at: int, end: int, now: datetime) -> tuple[int, int]:
    """A span that only led to "to" may go on: "at 10 to 6", "Monday to Friday"."""
    for further in range(min(at + MAX_SPAN, len(words)), end, -1):
        if reads(_joined(words[at:further]), now):
            return at, further
    return at, end


def _may_start(words: list[str], at: int) -> bool:
    word = words[at].strip(",:;")
    if not _STARTERS.fullmatch(word):
        return False
    if not _BARE_NUMBER.fullmatch(word) or words[:at] in ([], ["for"]):
        return True
    following = words[at + 1 : at + 3]
    return words[at - 1].lower() in _MAY_LEAD_A_NUMBER or (
        bool(following) and any(_MAY_FOLLOW_A_NUMBER.fullmatch(one) for one in following[:1])
    )


def _is_unclear(before: list[str], span: list[str], after: list[str]) -> bool:
    """Whether words beside the time may belong to it, or the time to the words."""
    lead, follow = " ".join(before), " ".join(after)
    said = bool(_TEXT_BEGINS.match(lead))
    if _UNREAD_BEFORE.search(lead) or (not said and _RHYTHM_LEFT.search(lead)):
        return True
    if len(before) > 1 and before[-1].lower() in ("for", "about", "of"):
        return True
    if span[-1][-1] not in ":;" and _UNREAD_AFTER.match(follow):
        return True
    if after and not said and _TEXT_BEGINS.match(follow) and not _FILLER.fullmatch(lead):
        return True
    return _is_a_count(span, after)


def _is_a_count(span: list[str], after: list[str]) -> bool:
    """Whether its last number need not be an hour: "tomorrow 2 pills", "Friday 5"."""
    if len(span) < 2 or not _BARE_NUMBER.fullmatch(span[-1]):
        return False
    if span[-2].lower() in WEEKDAYS:
        return True
    leads = (*_MAY_LEAD_A_NUMBER, *MONTHS, *(month[:3] for month in MONTHS))
    return bool(after) and span[-2].lower() not in leads and not _TEXT_BEGINS.match(after[0])


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a time lacks: `fits` says whether words are that, `whole` puts both together."""

    fits: Callable[[str], bool]
    whole: Callable[[str], str]


@dataclass(frozen=True, slots=True)
class _Half:
    """Where the missing half stands in what is left, and what is left without it."""

    at: int
    end: int
    before: list[str]
    after: list[str]
    unclear: bool


def _wanted_half(when: str, now: datetime) -> _Wanted | None:
    if _is_day(when, now):
        return _Wanted(lambda text: _is_clock(text, now), lambda text: f"{when} {text}")
    if _is_clock(when, now):
        return _Wanted(lambda text: _is_day(text, now), lambda text: f"{text} {when}")
    return None


def _find_half(before: list[str], after: list[str], wanted: _Wanted, now: datetime) -> _Half | None:
    """The missing half at the start or the end; elsewhere it makes the whole unclear."""
    rest, first = [*before, *after], len(before)
    for at, end in _free_spans(rest, now):
        part = _joined(rest[at:end])
        if not wanted.fits(part) or not reads(wanted.whole(part), now):
            continue
        within = at not in (0, first) and end != len(rest)
        if within and rest[at].lower() not in _SAYS_WHEN:
            continue
        unclear = within or _is_unclear(rest[:at], rest[at:end], rest[end:])
        left = [*rest[:at], *rest[end:]]
        cut = first if at >= first else first - (end - at)
        return _Half(at, end, left[:cut], left[cut:], unclear)
    return None


def _free_spans(words: list[str], now: datetime) -> list[tuple[int, int]]:
    """Words that name a day or a time and belong to nothing else, each as long as can be."""
    found: list[tuple[int, int]] = []
    end = 0
    for at in range(len(words)):
        if at < end or not _may_start(words, at) or (at and words[at - 1].lower() in _GUARDS):
            continue
        for further in range(min(at + MAX_SPAN, len(words)), at, -1):
            part = _joined(words[at:further])
            if part.lower() == "today" or reads(part, now):
                found.append((at, further))
                end = further
                break
    return found


def _other_times(words: list[str], now: datetime) -> Iterator[bool]:
    """One for each time that is said before the one that was taken."""
    for at, end in _free_spans(words, now):
        if words[at].lower() in _SAYS_WHEN and end - at > 1:
            yield True


def _is_clock(text: str, now: datetime) -> bool:
    """Whether it says only how late."""
    if text.lower().startswith("by ") or reads(f"{text} at 10:00", now):
        return False
    return reads(text, now) and reads(f"tomorrow {text}", now)


def _is_day(text: str, now: datetime) -> bool:
    """Whether it says only which day, or how often."""
    return text.lower() == "today" or reads(f"{text} at 10:00", now)


def _joined(words: list[str]) -> str:
    return " ".join(words).strip(" ,:;")


@lru_cache(maxsize=2048)
def _read(when: str, now: datetime) -> tuple[bool, Timing | None]:
    try:
        timing = read_timing(when, now)
    except ToolError:
        return True, None  # a time that has passed, a day that never is: the tool says so
    return timing is not None, timing
