"""The roles come with the migration, go with its reverse, and come again."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from tests.process import fresh_data_dir, manage


def roles(data_dir: Path) -> dict[str, int]:
    """Role -> how many permissions it has."""
    with contextlib.closing(sqlite3.connect(data_dir / "openclaw.sqlite3")) as database:
        rows = database.execute(
            "SELECT g.name, COUNT(*) FROM auth_group g "
            "JOIN auth_group_permissions p ON p.group_id = g.id GROUP BY g.name"
        )
        return dict(rows.fetchall())


def test_roles_come_go_and_come_again(tmp_path: Path) -> None:
    data_dir = fresh_data_dir(tmp_path)
    fresh = roles(data_dir)
    assert 10 < fresh["viewer"] < fresh["operator"] < fresh["admin"]
    manage("migrate", "--verbosity", "0", "gateway", "0003", data_dir=data_dir)
    assert roles(data_dir) == {}
    manage("migrate", "--verbosity", "0", data_dir=data_dir)
    assert roles(data_dir) == fresh
