"""Settings of the Telegram channel, and what can be wrong with them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from adapters.base import Problem, setting

TELEGRAM = "https://api.telegram.org"
WEBHOOK_PORTS = (None, 443, 80, 88, 8443)  # Telegram's server calls no others

_TOKEN = re.compile(r"\d+:[A-Za-z0-9_-]+")
_SECRET = re.compile(r"[A-Za-z0-9_-]{1,256}")


@dataclass(frozen=True, slots=True, repr=False)
class TelegramConfig:
    """Settings of the channel."""

    token: str = setting(help="The bot's token, from @BotFather.", secret=True)
    secret: str = setting(
        help="What Telegram must show with every webhook call: 1 to 256 of A-Z a-z 0-9 _ -.",
        secret=True,
    )
    mode: str = setting("polling", help="`polling` or `webhook`.")
    api_url: str = setting(TELEGRAM, help="Base URL of the Bot API; your own server, or a test's.")


def problems(config: TelegramConfig, public_url: str) -> list[Problem]:
    """Missing or malformed token, secret, mode and public URL."""
    found = []
    if not config.token:
        found.append(
            Problem(
                "token",
                "The bot has no token.",
                "Set OPENCLAW_TELEGRAM_TOKEN to what @BotFather answered to /newbot.",
            )
        )
    elif not _TOKEN.fullmatch(config.token):
        found.append(
            Problem(
                "token",
                "The bot's token does not look like one.",
                "It is a number, a colon and a text without spaces, like 123456789:AAF….",
            )
        )
    if config.mode not in ("polling", "webhook"):
        found.append(
            Problem(
                "mode",
                f"There is no mode {config.mode!r}.",
                "Set OPENCLAW_TELEGRAM_MODE to polling or webhook.",
            )
        )
    if config.mode == "webhook":
        found += _webhook_problems(config, public_url)
    return found


def _webhook_problems(config: TelegramConfig, public_url: str) -> list[Problem]:
    found = []
    if not _SECRET.fullmatch(config.secret):
        found.append(
            Problem(
                "secret",
                "Webhook mode needs a secret of 1 to 256 characters A-Z a-z 0-9 _ -.",
                "Set OPENCLAW_TELEGRAM_SECRET, for example to what `openssl rand -hex 32` prints.",
            )
        )
    own = config.api_url.rstrip("/") == TELEGRAM
    hint = "Set OPENCLAW_PUBLIC_URL, or OPENCLAW_TELEGRAM_MODE=polling, which needs none."
    if not public_url:
        found.append(Problem("public_url", "Webhook mode needs a public URL.", hint))
    elif own and not public_url.startswith("https://"):
        found.append(Problem("public_url", "Telegram calls https addresses only.", hint))
    elif own and _port(public_url) not in WEBHOOK_PORTS:
        message = "Telegram calls the ports 443, 80, 88 and 8443 only."
        found.append(Problem("public_url", message, hint))
    return found


def _port(url: str) -> int | None:
    try:
        return urlsplit(url).port
    except ValueError:
        return 0
