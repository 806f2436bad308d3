"""kill -9 while a picture is fetched: it is fetched again, the agent gets it, no file is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.trapped import TrappedGateway, wait_for_death
from tests.e2e.test_files import PNG, attachments, got, photo
from tests.e2e.world import world

pytestmark = pytest.mark.heavy

POINTS = (
    "start_fetches:before_commit",
    "start_fetches:after_commit",
    "fetch:kept",
    "finish_fetches:before_commit",
    "finish_fetches:after_commit",
)


def test_a_kill_while_a_file_is_fetched_loses_neither_it_nor_the_message(tmp_path: Path) -> None:
    with world(tmp_path, kind=TrappedGateway) as made:
        gateway = made.gateway
        assert isinstance(gateway, TrappedGateway)
        for user, point in enumerate(POINTS, 1):
            gateway.set_trap(point, 1)
            photo(made, user, f"F-{user}", PNG)
            wait_for_death(gateway, point)
            gateway.remove_trap()
            gateway.spawn()
            made.telegram.wait_for(lambda user=user: made.telegram.texts(user), 30)
            (file,) = attachments(made)
            assert got(file["url"]) == (200, PNG)
        made.quiet()
        assert made.probe.rows("sessions_app.Attachment", "pk", state="waiting") == []
        stored = made.probe.rows("sessions_app.Attachment", "path", state="stored")
        assert len(stored) == len(POINTS)
        kept = [path for path in (gateway.data_dir / "media").rglob("*") if path.is_file()]
        assert 0 <= len(kept) - len(stored) <= 2  # what was kept without its row goes in a day
