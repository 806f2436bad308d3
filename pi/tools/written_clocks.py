"""A time of day as people write it: "9:30", "at 6 pm", "half past nine", "noon"."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import time

from pi.tools.written_dates import NUMBER_WORDS, read_number

PARTS = {
    "morning": time(9),
    "noon": time(12),
    "midday": time(12),
    "lunchtime": time(12),
    "afternoon": time(15),
    "evening": time(19),
    "night": time(21),
    "midnight": time(0),
}
LATE = ("afternoon", "evening", "night")
PART = "|".join(PARTS)

_HALF = r"(?P<half>am|pm|a\.m\.?|p\.m\.?)?"
_OF_DAY = r"(?: (?:in the|at) (?P<part>morning|afternoon|evening|night))?"
_TIME = re.compile(
    rf"(?P<hour>[0-9]{{1,2}})(?:[:.h](?P<minute>[0-5][0-9]))? ?{_HALF}"
    rf"(?: ?o'?clock| ?h| sharp)?{_OF_DAY}"
)
_PAST = re.compile(
    r"(?P<count>half|(?:a )?quarter|[0-9]{1,2}(?P<said> minutes?)?) (?P<side>past|to)"
    rf" (?P<hour>[0-9]{{1,2}}) ?{_HALF}{_OF_DAY}"
)


@dataclass(frozen=True, slots=True)
class Clock:
    """A time of day; `plain` where no half of the day was said.

    `open` where it may mean the morning's or the evening's hour.
    """

    at: time
    plain: bool = False
    open: bool = False


def read_clock(text: str, *, alone: bool) -> Clock | None:
    """A time of day. A bare number is one only beside a day, or after "at"."""
    said_at = re.match(r"(?:(?:at )?(?:about|around|exactly)|at|@|by) ?", text)
    bare = text[said_at.end() :] if said_at else text
    bare = re.sub(r"^(?:in the|this) ", "", bare)
    if bare in PARTS:
        return Clock(PARTS[bare])
    bare = NUMBER_WORDS.sub(lambda word: str(read_number(word[0])), bare)
    if past := _PAST.fullmatch(bare):
        return _past(past) if said_at or past["said"] or not past["count"].isdigit() else None
    match = _TIME.fullmatch(bare)
    if match is None:
        return None
    plain = not (match["half"] or match["part"])
    if alone and not said_at and plain and not match["minute"]:
        return None
    return _clock(match, int(match["hour"]), int(match["minute"] or 0))


def _past(match: re.Match[str]) -> Clock | None:
    """Half past nine, quarter to six, 10 minutes past 8."""
    word = match["count"].removesuffix("s").removesuffix(" minute")
    minutes = 30 if word == "half" else 15 if word.endswith("quarter") else int(word)
    hour = int(match["hour"])
    if minutes > 59 or (word == "half" and match["side"] == "to"):
        return None
    if match["side"] == "past":
        return _clock(match, hour, minutes)
    return _clock(match, hour - 1 or 12, 60 - minutes) if hour and minutes else None


def _clock(match: re.Match[str], hour: int, minute: int) -> Clock | None:
    half, part = (match["half"] or "").replace(".", ""), match["part"]
    plain = not (half or part)
    if (not plain and hour > 12) or hour > 23:
        return None
    if not plain:
        small_hours = part == "night" and hour in (12, 1, 2, 3, 4, 5)
        late = half == "pm" or (part in LATE and not small_hours)
        hour = hour % 12 + (12 if late else 0)
    is_open = plain and 1 <= hour <= 9 and len(match["hour"]) == 1
    return Clock(time(hour, minute), plain, open=is_open)
