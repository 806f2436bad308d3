"""Which websocket is answered by whom.

Each route checks the browser's origin itself, so that none can be added without.
"""

from __future__ import annotations

from typing import Any

from channels.security.websocket import WebsocketDenier
from channels.sessions import CookieMiddleware
from django.urls import path, re_path

from gateway.consumers.chat import ChatSocket
from gateway.consumers.live import LiveSocket
from gateway.consumers.origin import OwnOrigin

chat: Any = OwnOrigin(CookieMiddleware(ChatSocket.serve))
live: Any = OwnOrigin(CookieMiddleware(LiveSocket.serve))

websocket_urlpatterns = [
    path("ws/chat/", chat),
    path("ws/live/", live),
    re_path("", WebsocketDenier.as_asgi()),
]
