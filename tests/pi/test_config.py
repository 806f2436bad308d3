"""Pi's settings: names, sources, and what is said about a wrong one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pi.config import BASE_DIR, LOCAL_MODELS_URL, Config, ConfigError, load
from pi.tools.dates import clock_in, local_now
from tests.pi.conftest import KEY

NO_FILE = {"OPENCLAW_ENV_FILE": os.devnull}


def test_nothing_set() -> None:
    assert load(NO_FILE) == Config(files_dir=str(BASE_DIR / "var" / "pi"))
    assert Config().port == 9000 and Config().model == ""


def test_environment_wins_over_the_env_file(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("OPENCLAW_PI_PORT=9001\nOPENCLAW_LLM_MODEL=from-file\n")
    config = load({"OPENCLAW_ENV_FILE": str(env_file), "OPENCLAW_LLM_MODEL": "from-environment"})
    assert (config.port, config.model) == (9001, "from-environment")
    assert "OPENCLAW_PI_PORT" not in os.environ


def test_the_clock_is_the_one_of_the_time_zone() -> None:
    config = load({**NO_FILE, "OPENCLAW_TIMEZONE": "Asia/Tokyo"})
    assert clock_in(config.timezone)().tzname() == "JST"
    assert clock_in("")().utcoffset() == local_now().utcoffset()


def test_key_from_a_file_loses_its_line_end_and_is_never_shown(tmp_path: Path) -> None:
    key_file = tmp_path / "key"
    key_file.write_text(KEY + "\n")
    config = load({**NO_FILE, "OPENCLAW_LLM_API_KEY_FILE": str(key_file)})
    assert config.api_key == KEY
    assert KEY not in repr(config)


@pytest.mark.parametrize(
    ("given", "used", "shown"),
    [
        ("", LOCAL_MODELS_URL, LOCAL_MODELS_URL),
        ("https://example.com/v1/", "https://example.com/v1", "https://example.com/v1"),
        ("http://127.0.0.1:8080/v1/chat/completions", "http://127.0.0.1:8080/v1", None),
        ("http://me:pw@127.0.0.1:8080/v1", None, "http://127.0.0.1:8080/v1"),
    ],
)
def test_base_url(given: str, used: str | None, shown: str | None) -> None:
    config = load({**NO_FILE, "OPENCLAW_LLM_BASE_URL": given})
    assert config.base_url == (used or given)
    assert config.shown_url == (shown or used)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OPENCLAW_PI_PORT", "ninethousand"),
        ("OPENCLAW_PI_PORT", "65536"),
        ("OPENCLAW_PI_PORT", "-1"),
        ("OPENCLAW_PI_PORT", "٩٠٠٠"),
        ("OPENCLAW_PI_PORT", ""),
        ("OPENCLAW_TIMEZONE", "Europe/Nowhere"),
        ("OPENCLAW_LLM_BASE_URL", "127.0.0.1:11434/v1"),
        ("OPENCLAW_LLM_BASE_URL", "ftp://example.com"),
        ("OPENCLAW_LLM_BASE_URL", "http://"),
        ("OPENCLAW_LLM_BASE_URL", "http://[::1"),
        ("OPENCLAW_LLM_BASE_URL", "http://127.0.0.1:99999/v1"),
        ("OPENCLAW_LLM_API_KEY", "kéy"),
        ("OPENCLAW_LLM_API_KEY", "two\nlines"),
        ("OPENCLAW_LOG_LEVEL", "LOUD"),
    ],
)
def test_wrong_value_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=name):
        load({**NO_FILE, name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OPENCLAW_LLM_BASE_URL", "ftp://me:secret@example.com"),
        ("OPENCLAW_LLM_API_KEY", "secret\u200b"),
    ],
)
def test_what_may_be_secret_is_not_repeated(name: str, value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load({**NO_FILE, name: value})
    assert "secret" not in str(caught.value)


def test_missing_key_file_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="_FILE"):
        load({**NO_FILE, "OPENCLAW_LLM_API_KEY_FILE": str(tmp_path / "absent")})
