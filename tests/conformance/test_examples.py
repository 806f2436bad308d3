"""The examples in Python, Node and Go each keep to the protocol, check by check."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.agents.base import Target
from gateway.conformance.base import PASSED
from gateway.conformance.kit import NAMES, examine
from gateway.http import make_transport
from tests.conformance.program import agent_process
from tests.process import ROOT

EXAMPLES = ROOT / "examples" / "agents"
STANDARD = {
    "agent.py": re.compile(r"^(?:from|import) (\w+)", re.M),
    "agent.mjs": re.compile(r'from "([^"]+)"'),
    "agent.go": re.compile(r'^\t"([^"]+)"$', re.M),
}


async def passes(url: str) -> None:
    transport = make_transport()
    try:
        outcomes = [one async for one in examine(Target("under test", url), transport, 20)]
    finally:
        await transport.aclose()
    assert {one.check for one in outcomes} == set(NAMES)
    assert {one.state for one in outcomes} == {PASSED}, outcomes


@pytest.mark.heavy
async def test_the_python_example_passes() -> None:
    with agent_process([sys.executable, str(EXAMPLES / "agent.py")]) as url:
        await passes(url)


@pytest.mark.heavy
async def test_the_node_example_passes() -> None:
    node = shutil.which("node")
    assert node, "node is missing: apt install nodejs"
    with agent_process([node, str(EXAMPLES / "agent.mjs")]) as url:
        await passes(url)


@pytest.mark.heavy
async def test_the_go_example_passes(tmp_path: Path) -> None:
    go = shutil.which("go")
    assert go, "go is missing: apt install golang-go"
    program = tmp_path / "agent"
    env = {**os.environ, "GOCACHE": str(tmp_path / "cache"), "GOFLAGS": "-mod=mod"}
    source = str(EXAMPLES / "agent.go")
    subprocess.run([go, "build", "-o", str(program), source], check=True, env=env, timeout=110)
    with agent_process([str(program)]) as url:
        await passes(url)


@pytest.mark.parametrize("name", STANDARD)
def test_an_example_needs_its_standard_library_only(name: str) -> None:
    used = set(STANDARD[name].findall((EXAMPLES / name).read_text()))
    assert used
    if name == "agent.py":
        assert used <= sys.stdlib_module_names
    elif name == "agent.mjs":
        assert all(module.startswith("node:") for module in used)
    else:
        assert not any("." in module.split("/")[0] for module in used)
