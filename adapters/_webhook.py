"""What channels with a signed webhook share: the signature, and what has to be configured."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from adapters.base import Forbidden, Malformed, Problem


def check_signature(shown: str, prefix: str, secret: str, message: bytes) -> None:
    """`shown` must be `prefix` and the HMAC-SHA256 of `message`, in hexadecimal digits.

    Raises `Forbidden`; also where there is no secret of our own. Constant time.
    """
    key = secret.encode("utf-8", "surrogatepass")
    ours = prefix.encode() + hmac.new(key, message, hashlib.sha256).hexdigest().encode()
    if not hmac.compare_digest(shown.encode("utf-8", "surrogatepass"), ours) or not key:
        raise Forbidden("wrong or missing signature")


def form_field(body: bytes, name: str) -> dict[str, Any]:
    """The JSON object in a field of a form. Raises `Malformed`."""
    try:
        (value,) = parse_qs(body.decode("utf-8", "replace"), strict_parsing=True)[name]
        found = json.loads(value)
    except (ValueError, KeyError, RecursionError):
        raise Malformed(f"a form without {name}") from None
    if not isinstance(found, dict):
        raise Malformed(f"{name} of a form is not an object")
    return found


def missing(channel: str, config: Any, hints: Mapping[str, str]) -> list[Problem]:
    """A problem for each setting that is empty; `hints` says where to find it."""
    prefix = f"OPENCLAW_{channel.upper()}_"
    return [
        Problem(field, f"{prefix}{field.upper()} is missing.", hint)
        for field, hint in hints.items()
        if not getattr(config, field)
    ]


def needs_https(own: bool, public_url: str) -> list[Problem]:
    """The platform's own servers (`own`) call public https addresses only."""
    if not own or public_url.startswith("https://"):
        return []
    message = "The platform calls a public https address, and there is none."
    return [Problem("public_url", message, "Set OPENCLAW_PUBLIC_URL.")]
