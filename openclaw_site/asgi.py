"""The ASGI application: what needs no page bare, websockets by channels, pages by Django."""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "openclaw_site.settings")

from django.core.asgi import get_asgi_application

pages = get_asgi_application()

from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402  (needs Django set up)

from gateway.entrance.app import PREFIX as ENTRANCE  # noqa: E402
from gateway.entrance.app import entrance  # noqa: E402
from gateway.health import healthz, readyz  # noqa: E402
from gateway.media.links import PREFIX as MEDIA  # noqa: E402
from gateway.media.serve import media  # noqa: E402
from gateway.routing import websocket_urlpatterns  # noqa: E402
from gateway.webhooks import PREFIX, webhook  # noqa: E402

_BARE = {"/healthz": healthz, "/readyz": readyz}


async def http(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """What needs no session, user or template goes past Django."""
    path = scope["path"]
    if path.startswith(PREFIX):
        await webhook(scope, receive, send)
    elif path.startswith(MEDIA):
        await media(scope, receive, send)
    elif path.startswith(ENTRANCE):
        await entrance(scope, receive, send)
    elif (bare := _BARE.get(path)) is not None:
        await bare(scope, receive, send)
    else:
        await pages(scope, receive, send)


application = ProtocolTypeRouter(
    {
        "http": http,
        "websocket": URLRouter(websocket_urlpatterns),
    }
)
