"""/healthz: the process is up. /readyz: it can work, part by part."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import orjson

from adapters.base import Listener, Reply
from gateway.agents.base import Target
from gateway.ledger import Unavailable
from gateway.ledger.recovery import WORKER
from gateway.lines import Line
from gateway.models import AgentHealth
from gateway.runtime import Runtime, current
from gateway.webhooks import Receive, Scope, Send, answer
from sessions_app import clock
from sessions_app.sql import parse_moment, run

WORKER_SECONDS = 150.0
"""The worker beats once a minute; two missed beats and a half are a failure."""

QUIET_SECONDS = 180.0
"""A listener that has not come back for this long does not listen, whatever it says."""

PROBE_SECONDS = 10.0
"""For how long an answer about the agents holds: /readyz must not become a load on them."""

DATABASE_SECONDS = 3.0

LEDGER_SECONDS = 30.0
"""The ledger runs a round at least once a second; after this long without one it is dead."""

_probed: tuple[float, dict[str, Any]] = (float("-inf"), {})


async def healthz(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers as long as the event loop turns."""
    await answer(send, Reply(200, b"ok"))


async def readyz(scope: Scope, receive: Receive, send: Send) -> None:
    """200 when every part works, else 503; either way with each part."""
    parts = await readiness(current())
    ready = all(part["ok"] for group in parts.values() for part in group.values())
    body = orjson.dumps({"ready": ready, **parts}, option=orjson.OPT_INDENT_2)
    await answer(send, Reply(200 if ready else 503, body, "application/json"))


async def readiness(runtime: Runtime) -> dict[str, dict[str, Any]]:
    """{"core": {...}, "channels": {...}, "agents": {...}}; each part has "ok" and details."""
    return {
        "core": await _core(runtime),
        "channels": {name: _channel(line) for name, line in runtime.lines.items()}
        | {name: {"ok": False, "state": "left out"} for name in runtime.left_out},
        "agents": await agents(runtime) | await _away(runtime),
    }


async def _core(runtime: Runtime) -> dict[str, Any]:
    loop = runtime.lag.report()
    try:
        async with asyncio.timeout(DATABASE_SECONDS):
            seen = await runtime.ledger.call(_worker_seen, atomic=False)
    except (Unavailable, TimeoutError) as error:
        return {
            "database": {"ok": False, "detail": str(error) or "no answer in time"},
            "loop": loop,
        }
    quiet = round(runtime.ledger.quiet_seconds(), 1)
    ledger = {"ok": quiet < LEDGER_SECONDS, "round_seconds_ago": quiet}
    age = None if seen is None else round((clock.now() - seen).total_seconds(), 1)
    worker = {"ok": age is not None and age < WORKER_SECONDS, "seen_seconds_ago": age}
    return {"database": {"ok": True}, "ledger": ledger, "worker": worker, "loop": loop}


def _worker_seen() -> Any:
    rows = run("SELECT at FROM gateway_heartbeat WHERE name = %s", (WORKER,))
    return parse_moment(rows[0][0]) if rows else None


def _channel(line: Line) -> dict[str, Any]:
    """A channel works when its own inbound side does: a listener has to come back in time."""
    listens = isinstance(line.adapter, Listener) and line.adapter.listens
    age = (clock.now() - line.alive_at).total_seconds() if line.alive_at else 0.0
    quiet = listens and age > QUIET_SECONDS
    report = line.report() | ({"detail": f"silent for {age:.0f} s"} if quiet else {})
    return {"ok": line.state == "up" and not quiet, **report}


async def agents(runtime: Runtime) -> dict[str, Any]:
    """Whether each agent answers, by name; asked anew every ten seconds at most."""
    global _probed
    if time.monotonic() - _probed[0] > PROBE_SECONDS:
        targets = runtime.router.targets()
        reasons = await asyncio.gather(*(_probe(runtime, target) for target in targets))
        found = {
            target.name: {"ok": reason is None, **({"detail": reason} if reason else {})}
            for target, reason in zip(targets, reasons, strict=True)
        }
        if not targets:
            found = {"(none)": {"ok": False, "detail": "no agent is set up"}}
        _probed = (time.monotonic(), found)
    return _probed[1]


async def _away(runtime: Runtime) -> dict[str, Any]:
    """Agents whose circuit is open: their turns wait, whatever /health says."""

    def read() -> dict[str, Any]:
        rows = AgentHealth.objects.exclude(state="closed").filter(agent__enabled=True)
        return {
            name: {"ok": False, "circuit": state, "detail": detail}
            for name, state, detail in rows.values_list("agent__name", "state", "detail")
        }

    try:
        async with asyncio.timeout(DATABASE_SECONDS):
            found: dict[str, Any] = await runtime.ledger.call(read, atomic=False)
    except (Unavailable, TimeoutError):  # said by the part "core"
        return {}
    return found


async def _probe(runtime: Runtime, target: Target) -> str | None:
    managed = runtime.router.managed(target.name)
    if managed is not None:  # looked after here: what is known of it is newer than any answer
        return runtime.fleet.standing(managed)
    return await runtime.agents.probe(target)
