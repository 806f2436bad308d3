"""The whole OpenAPI document against a real gateway: whatever is sent, nothing breaks."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process import ROOT, Gateway, clean_environment

pytestmark = pytest.mark.heavy

SECONDS = 35
PATIENT_SECONDS = 3 * SECONDS
"""For a machine on which the first time was too short to try everything."""

SEED = 20
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "allow_header_conformance",
    "ignored_auth",
    "use_after_free",
)
AGENT = {"me", "schedules"}
"""Subjects that a grant opens."""


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    """A gateway that counts no calls."""
    gateway = Gateway.start({"OPENCLAW_API_PER_MINUTE": "0"})
    yield gateway
    gateway.remove()


@pytest.fixture(scope="module")
def callers(gateway: Gateway) -> dict[str, str]:
    """The secrets of a program and of an agent."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.api.furnish"],
        cwd=ROOT,
        env=clean_environment(gateway.data_dir),
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("who", ["token", "grant"])
def test_nothing_that_is_sent_breaks_the_api(
    gateway: Gateway, callers: dict[str, str], who: str, tmp_path: Path
) -> None:
    tags = [f"--include-tag={name}" for name in AGENT] if who == "grant" else ["--exclude-tag=me"]
    for seconds in (SECONDS, PATIENT_SECONDS):
        tested, selected = run(gateway, callers[who], tags, seconds, tmp_path)
        if tested == selected:
            break
    assert tested == selected > 5
    log = gateway.log_text()
    assert "Traceback" not in log
    for secret in callers.values():
        assert secret not in log


def run(
    gateway: Gateway, secret: str, tags: list[str], seconds: int, folder: Path
) -> tuple[int, int]:
    """Send all sorts of things for so long. Gives how many operations were tested, of how many."""
    report = folder / "report.json"
    done = subprocess.run(
        [
            str(Path(sys.executable).parent / "schemathesis"),
            "run",
            f"{gateway.url}/api/v1/openapi.json",
            f"--header=Authorization: Bearer {secret}",
            f"--max-time={seconds}",
            f"--seed={SEED}",
            "--request-timeout=60",
            f"--checks={','.join(CHECKS)}",
            "--continue-on-failure",
            "--no-color",
            "--report=json",
            f"--report-json-path={report}",
            *tags,
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=seconds + 180,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    operations = json.loads(report.read_text())["operations"]
    return operations["tested"], operations["selected"]
