"""The session's files, and public pages, as people ask for them.

What is written into a file may have many lines and ends as it ends: these
phrases are read as they came, not prepared.
"""

from __future__ import annotations

import re

from pi.skills import Call

_NAME = r"[\"'“‘`]?(?P<name>\w[\w.()+-]*(?: [\w.()+-]+){0,5}?)[\"'”’`]?"
_OTHER_NAME = _NAME.replace("<name>", "<other>")
# without the word "file" only what ends like one is a file: example.com and bob.smith are none
_ENDING = (
    r"(?:txt|text|md|markdown|rst|csv|tsv|jsonl?|ya?ml|toml|ini|cfg|conf|log|html?|xml|css|js|ts"
    r"|py|sh|sql|tex|bib|ics|vcf|svg|diff|patch|srt|adoc)"
)
_DOTTED = rf"[\"'“‘`]?(?P<dotted>\w[\w()+.-]*\.{_ENDING})[\"'”’`]?"
_PLEASE = r"(?:(?:hey |pi |please |pls |can you |could you )*)"
_WRITE = re.compile(
    rf"{_PLEASE}(?:(?:save|write|put)(?: this)? (?:in|to|into|as) (?:(?:a|the) )?file(?: called)?"
    rf" {_NAME}|(?:save|write|create|make) (?:(?:a|the) )?file(?: called)? {_OTHER_NAME}"
    rf"|(?:write|save)(?: (?:to|into|in|as))? {_DOTTED}) ?: ?(?P<text>.+)",
    re.IGNORECASE | re.DOTALL,
)
_LIST = re.compile(
    rf"{_PLEASE}(?:(?:list|show)(?: me)?|what are) (?:all )?(?:of )?(?:(?:my|the|your|our) )?files"
    r"|(?:what|which) files (?:do i have|are there|have i|are here)|/?files",
    re.IGNORECASE,
)
_READ = re.compile(
    rf"{_PLEASE}(?:show|read|open|print|cat)(?: me)? (?:(?:the|my) )?(?:file {_NAME}|{_DOTTED})",
    re.IGNORECASE,
)
_DELETE = re.compile(
    rf"{_PLEASE}(?:delete|remove|erase) (?:(?:the|my) )?(?:file {_NAME}|{_DOTTED})", re.IGNORECASE
)
_PAGE = re.compile(
    rf"{_PLEASE}(?:fetch|read|get|open|show|load)(?: me)? (?:(?:the )?(?:web ?)?page )?"
    r"<?(?P<url>https?://[^\s<>]+)>?",
    re.IGNORECASE,
)


NOT_HERE = {
    "fetch_page": "I may not read pages of the internet here (`OPENCLAW_PI_WEB`).",
    **dict.fromkeys(
        ("list_files", "read_file", "write_file", "delete_file"),
        "There are no files outside a session.",
    ),
}


def write_file(text: str) -> Call | None:
    """The wish to keep a whole message, after its colon, in a file."""
    match = _WRITE.fullmatch(text.strip())
    return Call("write_file", {"name": _name(match), "text": match["text"]}) if match else None


def files(phrase: str) -> Call | None:
    """A tool for files or pages; None where the phrase is for none of them."""
    line = phrase.strip()
    if match := _PAGE.fullmatch(line):
        return Call("fetch_page", {"url": match["url"]})
    line = line.rstrip(" ?!.")
    if _LIST.fullmatch(line):
        return Call("list_files")
    if match := _READ.fullmatch(line):
        return Call("read_file", {"name": _name(match)})
    if match := _DELETE.fullmatch(line):
        return Call("delete_file", {"name": _name(match)})
    return None


def _name(match: re.Match[str]) -> str:
    found = match.groupdict()
    return next(name for name in (found["name"], found.get("other"), found["dotted"]) if name)
