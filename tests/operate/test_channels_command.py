"""`manage.py channels`: what is enabled, what it can do, and whether the platform knows us."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from adapters import base
from gateway.management.commands.channels import ROLES
from tests.adapters.harness import adapter_names
from tests.fakes.telegram import FakeTelegram
from tests.process import manage

TOKEN = "123456789:FAKE-token-of-the-tests"


def said(data_dir: Path, *arguments: str, **env: str) -> str:
    return manage("channels", *arguments, data_dir=data_dir, env=env)


def test_every_channel_is_described_with_its_set_up(tmp_path: Path) -> None:
    for name in adapter_names():
        shown = said(tmp_path, name, OPENCLAW_CHANNELS=name)
        assert f"{name}: enabled" in shown
        assert re.search(r"text: [0-9,]+ characters .*a part", shown)


def test_roles_that_have_properties_are_named_too(tmp_path: Path) -> None:
    shown = said(tmp_path, "telegram", OPENCLAW_CHANNELS="telegram")
    for role in ("WebhookReceiver", "Listener", "Editor", "Drafter", "MediaSource"):
        assert role in shown
    assert "Settler" not in shown


def test_every_role_is_known_to_the_command() -> None:
    roles = {one for one in vars(base).values() if getattr(one, "_is_runtime_protocol", False)}
    assert set(ROLES) == roles


def test_probing_a_channel_that_is_not_enabled_says_so(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="telegram is not enabled: add it to OPENCLAW_CHANNELS"):
        said(tmp_path, "telegram", "--probe", OPENCLAW_CHANNELS="webchat")


def test_probe_asks_the_platform_and_fails_where_it_says_no(tmp_path: Path) -> None:
    with FakeTelegram.in_thread(token=TOKEN) as fake:
        env = {
            "OPENCLAW_CHANNELS": "telegram",
            "OPENCLAW_TELEGRAM_API_URL": fake.url,
            "OPENCLAW_TELEGRAM_TOKEN": TOKEN,
        }
        assert "@fake_bot (7000000001)" in said(tmp_path, "--probe", **env)
        with pytest.raises(RuntimeError, match="does not know this token"):
            said(tmp_path, "--probe", **{**env, "OPENCLAW_TELEGRAM_TOKEN": TOKEN + "x"})
        assert fake.sent == []
