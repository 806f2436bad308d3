"""From a phrase to a tool: each skill answers what it understands and passes on the rest.

A skill is a function of one prepared phrase (see `prepare`) that returns the
answer, or None where the phrase is not for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable

Skill = Callable[[str], str | None]
MAX_PHRASE = 300

_SPACES = re.compile(r"\s+")
_CONTRACTION = re.compile(r"\b(what|when|how)(?:'s|s) ")
_LEAD = re.compile(
    r"^(?:(?:hey|hi|hello|ok|okay|so|and|pi|please)[,!]? )*"
    r"(?:(?:can|could|would|will) you (?:please )?)?"
    r"(?:(?:tell me|do you know|let me know|give me|show me) )?"
    r"(?:please )?(?=.)"
)


def prepare(text: str) -> list[str]:
    """The phrase in lower case without end punctuation: as it is, and without politeness."""
    phrase = _SPACES.sub(" ", text.lower().replace("’", "'")).strip(" ?!.;=")
    phrase = re.sub(r"^@\w+[,:]? |(?<=^/)(\w+)@\w+$", r"\1", phrase)  # @bot help, /help@bot
    phrase = _CONTRACTION.sub(r"\1 is ", phrase)
    bare = re.sub(r",? please$", "", _LEAD.sub("", phrase)).strip(" ,=?!.")
    return list(dict.fromkeys((phrase, bare)))
