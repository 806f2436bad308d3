"""From a phrase to a tool: each skill answers what it understands and passes on the rest.

A skill is a function of one prepared phrase (see `prepare`) that returns a tool
to call, or the answer itself, or None where the phrase is not for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

MAX_PHRASE = 300


@dataclass(frozen=True, slots=True)
class Call:
    """A tool to use. `say` makes the answer of the tool's result."""

    tool: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    say: Callable[[str], str] = str


Skill = Callable[[str], Call | str | None]

_SPACES = re.compile(r"\s+")
_CONTRACTION = re.compile(r"\b(what|when|how)(?:'s|s) ", re.IGNORECASE)
_PLEASE = r"(?:please|pls|plz)"
_LEAD = re.compile(
    rf"^(?:(?:hey|hi|hello|ok|okay|so|and|pi|{_PLEASE})[,!]? )*"
    rf"(?:(?:can|could|would|will) (?:you|u|ya) (?:{_PLEASE} )?)?"
    r"(?:(?:tell me|do you know|let me know|give me|show me) )?"
    rf"(?:{_PLEASE} )?(?=.)",
    re.IGNORECASE,
)


def prepare(text: str, *, keep_case: bool = False) -> list[str]:
    """The phrase in lower case without end punctuation: as it is, and without politeness."""
    text = text if keep_case else text.lower()
    phrase = _SPACES.sub(" ", text.replace("’", "'")).strip(" ?!.;=")
    phrase = re.sub(r"^@\w+[,:]? |(?<=^/)(\w+)@\w+$", r"\1", phrase)  # @bot help, /help@bot
    phrase = _CONTRACTION.sub(r"\1 is ", phrase)
    bare = re.sub(rf",? {_PLEASE}$", "", _LEAD.sub("", phrase), flags=re.IGNORECASE).strip(" ,=?!.")
    return list(dict.fromkeys((phrase, bare)))
