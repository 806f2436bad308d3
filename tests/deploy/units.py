"""The systemd units as data, and as files with this checkout's paths in them."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from tests.process import ROOT

FOLDER = ROOT / "deploy" / "systemd"
SERVICES = ("openclaw-gateway.service", "openclaw-worker.service", "openclaw-pi.service")


def read(name: str) -> dict[str, list[str]]:
    """Every setting of a unit file and its values, in order."""
    found: dict[str, list[str]] = {}
    for line in (FOLDER / name).read_text().splitlines():
        if line and line[0] not in "#[":
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def rendered(text: str) -> str:
    """Unit text with this checkout and this Python instead of /opt/openclaw."""
    text = text.replace("/opt/openclaw/.venv/bin/python", sys.executable)
    return text.replace("/opt/openclaw", str(ROOT))


def command(name: str, setting: str) -> list[list[str]]:
    """The commands of `setting` (ExecStart, ExecStartPre), ready to run here."""
    return [shlex.split(rendered(line)) for line in read(name).get(setting, [])]


def environment(example: str, data_dir: Path, static_dir: Path) -> dict[str, str]:
    """What an EnvironmentFile as shipped sets, with two folders of a test."""
    text = (FOLDER / example).read_text()
    text = text.replace("/var/lib/openclaw", str(data_dir))
    text = text.replace("/var/cache/openclaw/static", str(static_dir))
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)
