"""The API, put together."""

from __future__ import annotations

from ninja import NinjaAPI

from gateway.api import me, problems

api = NinjaAPI(
    title="OpenClaw gateway",
    version="1",
    description="What programs and agents may do. See docs/api.md.",
    urls_namespace="api",
    docs_url=None,
)
problems.install(api)
api.add_router("/me", me.router)
