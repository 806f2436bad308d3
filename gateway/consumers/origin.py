"""Lets only our own pages open a websocket: browsers send cookies to whoever asks."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlparse

from channels.security.websocket import OriginValidator, WebsocketDenier
from django.conf import settings


class OwnOrigin(OriginValidator):
    """The origin's host must be one of ALLOWED_HOSTS, and the page's port be ours too.

    Channels' own check ends with the host, and cookies do not tell ports apart:
    any other server on 127.0.0.1 could read along with the operator's login. So
    the origin must also be where the request went, or a trusted one, as Django
    asks of forms.
    """

    def __init__(self, application: Any) -> None:
        super().__init__(application, settings.ALLOWED_HOSTS)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> Any:
        headers = dict(scope["headers"])
        origin = headers.get(b"origin", b"").decode("latin1").lower()
        here = headers.get(b"host", b"").decode("latin1").lower()
        if origin in settings.CSRF_TRUSTED_ORIGINS or urlparse(origin).netloc == here:
            return await super().__call__(scope, receive, send)
        return await WebsocketDenier()(scope, receive, send)
