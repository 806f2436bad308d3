"""Each misconfiguration has a check with its id and a hint; what is right has none."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.checks import CheckMessage, run_checks
from django.core.management import call_command
from pytest_django.fixtures import Settings

from gateway import checks
from tests.process import ROOT, clean_environment


def found() -> dict[str, CheckMessage]:
    """What the checks say now, by id; each with a hint and a sentence that ends."""
    messages = run_checks(tags=[checks.TAG])
    for message in messages:
        assert message.hint
        assert message.msg.endswith(".")
    return {str(message.id): message for message in messages}


def test_default_settings_are_right() -> None:
    assert found() == {}


def test_e001_setting_that_cannot_be_read(settings: Settings) -> None:
    settings.OPENCLAW_UNREADABLE = [("OPENCLAW_PORT", "'abc' is not a number")]
    assert found()["openclaw.E001"].msg == "OPENCLAW_PORT cannot be used: 'abc' is not a number."


def test_w001_channel_setting_that_cannot_be_read(settings: Settings) -> None:
    settings.OPENCLAW_UNREADABLE = [("OPENCLAW_TELEGRAM_TOKEN", "no such file")]
    assert "OPENCLAW_TELEGRAM_TOKEN" in found()["openclaw.W001"].msg


@pytest.mark.parametrize("name", checks.CHOICES)
def test_e002_wrong_choice(settings: Settings, name: str) -> None:
    setattr(settings, name, "sometimes")
    message = found()["openclaw.E002"]
    assert message.msg == f"{name} is 'sometimes'."
    assert checks.CHOICES[name][0] in str(message.hint)


@pytest.mark.parametrize("name", checks.CHOICES)
def test_every_listed_choice_is_right(settings: Settings, name: str) -> None:
    for value in checks.CHOICES[name]:
        setattr(settings, name, value)
        assert found() == {}


@pytest.mark.parametrize("name", [*checks.ABOVE_ZERO, *checks.NOT_NEGATIVE])
@pytest.mark.parametrize("value", [-1, float("nan"), float("inf")])
def test_e003_number_out_of_range(settings: Settings, name: str, value: float) -> None:
    setattr(settings, name, value)
    assert name in found()["openclaw.E003"].msg


def test_e003_zero_is_right_only_where_it_means_something(settings: Settings) -> None:
    settings.OPENCLAW_DRAIN_SECONDS = 0
    assert found() == {}
    settings.OPENCLAW_IDLE_SECONDS = 0
    assert "openclaw.E003" in found()


@pytest.mark.parametrize("name", ["", "Mars/Base", "Europe"])
def test_e015_time_zone_that_is_not_known(settings: Settings, name: str) -> None:
    settings.OPENCLAW_TIMEZONE = name
    assert repr(name) in found()["openclaw.E015"].msg


@pytest.mark.parametrize("port", [0, -1, 65536])
@pytest.mark.parametrize("name", ["OPENCLAW_PORT", "OPENCLAW_PI_PORT"])
def test_e004_port_that_does_not_exist(settings: Settings, name: str, port: int) -> None:
    setattr(settings, name, port)
    assert name in found()["openclaw.E004"].msg


def test_e004_one_port_for_two(settings: Settings) -> None:
    settings.OPENCLAW_PI_PORT = settings.OPENCLAW_PORT
    assert "both" in found()["openclaw.E004"].msg


BAD_URLS = ["chat.example.com", "ftp://example.com", "https://", "http://[::1", "http://a:b/"]


@pytest.mark.parametrize("value", BAD_URLS)
def test_e005_public_url_without_scheme_or_host(settings: Settings, value: str) -> None:
    settings.OPENCLAW_PUBLIC_URL = value
    assert "openclaw.E005" in found()


@pytest.mark.parametrize("value", BAD_URLS)
def test_e006_agent_url_without_scheme_or_host(settings: Settings, value: str) -> None:
    settings.OPENCLAW_AGENT_URL = value
    assert "openclaw.E006" in found()


@pytest.mark.parametrize("value", [*BAD_URLS, "nonsense"])
def test_e014_media_url_without_scheme_or_host(settings: Settings, value: str) -> None:
    settings.OPENCLAW_MEDIA_URL = value
    assert "openclaw.E014" in found()


@pytest.mark.parametrize("value", [*BAD_URLS, "foo"])
def test_w016_models_url_without_scheme_or_host(settings: Settings, value: str) -> None:
    settings.OPENCLAW_LLM_BASE_URL = value
    assert "openclaw.W016" in found()


def test_e012_database_that_cannot_be_opened(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_file(path: Path) -> dict[str, CheckMessage]:
        monkeypatch.setitem(settings.DATABASES["default"], "NAME", str(path))
        return found()

    assert with_file(tmp_path / "new.sqlite3") == {}
    assert "there is no folder" in with_file(tmp_path / "no" / "x.sqlite3")["openclaw.E012"].msg
    assert "it is a folder" in with_file(tmp_path)["openclaw.E012"].msg
    (tmp_path / "file").touch()
    assert "openclaw.E012" in with_file(tmp_path / "file" / "x.sqlite3")


@pytest.mark.parametrize("value", ["a/b", "", "two words", "x" * 33])
def test_e019_instance_with_a_name_that_cannot_be_used(settings: Settings, value: str) -> None:
    settings.OPENCLAW_INSTANCE = value
    assert "openclaw.E019" in found()


@pytest.mark.parametrize("value", ["http://x", "x:8000", "x/y"])
def test_w017_allowed_host_that_is_none(settings: Settings, value: str) -> None:
    settings.OPENCLAW_ALLOWED_HOSTS = ["chat.example.com", ".example.com", value]
    assert repr(value) in found()["openclaw.W017"].msg


def test_w018_redis_is_not_used_yet(settings: Settings) -> None:
    settings.OPENCLAW_REDIS_URL = "redis://127.0.0.1"
    assert "openclaw.W018" in found()


@pytest.mark.parametrize("value", BAD_URLS)
def test_e006_api_url_without_scheme_or_host(settings: Settings, value: str) -> None:
    settings.OPENCLAW_AGENT_API_URL = value
    assert "openclaw.E006" in found()


def test_urls_that_are_right(settings: Settings) -> None:
    settings.OPENCLAW_PUBLIC_URL = "https://chat.example.com"
    settings.OPENCLAW_AGENT_URL = "http://127.0.0.1:9000/rpc/message"
    settings.OPENCLAW_AGENT_API_URL = "http://127.0.0.1:8000/api/v1"
    assert found() == {}


def test_e007_data_folder_that_cannot_be_written(settings: Settings, tmp_path: Path) -> None:
    settings.OPENCLAW_DATA_DIR = tmp_path / "missing"
    assert "No such file" in found()["openclaw.E007"].msg
    (tmp_path / "file").touch()
    settings.OPENCLAW_DATA_DIR = tmp_path / "file"
    assert "openclaw.E007" in found()


def test_w008_data_folder_open_to_others(settings: Settings, tmp_path: Path) -> None:
    settings.OPENCLAW_DATA_DIR = tmp_path
    tmp_path.chmod(0o700)
    assert found() == {}
    tmp_path.chmod(0o750)
    assert found()["openclaw.W008"].hint == f"chmod 700 {tmp_path}"


def test_w009_unknown_name_with_a_suggestion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENCLAW_DURABLITY", "full")
    message = found()["openclaw.W009"]
    assert message.msg == "There is no setting OPENCLAW_DURABLITY."
    assert message.hint == "Did you mean OPENCLAW_DURABILITY?"


def test_w009_unknown_name_of_an_enabled_channel(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    monkeypatch.setenv("OPENCLAW_WEBCHAT_ACESS", "open")
    assert found()["openclaw.W009"].hint == "Did you mean OPENCLAW_WEBCHAT_ACCESS?"


def test_names_that_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        *checks.NOT_IN_SETTINGS,
        "OPENCLAW_SECRET_KEY_FILE",
        "OPENCLAW_WEBCHAT_IDLE_SECONDS",
        "OPENCLAW_TELEGRAM_TOKEN",  # installed, and switched off
    ):
        monkeypatch.setenv(name, "1")
    assert found() == {}


def test_w010_no_channel(settings: Settings) -> None:
    settings.OPENCLAW_CHANNELS = []
    assert "webchat" in str(found()["openclaw.W010"].hint)


def test_w011_reachable_without_tls(settings: Settings) -> None:
    settings.OPENCLAW_HOST = "0.0.0.0"
    assert "openclaw.W011" in found()


def test_channel_that_does_not_exist_is_left_out(settings: Settings) -> None:
    settings.OPENCLAW_CHANNELS = ["webchat", "pigeon"]
    assert "pigeon" in found()["openclaw.channel.pigeon.channel"].msg


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("access", "everyone"),
        ("rate", "fast"),
        ("groups", "some"),
        ("group_sessions", "all"),
        ("idle_seconds", "-5"),
    ],
)
def test_channel_with_a_wrong_rule(settings: Settings, field: str, value: str) -> None:
    settings.OPENCLAW_CHANNEL_SETTINGS = {"webchat": {field: value}}
    message = found()[f"openclaw.channel.webchat.{field}"]
    assert f"OPENCLAW_WEBCHAT_{field.upper()} is {value!r}" in message.msg


def test_channel_without_its_secret(settings: Settings) -> None:
    settings.OPENCLAW_CHANNELS = ["telegram"]
    settings.OPENCLAW_CHANNEL_SETTINGS = {"telegram": {}}
    assert any(name.startswith("openclaw.channel.telegram.") for name in found())


def test_bad_channel_never_stops_a_command(settings: Settings) -> None:
    """Strict configuration bricks the gateway: a bad channel stops alone."""
    settings.OPENCLAW_CHANNELS = ["pigeon"]
    call_command("check")


def run_check(data_dir: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=ROOT,
        env=clean_environment(data_dir, env),
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_check_command_says_id_and_hint_and_fails(tmp_path: Path) -> None:
    done = run_check(tmp_path / "data", OPENCLAW_UNSURE="perhaps")
    assert done.returncode == 1
    assert "openclaw.E002" in done.stderr
    assert "Use one of: resend, hold." in done.stderr


def test_every_id_is_tested_here() -> None:
    source = (ROOT / "gateway" / "checks.py").read_text()
    ids = set(re.findall(r"[EW]0\d\d", source))
    tests = Path(__file__).read_text()
    assert ids
    assert {name for name in ids if f"def test_{name.lower()}" not in tests} == set()


def test_names_are_read_from_the_environment_and_values_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENCLAW_PASSWRD", "not-to-be-shown")
    assert "not-to-be-shown" not in str(found())
    assert os.environ["OPENCLAW_PASSWRD"]
