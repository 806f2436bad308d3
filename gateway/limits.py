"""How long and how much agents may take, as the settings say."""

from __future__ import annotations

from django.conf import settings

from gateway.agents.base import Limits


def agent_limits() -> Limits:
    """The limits of one call."""
    return Limits(
        connect_seconds=settings.OPENCLAW_AGENT_CONNECT_SECONDS,
        first_token_seconds=settings.OPENCLAW_AGENT_FIRST_TOKEN_SECONDS,
        between_tokens_seconds=settings.OPENCLAW_AGENT_BETWEEN_TOKENS_SECONDS,
        total_seconds=settings.OPENCLAW_AGENT_TOTAL_SECONDS,
        max_bytes=settings.OPENCLAW_AGENT_MAX_BYTES,
    )
