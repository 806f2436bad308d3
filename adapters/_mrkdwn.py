"""The dialect mrkdwn: markdown written in it, and texts of it read."""

from __future__ import annotations

import re

from adapters._dialect import Dialect, beside

_ADDRESS = re.compile(r"(?:https?://|mailto:|tel:)[^\s<>]+", re.IGNORECASE)
_MARK = re.compile(r"<([^<>\s][^<>]*)>")


def escape(words: str) -> str:
    """The three characters that mean something."""
    return words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def link(label: str, url: str) -> str:
    """A link, where the address is one: the same marks also call people (`<!channel>`).

    Both come escaped. Whatever could end the mark early is percent-encoded.
    """
    address = url.replace("|", "%7C").replace("&lt;", "%3C").replace("&gt;", "%3E")
    if not _ADDRESS.fullmatch(address) or "<" in label:
        return beside(label, url)
    return f"<{address}|{label}>" if label not in ("", url) else f"<{address}>"


def readable(words: str) -> str:
    """Marks for links and names as text. They cannot hold one another."""
    plain = _MARK.sub(lambda found: _shown(found.group(1)), words)
    return plain.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _shown(mark: str) -> str:
    address, _, label = mark.partition("|")
    if not address:
        return label
    if address[0] in "#!@":
        return f"{'#' if address[0] == '#' else '@'}{label or address[1:]}"
    return f"{label} ({address})" if label and label not in address else address


MARKS = Dialect(bold="*", italic="_", strike="~", code="`", fence="```", link=link, escape=escape)
