"""A channel is one file: Slack, the proof of it, stands nowhere else."""

from __future__ import annotations

import re
import subprocess

from tests.process import ROOT

ALLOWED = re.compile(r"adapters/slack\.py|tests/.*|docs/.*|README\.md|CHANGELOG\.md|\.env\.example")


def test_slack_is_named_in_its_adapter_its_tests_and_its_docs_only() -> None:
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    found = []
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        named = "slack" in name.lower()
        if path.is_file() and (named or b"slack" in path.read_bytes().lower()):
            found.append(name)
    assert "adapters/slack.py" in found
    assert [name for name in found if not ALLOWED.fullmatch(name)] == []
