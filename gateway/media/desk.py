"""Everything about files that the runtime needs, put together from the settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django.conf import settings

from adapters.base import Adapter, File
from gateway.http import make_trust
from gateway.ledger import Ledger
from gateway.ledger.batcher import Claimer
from gateway.ledger.files import MADE_BY, StartFetches
from gateway.media.fetching import Fetching
from gateway.media.guard import Fetcher
from gateway.media.intake import Intake
from gateway.media.links import Links, links_for_people
from gateway.media.store import Store


def make_store() -> Store:
    """The media folder beside the database."""
    return Store(settings.OPENCLAW_DATA_DIR / "media", settings.OPENCLAW_MEDIA_MAX_BYTES)


def links_for_agents() -> Links:
    """Links on the address that agents see: by default this machine's own."""
    base = settings.OPENCLAW_MEDIA_URL or f"http://127.0.0.1:{settings.OPENCLAW_PORT}"
    return Links(base, settings.OPENCLAW_MEDIA_AGENT_LINK_SECONDS)


class MediaDesk:
    """Store, links, and what comes in from both sides."""

    def __init__(self) -> None:
        self.store = make_store()
        self.for_agents = links_for_agents()
        self._for_people = links_for_people()
        fetcher = Fetcher(make_trust())
        self.bring_in = Intake(self.store, fetcher, settings.OPENCLAW_MEDIA_FETCH_SECONDS).take

    def link(self, entry: Mapping[str, Any]) -> str:
        """A stored file -> a link that people can open."""
        return self._for_people.entry(entry)

    def file(self, entry: Mapping[str, Any]) -> File:
        """A file as adapters send it. Raises `LookupError` where it is gone."""
        public = self._for_people.entry(entry) if settings.OPENCLAW_PUBLIC_URL else ""
        return self.store.file(entry, public)

    def fetching(self, ledger: Ledger, adapter: Callable[[str], Adapter | None]) -> Fetching:
        """What fetches people's files; `adapter` finds a channel's, None where it is down."""
        seconds = settings.OPENCLAW_MEDIA_FETCH_SECONDS
        found = Fetching(ledger, self.store, adapter, seconds)
        claim = StartFetches(found.serves)
        ledger.claim_for(Claimer("start_fetches", claim, found.wanted, found.take, after=MADE_BY))
        return found
