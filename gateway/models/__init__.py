"""Work in flight: agents, routing, turns, deliveries, schedules and what watches over them."""

from gateway.models.access import ApiToken, IdempotencyKey, PairingCode
from gateway.models.agents import Agent, AgentHealth, RoutingRule
from gateway.models.deliveries import Delivery
from gateway.models.schedules import Occurrence, Schedule
from gateway.models.turns import Replay, Turn
from gateway.models.watch import Audit, Cursor, Heartbeat, SetAside

__all__ = [
    "Agent",
    "AgentHealth",
    "ApiToken",
    "Audit",
    "Cursor",
    "Delivery",
    "Heartbeat",
    "IdempotencyKey",
    "Occurrence",
    "PairingCode",
    "Replay",
    "RoutingRule",
    "Schedule",
    "SetAside",
    "Turn",
]
