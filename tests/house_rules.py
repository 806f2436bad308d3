"""Rules that hold for every test, as a pytest plugin (conftest.py takes its hooks from here).

* No test reaches beyond this machine: only 127.0.0.0/8, ::1 and Unix sockets.
* In CI (environment variable CI set) a skipped test is a failed test.
* A heavy test has ten minutes, its fixtures included, where it does not name its own time.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
from collections.abc import Generator
from typing import Any

import pytest

HEAVY_SECONDS = 600
LOCAL_NAMES = {"", "localhost", "localhost.", "ip6-localhost"}

attempts: list[str] = []
"""What the current test tried to reach. Checked at its end, in case the error was swallowed."""


class OutsideConnection(RuntimeError):
    """A test tried to reach beyond this machine. Not an OSError, which tests may expect."""


def is_local(host: Any) -> bool:
    """Whether `host` (a name or an address, str or bytes) is this machine's loopback."""
    if host is None:
        return True
    name = host.decode() if isinstance(host, bytes) else str(host)
    if name in LOCAL_NAMES:
        return True
    try:
        return ipaddress.ip_address(name.split("%")[0]).is_loopback
    except ValueError:
        return False


def _refuse(what: str) -> None:
    attempts.append(what)
    raise OutsideConnection(f"tests may only reach this machine, not {what}")


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.getaddrinfo":
        host = arguments[0]
        if str(host).endswith(".invalid"):  # reserved: never resolves (RFC 6761)
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        if not is_local(host) and not _is_address(host):
            _refuse(f"the name {host!r}")
    elif event in ("socket.connect", "socket.sendto"):
        connection, address = arguments
        if connection.family in (socket.AF_INET, socket.AF_INET6) and not is_local(address[0]):
            _refuse(f"{address[0]} port {address[1]}")


def _is_address(host: Any) -> bool:
    try:
        ipaddress.ip_address(str(host))
    except ValueError:
        return False
    return True


def pytest_configure(config: pytest.Config) -> None:
    """Watch every socket of this process. An audit hook sees C code too, and stays for good."""
    sys.addaudithook(_audit)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A heavy test on a busy machine takes long, and that is no failure yet."""
    for item in items:
        if item.get_closest_marker("heavy") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(HEAVY_SECONDS))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test that reached outside, even if it caught the error; fail skips in CI."""
    report = yield
    if attempts and report.when in ("setup", "call") and not report.failed:
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} reached outside this machine: {'; '.join(attempts)}"
    if report.when == "teardown":
        attempts.clear()
    if report.skipped and not hasattr(report, "wasxfail"):
        _fail_in_ci(report, item.nodeid)
    # a lone surrogate that a test logged cannot travel from one process to another
    report.sections = [
        (name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections
    ]
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """A whole file skipped at import is skipped tests too."""
    report = yield
    if report.skipped:
        _fail_in_ci(report, collector.nodeid)
    return report


def _fail_in_ci(report: pytest.TestReport | pytest.CollectReport, name: str) -> None:
    if not os.environ.get("CI"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
    report.outcome = "failed"
    report.longrepr = f"{name} was skipped, and CI skips nothing: {reason}"
