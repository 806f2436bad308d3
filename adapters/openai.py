"""An entrance for programs that speak to OpenAI-compatible servers.

Off until OPENCLAW_CHANNELS names it, for example webchat,openai. Then

    POST /v1/chat/completions      GET /v1/models

answer whoever has an API token with the scope `chat`:

    python manage.py create_api_token notebook --scope chat

prints it once. In the program set the base URL to http://127.0.0.1:8000/v1 (or
OPENCLAW_PUBLIC_URL and /v1) and the key to the token. The field `user` says for whom
it asks: each has a conversation of their own, which the gateway keeps. Only the last
user message of a request counts. More: docs/openai-entrance.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import httpx

from adapters.base import Adapter, Capabilities, Outbound, Problem, Receipt


@dataclass(frozen=True, slots=True)
class OpenaiConfig:
    """Tokens are rows; the entrance needs no settings of its own."""


class OpenaiAdapter(Adapter):
    """Callers read our database while they wait, so a reply has arrived when it is stored."""

    name = "openai"
    capabilities = Capabilities(
        text_limit=1_000_000,
        text_unit="codepoints",
        markup="markdown",
        dedupe_seconds=math.inf,  # an answer is read from its row, however often it is "sent"
    )
    Config = OpenaiConfig

    def __init__(self, config: OpenaiConfig, http: httpx.AsyncBaseTransport) -> None:
        del config, http  # every adapter is built alike; this one needs neither

    async def send(self, outbound: Outbound) -> Receipt:
        """Nothing is left to do: the same commit that queued this part stored the reply."""
        return Receipt(message_id=outbound.key, chat_id=None)

    async def open(self, webhook_url: str | None) -> None:
        """There is no platform to say hello to."""

    async def probe(self) -> str:
        """There is nobody to ask."""
        return "the entrance at /v1/chat/completions"

    async def close(self) -> None:
        """There are no connections of its own."""

    @classmethod
    def problems(cls, config: OpenaiConfig, public_url: str) -> list[Problem]:
        """Nothing can be missing."""
        return []
