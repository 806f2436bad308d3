"""The verbs on a database of their own, and a data folder for the files."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_django.fixtures import Settings

from gateway.models import Agent
from tests.conftest import Clock
from tests.core.kit import Verbs


@pytest.fixture
def data_dir(tmp_path: Path, settings: Settings) -> Path:
    """The data folder of this test."""
    settings.OPENCLAW_DATA_DIR = tmp_path
    return tmp_path


@pytest.fixture
def verbs(transactional_db: None, clock: Clock, data_dir: Path) -> Verbs:
    """The five verbs; `clock` stands still."""
    Agent.objects.create(name="one", url="http://127.0.0.1:1/rpc/message", is_default=True, pk=1)
    return Verbs()
