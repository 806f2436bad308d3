"""The bench itself: it runs, says what it measured, and a missed bar is seen."""

import json
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil

from bench.__main__ import summary, table
from bench.scenarios import BARS, CPU, SCENARIOS
from tests.bench.test_bars import Figures, held
from tests.process import ROOT


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
    )


def burst(ratio: float) -> Figures:
    return {CPU: {"bare": 1.0, "gateway": ratio, "ratio": ratio}}


def test_a_quick_run_prints_a_table_and_writes_the_figures(tmp_path: Path) -> None:
    done = run("burst", "--quick", "--json", str(tmp_path / "found.json"))

    assert done.returncode == 0, done.stderr
    assert "bare loop" in done.stdout
    found = json.loads((tmp_path / "found.json").read_text())["burst"]
    assert len(found["rounds"]) == 1
    for row in found["figures"].values():
        assert row["bare"] > 0
        assert row["ratio"] == row["gateway"] / row["bare"]
    assert f"{found['figures'][CPU]['ratio']:.2f}×" in done.stdout


def test_the_gateway_alone_has_no_ratio() -> None:
    figures = summary([({"ready s": 2.0},), ({"ready s": 3.0},)])

    assert figures == {"ready s": {"gateway": 2.5}}
    assert "2.50" in table("start", figures, 2)
    assert "≤ 3 held" in table("start", figures, 2)


def test_an_unknown_scenario_is_refused_with_the_known_ones() -> None:
    done = run("nonsense")

    assert done.returncode == 2
    assert all(name in done.stderr for name in SCENARIOS)


def test_a_bench_that_is_stopped_takes_its_processes_along() -> None:
    bench = subprocess.Popen([sys.executable, "-m", "bench", "one", "--quick"], cwd=ROOT)
    try:
        started = wait_for_children(bench.pid, 3)
    finally:
        bench.terminate()

    assert bench.wait(30) == 1
    psutil.wait_procs(started, timeout=10)
    assert [process for process in started if process.is_running()] == []


def wait_for_children(pid: int, count: int) -> list[psutil.Process]:
    """The agent, the bare loop and the gateway."""
    deadline = time.monotonic() + 60
    while len(found := psutil.Process(pid).children()) < count or is_migrating(found):
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    return found


def is_migrating(processes: list[psutil.Process]) -> bool:
    """Whether the gateway's database is still being made."""
    with suppress(psutil.NoSuchProcess):
        return any("migrate" in process.cmdline() for process in processes)
    return True


def test_every_bar_belongs_to_a_scenario() -> None:
    assert {scenario for scenario, _ in BARS} == set(SCENARIOS)


def test_one_bad_run_of_three_is_forgiven() -> None:
    ratios = iter([9.0, 3.0, 2.0])
    assert held("burst", lambda: burst(next(ratios))) == {}


def test_a_good_run_is_not_repeated() -> None:
    ratios = iter([4.0])
    assert held("burst", lambda: burst(next(ratios))) == {}


def test_a_miss_is_always_measured_twice_more() -> None:
    ratios = iter([4.1, 3.0, 4.2])  # the first two look well together
    assert held("burst", lambda: burst(next(ratios))) != {}


def test_two_bad_runs_of_three_are_a_miss_that_names_them() -> None:
    ratios = iter([9.0, 3.0, 5.0])
    missed = held("burst", lambda: burst(next(ratios)))
    assert missed == {CPU: "ratio 5.00 > 4 (runs: 9.00, 3.00, 5.00)"}
