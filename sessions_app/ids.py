"""Identifiers: sortable by the time they were made, and not to be guessed."""

from __future__ import annotations

import base64
import os
import time

MEDIA_NAME = r"[0-9a-f]{32}\.[a-z0-9]{1,8}"
"""What the files in the media folder are called. No other name is ever looked for there."""


def new_id(prefix: str) -> str:
    """`prefix` + "_" + 26 characters: 6 bytes of milliseconds, 10 of randomness."""
    raw = int(time.time() * 1000).to_bytes(6, "big") + os.urandom(10)
    return f"{prefix}_{base64.b32hexencode(raw).decode().lower().rstrip('=')}"


def new_key() -> str:
    """24 random characters: a delivery's public id, short enough for every platform."""
    return base64.b32hexencode(os.urandom(15)).decode().lower()
