"""What stands in the log, and what never does."""

from __future__ import annotations

import json
from logging.config import DictConfigurator
from typing import Any

import pytest
from django.conf import settings
from django.test import Client


def test_lines_of_json_hold_no_query(caplog: pytest.LogCaptureFixture) -> None:
    """What people search for stands in the address of a page."""
    configurator: Any = DictConfigurator(settings.LOGGING)
    formatter = configurator.configure_formatter(dict(settings.LOGGING["formatters"]["json"]))
    assert Client().get("/api/v1/nowhere?q=private+words").status_code == 404
    lines = [formatter.format(record) for record in caplog.records]
    assert any("/api/v1/nowhere" in json.loads(line)["message"] for line in lines)
    assert not any("private" in line for line in lines)
