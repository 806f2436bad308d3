"""A setting that cannot be read is said in one line, by its name; its value is not shown."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.process import ROOT, clean_environment


def check(data_dir: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=ROOT,
        env=clean_environment(data_dir, env),
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("OPENCLAW_PORT", "sesame", "OPENCLAW_PORT cannot be used: it takes a number."),
        ("OPENCLAW_IDLE_SECONDS", "1h", "OPENCLAW_IDLE_SECONDS cannot be used: it takes a number."),
        ("OPENCLAW_LOG_LEVEL", "LOUD", "OPENCLAW_LOG_LEVEL is 'LOUD'."),
        (
            "OPENCLAW_SECRET_KEY_FILE",
            "/nowhere/key",
            "the file that OPENCLAW_SECRET_KEY_FILE names",
        ),
        ("DATABASE_URL", "foo", "DATABASE_URL cannot be used: it takes a database's URL"),
        ("DATABASE_URL", "mysql://127.0.0.1/x", "DATABASE_URL cannot be used: the driver"),
        ("DATABASE_URL", "sqlite:////nowhere/x.sqlite3", "there is no folder /nowhere."),
        ("OPENCLAW_STATIC_DIR", "/dev/null/static", "OPENCLAW_STATIC_DIR cannot be used: the"),
        ("OPENCLAW_MEDIA_MAX_BYTES", "-5", "OPENCLAW_MEDIA_MAX_BYTES is -5."),
        ("OPENCLAW_MEDIA_DAYS", "-1", "OPENCLAW_MEDIA_DAYS is -1."),
        ("OPENCLAW_INSTANCE", "a/b", "OPENCLAW_INSTANCE is 'a/b'."),
        ("OPENCLAW_DATA_DIR", "/dev/null/data", "The folder /dev/null/data cannot be written: Not"),
    ],
)
def test_core_setting_that_cannot_be_read_is_an_error(
    tmp_path: Path, name: str, value: str, says: str
) -> None:
    done = check(tmp_path / "data", **{name: value})
    assert done.returncode == 1
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert "sesame" not in done.stderr


def test_channel_secret_that_cannot_be_read_stops_only_the_channel(tmp_path: Path) -> None:
    done = check(
        tmp_path / "data",
        OPENCLAW_CHANNELS="webchat,telegram",
        OPENCLAW_TELEGRAM_TOKEN_FILE="/nowhere/token",
    )
    assert done.returncode == 0
    assert "openclaw.W001" in done.stderr
    assert "OPENCLAW_TELEGRAM_TOKEN_FILE names cannot be read (No such file" in done.stderr
    assert "Channel telegram is left out" in done.stderr


def test_secret_from_a_file_is_used(tmp_path: Path) -> None:
    secret = tmp_path / "key"
    secret.write_text("an obviously fake key, long enough for all its purposes 0123456789")
    done = check(tmp_path / "data", OPENCLAW_SECRET_KEY_FILE=str(secret))
    assert done.returncode == 0
    assert not (tmp_path / "data" / "secret_key").exists()


def test_the_time_zone_is_the_machines_unless_one_is_set(tmp_path: Path) -> None:
    """`TZ` names a machine's zone for one process (tzset(3))."""
    ask = "from django.conf import settings; print(settings.OPENCLAW_TIMEZONE)"
    for chosen, zone in (("", "Asia/Tokyo"), ("Europe/Paris", "Europe/Paris")):
        env = clean_environment(tmp_path, {"TZ": "Asia/Tokyo", "OPENCLAW_TIMEZONE": chosen})
        done = subprocess.run(
            [sys.executable, "-c", ask], cwd=ROOT, env=env, capture_output=True, text=True
        )
        assert done.stdout.split() == [zone], done.stderr
