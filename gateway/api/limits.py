"""How often a token may call: a bucket for each, in memory, refilled as time passes."""

from __future__ import annotations

import math
import threading

from django.conf import settings

from gateway.api.problems import Problem
from sessions_app import clock

MOST = 10_000
"""Buckets that are kept; when there are more, full ones go."""

_lock = threading.Lock()
_buckets: dict[str, tuple[float, float]] = {}
"""Caller -> (calls left, when that was so)."""


def take(who: str) -> None:
    """Count a call. Raises `Problem` 429 where the bucket is empty."""
    most = settings.OPENCLAW_API_PER_MINUTE
    if not most:
        return
    now, each = clock.now().timestamp(), 60 / most
    with _lock:
        left, at = _buckets.get(who, (float(most), now))
        left = min(float(most), left + max(0.0, now - at) / each)
        if left >= 1:
            _buckets[who] = (left - 1, now)
            _make_room(float(most), now, each)
            return
    seconds = math.ceil((1 - left) * each)
    detail = f"More than {most} calls in a minute."
    raise Problem(429, detail, headers={"Retry-After": str(max(1, seconds))})


def _make_room(most: float, now: float, each: float) -> None:
    if len(_buckets) <= MOST:
        return
    full = [who for who, (left, at) in _buckets.items() if left + (now - at) / each >= most]
    for who in full or list(_buckets)[: MOST // 10]:
        del _buckets[who]
