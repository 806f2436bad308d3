"""docs/deploy.md: what it says to type, typed."""

from __future__ import annotations

import re
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from django.core.management import get_commands

from tests.conftest import StartGateway
from tests.deploy import units
from tests.deploy.nginx import find
from tests.process import ROOT, Gateway, manage

pytestmark = pytest.mark.heavy
GUIDE = (ROOT / "docs" / "deploy.md").read_text()
DOMAIN = "chat.your.domain"
FILE_COMMANDS = ("cd", "install", "sed", "echo", "rm", "ln")
"""What only puts files into place, and so can be tried in a folder."""


def section(title: str) -> list[str]:
    """The shell blocks below a heading, each as written."""
    text = re.split(rf"^## {title}$", GUIDE, flags=re.M)[1]
    return re.findall(r"```sh\n(.*?)```", re.split(r"^## ", text, flags=re.M)[0], re.S)


def lines(block: str) -> list[str]:
    """Its commands, with continued lines put together."""
    return block.replace("\\\n", " ").splitlines()


def run(script: str, folder: Path) -> str:
    done = subprocess.run(
        ["/bin/sh", "-ec", script], cwd=folder, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture
def box(tmp_path: Path) -> Path:
    """The folders of an empty box with nginx, after every file of the guide is in its place."""
    for folder in ("systemd/system", "nginx/sites-available", "nginx/sites-enabled"):
        (tmp_path / "etc" / folder).mkdir(parents=True)
    (tmp_path / "etc/nginx/modules-enabled").mkdir()
    (tmp_path / "usr/local/bin").mkdir(parents=True)
    (tmp_path / "etc/nginx/nginx.conf").write_text("events {\n\tworker_connections 768;\n}\n")
    (tmp_path / "etc/nginx/sites-enabled/default").touch()
    typed = [
        line
        for title in ("2. Settings", "3. Start", "4. nginx and the certificate")
        for block in section(title)
        for line in lines(block)
        if line.split()[0] in FILE_COMMANDS
    ]
    assert len(typed) > 12
    script = re.sub(r" -g openclaw\b", "", "\n".join(typed))
    script = re.sub(r"(?<=[\s'])/(etc|usr)/", rf"{tmp_path}/\1/", script)
    run(script.replace("/opt/openclaw", str(ROOT)), tmp_path)
    return tmp_path


def test_everything_the_services_read_is_put_where_they_read_it(box: Path) -> None:
    for name in (*units.SERVICES, "openclaw.target"):
        installed = box / "etc/systemd/system" / name
        assert installed.read_text() == (units.FOLDER / name).read_text()
    for name in units.SERVICES:
        for path in units.read(name)["EnvironmentFile"]:
            assert (box / path.lstrip("-/")).is_file(), path
    assert (box / "etc/openclaw/openclaw.env").stat().st_mode & 0o777 == 0o640
    assert (box / "etc/openclaw/pi.env").stat().st_mode & 0o777 == 0o600
    for name in ("sysusers", "tmpfiles"):
        assert (box / f"etc/{name}.d/openclaw.conf").is_file()


def test_the_own_name_stands_everywhere_afterwards(box: Path) -> None:
    site = (box / "etc/nginx/sites-enabled/openclaw.conf").read_text()
    assert f"server_name {DOMAIN};" in site
    assert f"/etc/letsencrypt/live/{DOMAIN}/fullchain.pem" in site
    settings = (box / "etc/openclaw/openclaw.env").read_text()
    assert f"OPENCLAW_PUBLIC_URL=https://{DOMAIN}" in settings
    assert "chat.example.com" not in site + settings
    assert not (box / "etc/nginx/sites-enabled/default").exists()
    assert "worker_connections 8192;" in (box / "etc/nginx/nginx.conf").read_text()


def test_the_wrapper_runs_manage_with_the_services_settings(box: Path) -> None:
    wrapper = (box / "usr/local/bin/openclaw").read_text()
    stub = box / "runuser"  # the user is made by another test; here the rest counts
    stub.write_text('#!/bin/sh\n[ "$1 $2 $3" = "-u openclaw --" ] && shift 3 && exec "$@"\n')
    stub.chmod(0o755)
    settings = box / "etc/openclaw/openclaw.env"
    text = settings.read_text().replace("/var/", f"{box}/var/")
    settings.write_text(text)
    wrapper = units.rendered(wrapper).replace("/etc/openclaw/", f"{box}/etc/openclaw/")
    command = wrapper.replace("exec runuser", f"exec {stub}")
    for arguments in (["migrate", "--verbosity", "0"], ["invite", "Ada Lovelace"]):
        done = subprocess.run(
            ["/bin/sh", "-c", command, "openclaw", *arguments],
            capture_output=True,
            text=True,
            env={"PATH": "/usr/bin:/bin"},
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"https://{DOMAIN}/chat/?invite=")
    assert (box / "var/lib/openclaw/secret_key").is_file()


def test_every_command_unit_and_file_in_the_guide_is_real() -> None:
    shell = "\n".join(re.findall(r"```sh\n(.*?)```", GUIDE, re.S))
    for command in re.findall(r"^openclaw (\w+)", shell, re.M):
        assert command in get_commands(), command
    for unit in re.findall(r"\bopenclaw-(?:gateway|worker|pi|[a-z]+)\b", GUIDE):
        assert f"{unit}.service" in units.SERVICES, unit
    for path in re.findall(r"\bdeploy/[\w./*-]+", GUIDE):
        assert list(ROOT.glob(path)), path


def test_every_place_in_the_guide_is_one_the_shipped_files_use() -> None:
    shipped = "\n".join(path.read_text() for path in (ROOT / "deploy").rglob("*") if path.is_file())
    table = GUIDE.split("| where | what |")[1].split("\n\n")[0]
    places = re.findall(r"`(/[^`*]+)", table)
    assert len(places) >= 8
    for place in places:
        if place != "/etc/systemd/system/openclaw":  # the units themselves
            assert place in shipped, place


def test_a_backup_made_as_written_while_the_gateway_runs_brings_everything_back(
    tmp_path: Path, gateway_process: StartGateway
) -> None:
    find("sqlite3")
    gateway: Gateway = gateway_process()
    data = gateway.data_dir
    (data / "backups").mkdir(mode=0o700)
    make_user(data, "before")
    [backup, restore] = [of_test(block, data) for block in section("Back up")]
    assert run(backup, tmp_path).split() == ["delete", "ok"]
    [made] = (data / "backups").iterdir()
    assert made.stat().st_mode & 0o777 == 0o600
    make_user(data, "after")
    gateway.stop()
    restore = re.sub(r"backups/\S+", f"backups/{made.name}", restore)
    run(re.sub(r"systemctl .*| -[og] openclaw\b", "", restore), tmp_path)
    with closing(sqlite3.connect(data / "openclaw.sqlite3")) as database:
        assert database.execute("SELECT username FROM auth_user").fetchall() == [("before",)]
    gateway.spawn()  # and works with it


def of_test(block: str, data: Path) -> str:
    return block.replace("/var/lib/openclaw", str(data)).replace("runuser -u openclaw -- ", "")


def make_user(data: Path, name: str) -> None:
    manage(
        *("createsuperuser", "--noinput", "--username", name, "--email", f"{name}@example.com"),
        data_dir=data,
    )
