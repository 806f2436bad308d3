"""Conversations across a long pause of the gateway's, for each value of OPENCLAW_RESTORE."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.e2e.world import World, world

PERSON = 59


def an_hour_passes(made: World) -> None:
    """As if the gateway, which is stopped now, had been stopped an hour ago."""
    now = datetime.now(UTC)
    made.probe.update(
        "gateway.Heartbeat", {"name": "gateway"}, at=(now - timedelta(hours=1)).isoformat()
    )
    made.probe.update(
        "sessions_app.Session", {}, expires_at=(now - timedelta(minutes=46)).isoformat()
    )


def exchange(made: World) -> tuple[str, int]:
    """The person writes and is answered: the session, and how many messages the agent was told."""
    made.say(PERSON)
    made.settle()
    made.quiet()
    call = made.agent.calls[-1]
    return call.session, len(call.messages)


def test_conversations_after_an_hour_down_and_after_a_time_out(tmp_path: Path) -> None:
    with world(tmp_path, OPENCLAW_RESTORE="on_restart") as made:
        first, _ = exchange(made)
        made.gateway.stop()
        an_hour_passes(made)
        made.gateway.spawn()
        assert exchange(made) == (first, 3)  # the hour down does not count as idle

        made.gateway.restart({"OPENCLAW_RESTORE": "never"})
        second, told = exchange(made)
        assert second != first
        assert told == 1

        made.probe.update("sessions_app.Session", {"pk": second}, expires_at="2020-01-01T00:00Z")
        third, told = exchange(made)  # timed out while the gateway was up
        assert third not in (first, second)
        assert told == 1

        made.gateway.restart({"OPENCLAW_RESTORE": "always"})
        made.probe.update("sessions_app.Session", {"pk": third}, expires_at="2020-01-01T00:00Z")
        assert exchange(made) == (third, 3)  # who returns gets the old session back

        assert made.gateway.stop() == 0
        assert made.tally.problems() == {}
        states = {
            row["id"]: row["state"]
            for row in made.probe.rows("sessions_app.Session", "id", "state")
        }
        assert states == {first: "terminated", second: "terminated", third: "active"}
