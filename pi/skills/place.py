"""Where somebody is, as people say it."""

from __future__ import annotations

import re

from pi.skills import Call

_ZONE = re.compile(
    r"(?:(?:i am|i'm) in (?:the )?(?P<a>.+?) time ?zone"
    r"|(?:my|the) time ?zone (?:is|should be)(?: now)? (?P<b>.+)"
    r"|(?:set|change|switch) (?:my |the )?time ?zone to (?P<c>.+)"
    r"|use (?:the )?time ?zone (?:of )?(?P<d>.+))",
    re.IGNORECASE,
)


def place(phrase: str) -> Call | None:
    """The tool that keeps a time zone; None where the phrase names none."""
    match = _ZONE.fullmatch(phrase)
    if match is None:
        return None
    return Call("set_time_zone", {"place": next(text for text in match.groups() if text)})
