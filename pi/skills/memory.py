"""Notes, history and the day's summary, as people ask for them."""

from __future__ import annotations

import re

from pi.skills import Call

_NOTE = re.compile(
    r"(?:(?:make|take|add|write|save)(?: me)? a note(?: of)?|note|remember|write down|jot down"
    r"|keep in mind|save|(?:don't|do not) forget)(?: down)?(?: that| this)?[:,]? (?P<what>.+)"
    r"|(?:make|take|add|write|save) (?:a )?note[:,]? (?P<more>.+)",
    re.IGNORECASE,
)
_NOTES = re.compile(
    r"what (?:do|did|have) you (?:know|noted?|remembered|remember|written down|saved|stored)"
    r"(?: about me)?|(?:what are |show (?:me )?|list |read (?:me )?)?(?:all )?(?:of )?"
    r"(?:(?:my|the|your) )?notes(?: (?:about|on) me)?"
    r"|do you (?:know|remember) (?:anything|something) about me"
    r"|what notes (?:do you have|are there|have you)(?: (?:about|on) me)?|/notes|notes",
    re.IGNORECASE,
)
_FORGET_ALL = re.compile(
    r"(?:forget|delete|remove|drop|erase|clear) (?:all(?: of)?|every) ?(?:(?:my|the|your) )?notes?"
    r"|(?:forget|delete|remove|drop|erase|clear) (?:my|the|your) notes"
    r"|forget (?:everything|all) (?:you know )?about me",
    re.IGNORECASE,
)
_FORGET = re.compile(
    r"(?:forget|delete|remove|drop|erase) (?:(?:the|my|that|your) )?notes?"
    r"(?: (?:about|that|on|of|saying))? (?P<a>.+)"
    r"|forget (?:that|about) (?P<b>.+)|forget (?P<c>(?:i|my) .+)",
    re.IGNORECASE,
)
_SAID = (
    r"(?:say|said|write|wrote|written|mention|mentioned|(?:tell|told) (?:you|me)|talk|talked"
    r"|discuss|discussed|ask|asked)"
)
_SEARCH = re.compile(
    rf"(?:do you )?remember (?:when|what|that|how) (?:i|we|you) {_SAID}(?: you)?"
    r"(?: (?:about|of|on|regarding|concerning))* (?P<r>.+)"
    rf"|what (?:did|have|had) (?:i|we|you) (?:ever )?{_SAID}(?: you)?"
    r"(?: (?:about|of|on|regarding|concerning))+ (?P<a>.+)"
    rf"|(?:did|have) (?:i|we|you) (?:ever )?{_SAID} (?:(?:anything|something) )?(?:about |of |on )?"
    rf"(?P<b>.+)|when did (?:i|we|you) (?:last )?{_SAID} (?:about |of )?(?P<c>.+)"
    r"|(?:search|look|look through|go through) (?:(?:in|my|our|the|your) )*(?:history|messages"
    r"|chats?|conversations?) (?:for|about) (?P<d>.+)"
    r"|(?:find|search(?: for)?|look up) (?:(?:what i said|messages?|everything|anything)"
    r" (?:about|with|on) )(?P<e>.+)|search (?:for )?(?P<f>.+?)(?: in (?:my|our|the) "
    r"(?:history|messages|chats?))?",
    re.IGNORECASE,
)
_DAY = r"(?:my|the|this|today's) ?day|today"
_SUMMARY = re.compile(
    rf"(?:(?:send|give|show|write|make)(?: me)? )?(?:a |the |my )?(?:short |daily |quick )*"
    rf"(?:summary|briefing|overview|digest|recap)(?: (?:of|for|about) (?:{_DAY}))?(?: for me)?"
    rf"|(?:(?:send|give|show)(?: me)? )?(?:{_DAY})'s (?:summary|overview)"
    rf"|summari[sz]e (?:{_DAY})(?: for me)?|brief me(?: (?:on|about) (?:{_DAY}))?"
    rf"|(?:what|how) (?:is|does) my day(?: (?:look|looking|like))*|what is on (?:{_DAY})"
    r"|what is (?:due|up|on) today",
    re.IGNORECASE,
)
_QUESTION = re.compile(r"(?:when|what|where|how|who|why|if|whether) (?:i|we|you|did)\b[^:]*", re.I)
_ARTICLE = re.compile(r"^(?:the|a|an|my|our|your) ", re.IGNORECASE)


def memory(phrase: str) -> Call | None:
    """A tool for notes, history or the summary; None where the phrase is for none of them."""
    if _SUMMARY.fullmatch(phrase):
        return Call("summarise_day")
    if _NOTES.fullmatch(phrase):
        return Call("read_notes")
    if _FORGET_ALL.fullmatch(phrase):
        return Call("delete_all_notes")
    if match := _FORGET.fullmatch(phrase):
        return Call("delete_note", {"about": _first(match)})
    if match := _SEARCH.fullmatch(phrase):
        return Call("search_history", {"words": _wanted(_first(match))})
    if match := _NOTE.fullmatch(phrase):
        note = _first(match)
        return None if _QUESTION.fullmatch(note) else Call("write_note", {"note": note})
    return None


def _wanted(words: str) -> str:
    """What to look for: without quotes and the plural's s, as the search looks within words."""
    bare = _ARTICLE.sub("", words.strip("\"'“”‘’«» "))
    return re.sub(r"(?<=x)es$|(?<=[cs]h)es$|(?<=[a-z]{3}[^sui])s$", "", bare)


def _first(match: re.Match[str]) -> str:
    return next(text for text in match.groups() if text)
