"""The gateway's own chat page.

Nothing to set up: it is enabled by OPENCLAW_CHANNELS=webchat (the default) and
answers at /chat/. People come in with an account of this gateway (made in the
admin), or with an invitation link:

    python manage.py invite "Ada"

prints a link for one guest. Whoever holds the link is that guest, so hand it
over in private. To close it again, set the guest's contact to "blocked" in the
admin; an open page is then closed within seconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import httpx

from adapters._payload import KINDS
from adapters.base import Adapter, Capabilities, Outbound, Problem, Receipt

GIGABYTE = 1024**3


@dataclass(frozen=True, slots=True)
class WebchatConfig:
    """The page needs no settings of its own."""


class WebchatAdapter(Adapter):
    """The page reads our database, so a reply has arrived as soon as it is stored there."""

    name = "webchat"
    capabilities = Capabilities(
        text_limit=100_000,
        text_unit="codepoints",
        markup="markdown",
        media=dict.fromkeys(KINDS, GIGABYTE),  # links on the page
        dedupe_seconds=math.inf,  # the page shows a message once, however often it is "sent"
    )
    Config = WebchatConfig

    def __init__(self, config: WebchatConfig, http: httpx.AsyncBaseTransport) -> None:
        del config, http  # every adapter is built alike; this one needs neither

    async def send(self, outbound: Outbound) -> Receipt:
        """Nothing is left to do: the commit that queued this part put what is said into the
        conversation. Who has none yet is told by the page why their message was not taken."""
        return Receipt(message_id=outbound.key, chat_id=None)

    async def open(self, webhook_url: str | None) -> None:
        """There is no platform to say hello to."""

    async def probe(self) -> str:
        """There is nobody to ask."""
        return "the page at /chat/"

    async def close(self) -> None:
        """There are no connections of its own."""

    @classmethod
    def problems(cls, config: WebchatConfig, public_url: str) -> list[Problem]:
        """Nothing can be missing."""
        return []
