"""Measures the gateway beside the bare loop, in turn, in one run, and prints a table.

python -m bench                          everything (some ten minutes)
python -m bench one burst --rounds 3     two scenarios, three pairs each
python -m bench --quick --json out.json  small sizes, one pair each
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import statistics
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvloop

from bench.agent import Agent
from bench.load import Lost, Platform
from bench.scenarios import BARS, QUICK, SCENARIOS, Figures, Scenario, Sizes, World, warm_up
from bench.subjects import KINDS, Subject

ROUNDS = 5
LOG_CHARS = 3000


async def measure(world: World, scenario: Scenario, rounds: int) -> list[tuple[Figures, ...]]:
    """One tuple of figures a round: the bare loop's, then the gateway's."""
    subjects = [kind(world.platform, world.agent.url) for kind in KINDS]
    try:
        for subject in subjects:
            if scenario.stored:
                await asyncio.to_thread(subject.seed, world.sizes.stored)
            if not scenario.alone:
                await subject.start()
                with _telling(subject):
                    await warm_up(world, subject)
        found = []
        for _ in range(min(rounds, scenario.rounds)):
            found.append(tuple([await _turn(world, scenario, subject) for subject in subjects]))
        return found
    finally:
        for subject in subjects:
            subject.remove()


async def _turn(world: World, scenario: Scenario, subject: Subject) -> Figures:
    if scenario.alone:
        await subject.start()
    with _telling(subject):
        figures = await scenario.run(world, subject)
    await world.agent.forget()
    if scenario.alone:
        subject.kill()
    if world.platform.doubled:
        raise Lost(f"{world.platform.doubled} answers came twice or too late")
    return figures


@contextmanager
def _telling(subject: Subject) -> Iterator[None]:
    """A loss is reported with the end of the subject's log."""
    try:
        yield
    except Lost as error:
        raise Lost(f"{subject.name}: {error}\n{subject.log()[-LOG_CHARS:]}") from error


def summary(rounds: list[tuple[Figures, ...]]) -> dict[str, dict[str, float]]:
    """Figure -> medians of the bare loop, of the gateway, and of their ratio within a round."""
    return {
        name: {
            "bare": statistics.median(bare[name] for bare, _ in rounds),
            "gateway": statistics.median(gateway[name] for _, gateway in rounds),
            "ratio": statistics.median(
                gateway[name] / bare[name] if bare[name] else 0.0 for bare, gateway in rounds
            ),
        }
        for name in rounds[0][0]
    }


def table(scenario: str, figures: dict[str, dict[str, float]], rounds: int) -> str:
    """The figures of one scenario, with the bars they have to hold."""
    about = (SCENARIOS[scenario].run.__doc__ or "").splitlines()[0]
    lines = [f"\n{scenario}: {about} (median of {rounds})"]
    lines.append(f"  {'':26}{'bare loop':>12}{'gateway':>12}{'ratio':>9}   bar")
    for name, row in figures.items():
        lines.append(
            f"  {name:26}{row['bare']:12.2f}{row['gateway']:12.2f}{row['ratio']:8.2f}×"
            f"   {_bar(scenario, name, row)}".rstrip()
        )
    return "\n".join(lines)


def _bar(scenario: str, name: str, row: dict[str, float]) -> str:
    if (scenario, name) not in BARS:
        return ""
    what, most = BARS[scenario, name]
    sign = "×" if what == "ratio" else ""
    return f"≤ {most:g}{sign} {'held' if row[what] <= most else 'MISSED'}"


async def run(names: list[str], rounds: int, sizes: Sizes) -> dict[str, Any]:
    """Run scenarios one after the other, each printed when it is done.

    SIGTERM ends it as Ctrl-C does: the processes it started go with it.
    """
    results: dict[str, Any] = {}
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with Agent() as agent, Platform() as platform:
        world = World(platform, agent, sizes)
        for name in names:
            found = await measure(world, SCENARIOS[name], rounds)
            figures = summary(found)
            results[name] = {"figures": figures, "rounds": found}
            print(table(name, figures, len(found)), flush=True)
    return results


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("scenarios", nargs="*", metavar="scenario", help=", ".join(SCENARIOS))
    parser.add_argument("--rounds", type=int, default=0, help=f"pairs to measure ({ROUNDS})")
    parser.add_argument("--quick", action="store_true", help="small sizes, one pair each")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    options = parser.parse_args()
    if unknown := set(options.scenarios) - set(SCENARIOS):
        parser.error(f"no scenario {', '.join(sorted(unknown))}; there are {', '.join(SCENARIOS)}")
    rounds = options.rounds or (1 if options.quick else ROUNDS)
    sizes = QUICK if options.quick else Sizes()
    try:
        results = uvloop.run(run(options.scenarios or list(SCENARIOS), rounds, sizes))
    except (asyncio.CancelledError, KeyboardInterrupt):
        sys.exit("bench: stopped")
    except (Lost, RuntimeError, TimeoutError) as error:
        sys.exit(f"bench: {error}")
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
