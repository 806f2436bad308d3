"""What the first start makes, once: an operator's account and the default agent.

All of it may run in several processes at once, and any number of times.
"""

from __future__ import annotations

import secrets

from django.conf import settings
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction

from gateway.models import Agent

OPERATOR = "operator"
BUNDLED = "pi"


def bundled_url() -> str:
    """Where the bundled agent listens."""
    return f"http://127.0.0.1:{settings.OPENCLAW_PI_PORT}/rpc/message"


def ensure_operator() -> str | None:
    """The new operator's password if an account was made now; None if there is an administrator.

    The password is random, kept only as a hash, and known to nobody but the caller.
    """
    if User.objects.filter(is_superuser=True).exists():
        return None
    password = secrets.token_urlsafe(12)
    try:
        with transaction.atomic():
            User.objects.create_superuser(OPERATOR, password=password)
    except IntegrityError:  # another process made it just now, or the name is someone's
        return None
    return password


def ensure_default_agent() -> None:
    """Make sure that messages are answered: by OPENCLAW_AGENT_URL, or by the bundled agent.

    Makes the default agent where there is no agent at all. OPENCLAW_AGENT_URL also
    takes over from the bundled agent when it is set later. Whatever else an
    operator arranged stays as it is.
    """
    _follow_port()
    url = settings.OPENCLAW_AGENT_URL
    with transaction.atomic():
        if url and url != bundled_url() and _bundled_steps_back():
            _take_over(url)
        elif not Agent.objects.exists():
            _add("default" if url else BUNDLED, url or bundled_url())


def bundled_agent_wanted() -> bool:
    """Whether an enabled agent is the bundled one, so that it has to run."""
    return Agent.objects.filter(enabled=True, url=bundled_url()).exists()


def _add(name: str, url: str) -> None:
    """Several may come here at once: the constraints on name and default let one through."""
    Agent.objects.bulk_create([Agent(name=name, url=url, is_default=True)], ignore_conflicts=True)


def _take_over(url: str) -> None:
    known = Agent.objects.filter(url=url).order_by("id").first()
    if known is not None:
        Agent.objects.filter(pk=known.pk).update(is_default=True, enabled=True)
    else:
        taken = Agent.objects.filter(name="default").exists()
        _add(f"default-{secrets.token_hex(2)}" if taken else "default", url)


def _bundled_steps_back() -> bool:
    """True where the bundled agent was the default and no longer is."""
    bundled = Agent.objects.filter(name=BUNDLED, url=bundled_url(), is_default=True)
    unused = not bundled.filter(rules__isnull=False).exists()
    if unused:
        return bool(bundled.update(is_default=False, enabled=False))
    return bool(bundled.update(is_default=False))


def _follow_port() -> None:
    """The bundled agent's row follows OPENCLAW_PI_PORT, unless it was moved to another place."""
    Agent.objects.filter(name=BUNDLED, url__regex=r"^http://127\.0\.0\.1:\d+/rpc/message$").exclude(
        url=bundled_url()
    ).update(url=bundled_url())
