"""Signed links to stored files, `/media/<path>/<name>?until=…&by=…`, and who answers them.

Whoever holds a link has the file, until the link ends; it needs no login, so
that agents and platforms can follow it.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from django.conf import settings
from django.utils.crypto import salted_hmac

from gateway.invitations import base_url
from gateway.media.store import file_name
from sessions_app import clock
from sessions_app.ids import MEDIA_NAME

PREFIX = "/media/"
_PATH = re.compile(rf"{PREFIX}({MEDIA_NAME})(?:/[^/]*)?")
_SALT = "openclaw.media"
_ROUND_SECONDS = 60


class Links:
    """Makes links on one base (no trailing slash) that hold for `seconds`."""

    def __init__(self, base: str, seconds: int) -> None:
        self._base, self._seconds = base, seconds

    def to(self, path: str, name: str = "") -> str:
        """A link to a stored file. `name` is what it is called when it is saved."""
        until = (int(clock.now().timestamp()) // _ROUND_SECONDS + 1) * _ROUND_SECONDS
        until += self._seconds
        shown = quote(file_name(name, path), safe="")
        return f"{self._base}{PREFIX}{path}/{shown}?until={until}&by={_signature(path, until)}"

    def entry(self, entry: Mapping[str, Any]) -> str:
        """A link to the file of a part or an attachment; empty where nothing is stored."""
        path = str(entry.get("path") or "")
        return self.to(path, str(entry.get("name") or "")) if path else ""


def links_for_people() -> Links:
    """Links on the address that the world sees."""
    return Links(base_url(), settings.OPENCLAW_MEDIA_LINK_SECONDS)


def path_of(url: str) -> str | None:
    """The stored file that a link of ours leads to; None for anything else, or an old link."""
    parts = urlsplit(url)
    found = read(parts.path, parts.query)
    return found if isinstance(found, str) else None


def read(url_path: str, query: str) -> str | int:
    """The stored file's path, or the HTTP status that says why not: 404, 403, 410."""
    match = _PATH.fullmatch(url_path)
    if match is None:
        return 404
    said = parse_qs(query)
    until, by = said.get("until", [""])[0], said.get("by", [""])[0]
    if not (until.isascii() and until.isdecimal() and len(until) <= 12):
        return 403
    right = _signature(match[1], int(until))
    if not hmac.compare_digest(by.encode("utf-8", "surrogatepass"), right.encode()):
        return 403
    return match[1] if clock.now().timestamp() < int(until) else 410


def _signature(path: str, until: int) -> str:
    return salted_hmac(_SALT, f"{until}:{path}", algorithm="sha256").hexdigest()[:40]
