"""The rules that every test lives under are themselves held: no network, no silent skips in CI."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests import house_rules
from tests.process import ROOT, free_port, fresh_data_dir

CASES = """
import socket
import pytest

def test_skipped():
    pytest.skip("nothing here to test with")

@pytest.mark.skipif(True, reason="not on this machine")
def test_skipped_by_mark():
    pass

@pytest.mark.xfail(reason="known", strict=True)
def test_expected_to_fail():
    assert False

def test_swallows_the_error():
    try:
        socket.create_connection(("192.0.2.1", 80), timeout=1)
    except Exception:
        pass

def test_passes():
    pass
"""


PLAIN = ["-c", os.devnull, "-p", "no:django", "-p", "no:asyncio", "-p", "no:cacheprovider"]


HEAVY_CASES = """
import pytest

@pytest.mark.heavy
def test_heavy(request):
    assert request.node.get_closest_marker("timeout").args == (600,)

@pytest.mark.heavy
@pytest.mark.timeout(900)
def test_longer(request):
    assert request.node.get_closest_marker("timeout").args == (900,)

def test_everyday(request):
    assert request.node.get_closest_marker("timeout") is None
"""


def run_cases(folder: Path, text: str = CASES, *more: str, **env: str) -> str:
    cases = folder / "test_cases.py"
    cases.write_text(text)
    kept = {key: value for key, value in os.environ.items() if key != "CI"}
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "tests.house_rules",
            *PLAIN,
            *more,
            "-rA",
            str(cases),
        ],
        cwd=ROOT,
        env={**kept, **env},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout + done.stderr


def test_a_skipped_test_fails_in_ci_and_is_named(tmp_path: Path) -> None:
    output = run_cases(tmp_path, CI="true")
    assert "test_skipped was skipped, and CI skips nothing: Skipped: nothing here" in output
    assert "test_skipped_by_mark was skipped" in output
    assert "2 failed, 1 passed, 1 xfailed, 1 error" in output


def test_a_skipped_test_stays_skipped_on_a_laptop(tmp_path: Path) -> None:
    output = run_cases(tmp_path)
    assert "1 failed, 1 passed, 2 skipped, 1 xfailed" in output
    assert "test_swallows_the_error reached outside this machine: 192.0.2.1 port 80" in output


@pytest.mark.parametrize("address", ["192.0.2.1", "10.0.0.1", "2001:db8::1"])
def test_a_test_cannot_connect_beyond_this_machine(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as outside, pytest.raises(house_rules.OutsideConnection):
        outside.connect((address, 80))
    house_rules.attempts.clear()


def test_a_test_cannot_look_up_names() -> None:
    with pytest.raises(house_rules.OutsideConnection):
        socket.getaddrinfo("example.com", 443)
    house_rules.attempts.clear()
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo("nowhere.invalid", 443)


def test_a_heavy_test_has_ten_minutes_or_the_time_it_names(tmp_path: Path) -> None:
    output = run_cases(tmp_path, HEAVY_CASES, "-W", "ignore::pytest.PytestUnknownMarkWarning")
    assert "3 passed" in output


def test_this_machine_stays_reachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(("localhost", server.getsockname()[1])).close()


def test_free_ports_can_be_bound() -> None:
    with socket.create_server(("127.0.0.1", free_port())):
        pass


def test_a_free_port_is_not_given_again_while_its_owner_restarts() -> None:
    given = [free_port() for _ in range(500)]
    assert len(set(given)) == len(given)


def test_each_data_folder_is_migrated_and_separate(tmp_path: Path) -> None:
    first, second = fresh_data_dir(tmp_path), fresh_data_dir(tmp_path)
    assert first != second
    assert (first / "openclaw.sqlite3").stat().st_size > 0
    (first / "openclaw.sqlite3").unlink()
    assert (second / "openclaw.sqlite3").exists()
