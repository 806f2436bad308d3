"""What the person wants to be different, kept by the gateway: their time zone."""

from __future__ import annotations

from pi.gateway import Gateway
from pi.tools.dates import Clock
from pi.tools.zones import find_zone


class Preferences:
    """Tools for the person's preferences. Each raises `ToolError`."""

    def __init__(self, gateway: Gateway, clock: Clock) -> None:
        self._gateway = gateway
        self._clock = clock

    async def set_time_zone(self, place: str) -> str:
        """Keep where this person is: reminders, times and dates go by it from now on.

        Args:
            place: a city, or a time zone's name such as Europe/Berlin.
        """
        zone = find_zone(place)
        await self._gateway.change_preferences({"timezone": zone.key})
        there = self._clock().astimezone(zone)
        return f"Your time zone is {zone.key} now; it is {there:%H:%M} there."
