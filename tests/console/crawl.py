"""Walks every page of the admin and the chat by its links, one page of each sort."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from urllib.parse import urldefrag, urljoin, urlsplit

from django.urls import Resolver404, resolve

STARTS = ("/admin/", "/admin/login/", "/admin/overview/", "/chat/", "/chat/login/", "/api/v1/docs")
ENDS_SESSION = ("admin:logout", "chat-leave")
KINDS = ("confirm", "what")
PREFIXES = ("/admin/", "/chat/", "/api/")


@dataclass(frozen=True)
class Answer:
    """What a server said to a GET. `headers` have lower-case names."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def is_page(self) -> bool:
        """It is HTML."""
        return self.headers.get("content-type", "").startswith("text/html")


Fetch = Callable[[str], Answer]


class Links(HTMLParser):
    """Addresses a page leads to: its links."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "a" and "href" in values:
            self.found.append(values["href"])


def crawl(fetch: Fetch, more: tuple[str, ...] = ()) -> dict[str, tuple[str, Answer]]:
    """Each sort of page that can be reached, as name -> (address, answer)."""
    pages: dict[str, tuple[str, Answer]] = {}
    todo = [*STARTS, *more]
    while todo:
        address = todo.pop(0)
        name = _name(address)
        if name is None or name in pages:
            continue
        answer = fetch(address)
        if answer.status in (301, 302):
            todo.append(urljoin(address, answer.headers["location"]))
            continue
        pages[name] = (address, answer)
        if answer.is_page:
            links = Links()
            links.feed(answer.text)
            todo += [urldefrag(urljoin(address, link)).url for link in links.found]
    return {name: page for name, page in pages.items() if page[1].is_page}


def _name(address: str) -> str | None:
    """The sort of a page: its view, and whether it has a query. None for what is not walked."""
    parts = urlsplit(address)
    if parts.netloc or not parts.path.startswith(PREFIXES):
        return None
    try:
        found = resolve(parts.path)
    except Resolver404:
        return None
    if found.view_name in ENDS_SESSION:
        return None
    asked = sorted({item.partition("=")[0] for item in parts.query.split("&") if item})
    if len(asked) > 1 and not any(name in KINDS for name in asked):
        return None  # filters upon filters: the same page again
    return f"{found.view_name}?{','.join(asked)}" if asked else str(found.view_name)
