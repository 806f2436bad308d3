"""Slows down who guesses passwords, at every login form alike.

Wrong tries count per account name and address, and ten times as many per account
name alone, whatever the address: behind a proxy everybody may seem to come from one
place, and an address that somebody else writes down may be made up. Nothing counts
by address alone, so nobody is locked out by another person's tries at another account.
"""

from __future__ import annotations

from ipaddress import ip_address
from math import ceil
from typing import Any

from axes.handlers.database import AxesDatabaseHandler
from django.conf import settings
from django.db.models import Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

NAME_SHARE = 10
"""How many tries at a name from anywhere weigh as much as one from one address."""


class LoginThrottle(AxesDatabaseHandler):  # type: ignore[misc]  # axes has no types
    """Counts in the database, so that all processes and restarts see the same."""

    def get_failures(self, request: HttpRequest, credentials: Any = None) -> int:
        """Failed tries that count against this one: by (name, address) or by name alone.

        AXES_LOCKOUT_PARAMETERS names them in this order.
        """
        here, anywhere = (
            int(attempts.aggregate(tries=Sum("failures_since_start"))["tries"] or 0)
            for attempts in self.get_user_attempts(request, credentials)
        )
        return max(here, anywhere // NAME_SHARE)


def address(request: HttpRequest) -> str | None:
    """Where a request came from.

    The address a proxy wrote down counts only where one is set up
    (OPENCLAW_PUBLIC_URL with https) and on this machine; of a list only the last
    entry, which is the proxy's own: the others are what the client says.
    """
    peer = _valid(request.META.get("REMOTE_ADDR", ""))
    if peer is None or not ip_address(peer).is_loopback or not settings.SECURE_PROXY_SSL_HEADER:
        return peer
    return _valid(request.META.get("HTTP_X_FORWARDED_FOR", "").rpartition(",")[2]) or peer


def locked(request: HttpRequest, *details: Any) -> HttpResponse:
    """The page for who tried too often. 429, and when to come back."""
    seconds = settings.AXES_COOLOFF_TIME.total_seconds()
    minutes = ceil(seconds / 60)
    response = render(request, "console/locked.html", {"minutes": minutes}, status=429)
    response["Retry-After"] = str(ceil(seconds))
    return response


def _valid(text: str) -> str | None:
    try:
        return str(ip_address(text.strip()))
    except ValueError:
        return None
