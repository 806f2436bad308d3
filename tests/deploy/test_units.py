"""The systemd units: systemd understands them, and what they run runs."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from django.conf import settings

from gateway.server import STOP_GRACE_SECONDS
from pi.config import load
from tests.deploy import units
from tests.deploy.nginx import find
from tests.process import free_port

pytestmark = pytest.mark.heavy
EVERY = (*units.SERVICES, "openclaw.target")
MOST_EXPOSURE = 20
"""Of 100, as `systemd-analyze security` counts (1.5 of 10 when written; nothing is 96)."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The units, with the paths of this checkout."""
    for name in EVERY:
        (tmp_path / name).write_text(units.rendered((units.FOLDER / name).read_text()))
    return tmp_path


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [find("systemd-analyze"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_systemd_finds_nothing_wrong_with_the_units(folder: Path) -> None:
    done = analyze("verify", "--man=no", *(str(folder / name) for name in EVERY))
    ours = [line for line in done.stderr.splitlines() if "openclaw" in line]
    assert (done.returncode, ours) == (0, [])


def test_systemd_does_find_what_is_wrong(folder: Path) -> None:
    unit = folder / units.SERVICES[0]
    unit.write_text(unit.read_text().replace("ExecStart=/", "ExecStart=/nowhere/"))
    assert analyze("verify", "--man=no", str(unit)).returncode != 0


@pytest.mark.parametrize("name", units.SERVICES)
def test_a_service_sees_and_may_little(folder: Path, name: str) -> None:
    threshold = f"--threshold={MOST_EXPOSURE}"
    done = analyze("security", "--offline=yes", "--no-pager", threshold, str(folder / name))
    assert done.returncode == 0, done.stdout[-600:]


@pytest.mark.parametrize("name", units.SERVICES)
def test_a_service_is_started_again_for_ever(name: str) -> None:
    unit = units.read(name)
    assert unit["Restart"] == ["always"]
    assert unit["StartLimitIntervalSec"] == ["0"]
    assert unit["PartOf"] == unit["WantedBy"] == ["openclaw.target"]
    assert unit["UMask"] == ["0077"]


def test_pi_keeps_files_where_its_unit_lets_it_write() -> None:
    unit = units.read("openclaw-pi.service")
    (folder,) = unit["StateDirectory"]
    settings = dict(one.replace("%S", "/var/lib").split("=", 1) for one in unit["Environment"])
    assert load(settings).files_dir == f"/var/lib/{folder}"


def test_programs_that_compile_as_they_run_may_be_started_as_agents() -> None:
    for name in ("openclaw-gateway.service", "openclaw-worker.service"):
        assert "MemoryDenyWriteExecute" not in units.read(name)


def test_the_target_wants_every_service() -> None:
    assert units.read("openclaw.target")["Wants"] == [" ".join(units.SERVICES)]


def test_systemd_waits_longer_than_the_gateway_drains() -> None:
    seconds = float(units.read("openclaw-gateway.service")["TimeoutStopSec"][0])
    assert seconds > settings.OPENCLAW_DRAIN_SECONDS + STOP_GRACE_SECONDS + 5


def test_users_and_folders_are_made_as_the_units_expect(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    root = f"--root={tmp_path}"
    users = [find("systemd-sysusers"), root, str(units.FOLDER / "openclaw.sysusers.conf")]
    made = subprocess.run(users, capture_output=True, text=True, timeout=30)
    assert made.returncode == 0, made.stderr
    entry = (tmp_path / "etc" / "passwd").read_text()
    assert re.search(r"^openclaw:.*:/var/lib/openclaw:.*nologin$", entry, re.M), entry
    if os.geteuid() != 0:
        return  # only root may give folders away
    folders = [find("systemd-tmpfiles"), "--create", root]
    rules = str(units.FOLDER / "openclaw.tmpfiles.conf")
    made = subprocess.run([*folders, rules], capture_output=True, text=True, timeout=30)
    assert made.returncode == 0, made.stderr
    assert mode(tmp_path / "var/lib/openclaw") == 0o700
    assert mode(tmp_path / "var/cache/openclaw/static") == 0o755
    assert (tmp_path / "var/lib/openclaw").stat().st_uid == int(entry.split(":")[2])


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


class Unit:
    """A service's commands run as written, with what its EnvironmentFile says and no more."""

    def __init__(self, name: str, env: dict[str, str], log: Path) -> None:
        self.name, self.log = name, log
        self.env = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", **env}

    def prepare(self) -> None:
        """ExecStartPre, one after the other."""
        commands = units.command(self.name, "ExecStartPre")
        assert commands
        for command in commands:
            done = subprocess.run(command, **self._options(), stderr=subprocess.PIPE, timeout=120)  # type: ignore[call-overload]
            assert done.returncode == 0, done.stderr

    def start(self) -> None:
        """ExecStart."""
        [command] = units.command(self.name, "ExecStart")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, **self._options(), stdout=log, stderr=log)  # type: ignore[call-overload]

    def stop(self) -> int:
        """The unit's KillSignal; killed when TimeoutStopSec is over, which raises."""
        unit = units.read(self.name)
        number = signal.Signals[unit.get("KillSignal", ["SIGTERM"])[0]]
        self.process.send_signal(number)
        try:
            return int(self.process.wait(float(unit["TimeoutStopSec"][0])))
        finally:
            self.process.kill()
            self.process.wait()

    def _options(self) -> dict[str, object]:
        cwd = units.rendered(units.read(self.name)["WorkingDirectory"][0])
        return {"cwd": cwd, "env": self.env, "stdin": subprocess.DEVNULL, "umask": 0o077}


def answers(url: str, unit: Unit, seconds: float = 30.0) -> int:
    """The status of `url` as soon as somebody answers there."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as refusal:
            with refusal:
                return int(refusal.code)
        except OSError:
            assert unit.process.poll() is None, unit.log.read_text()
            assert time.monotonic() < deadline, unit.log.read_text()
            time.sleep(0.05)


def test_what_the_units_run_runs_as_written(tmp_path: Path) -> None:
    data, static = tmp_path / "state", tmp_path / "cache" / "static"
    data.mkdir(mode=0o700)  # StateDirectory
    static.mkdir(parents=True, mode=0o755)  # CacheDirectory
    port, pi_port = free_port(), free_port()
    ports = {"OPENCLAW_PORT": str(port), "OPENCLAW_PI_PORT": str(pi_port)}
    env = {**units.environment("openclaw.env.example", data, static), **ports}
    pi_env = {**units.environment("pi.env.example", data, static), **ports}
    pi = Unit("openclaw-pi.service", pi_env, tmp_path / "pi.log")
    gateway = Unit("openclaw-gateway.service", env, tmp_path / "gateway.log")
    worker = Unit("openclaw-worker.service", env, tmp_path / "worker.log")
    running = [gateway, worker, pi]
    gateway.prepare()
    gateway.prepare()  # as at every later start
    try:
        for unit in running:
            unit.start()
        assert answers(f"http://127.0.0.1:{pi_port}/health", pi) == 200
        assert answers(f"http://127.0.0.1:{port}/healthz", gateway) == 200
        wait_ready(f"http://127.0.0.1:{port}/readyz", gateway)  # database, worker, channels, Pi
    finally:
        endings = {unit.name: unit.stop() for unit in running if hasattr(unit, "process")}
    assert set(endings.values()) == {0}, endings
    check_static(static)
    check_private(data)


def wait_ready(url: str, unit: Unit) -> None:
    deadline = time.monotonic() + 60
    while answers(url, unit) != 200:
        assert time.monotonic() < deadline, "it never became ready"
        time.sleep(0.2)


def check_static(static: Path) -> None:
    """Another user, the web server's, can read it all."""
    files = [path for path in static.rglob("*") if path.is_file()]
    assert len(files) > 100
    assert {mode(path) & 0o444 for path in files} == {0o444}
    assert {mode(path) & 0o555 for path in static.rglob("*") if path.is_dir()} == {0o555}


def check_private(data: Path) -> None:
    """No other user can read anything."""
    assert (data / "openclaw.sqlite3").is_file()
    assert [path for path in [data, *data.rglob("*")] if mode(path) & 0o077] == []
