"""Measures the gateway beside the bare loop, in turn, in one run, and prints a table.

python -m bench                          everything (some ten minutes)
python -m bench one burst --rounds 3     two scenarios, three pairs each
python -m bench --quick --json out.json  small sizes, one pair each
python -m bench memory --gateway-only    without the bare loop beside it
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import signal
import statistics
import sys
from collections.abc import Iterator, Sequence
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


async def measure(
    world: World, scenario: Scenario, rounds: int, kinds: Sequence[type[Subject]]
) -> list[tuple[Figures, ...]]:
    """One tuple of figures a round: the bare loop's if it takes part, then the gateway's."""
    subjects = [kind(world.platform, world.agent.url) for kind in kinds]
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
    """Figure -> medians of the bare loop, of the gateway, and of their ratio within a round.

    Where the gateway was measured alone, of the gateway.
    """
    found = {name: {"gateway": _median(rounds, -1, name)} for name in rounds[0][-1]}
    if len(rounds[0]) > 1:
        for name, row in found.items():
            ratios = [gateway[name] / bare[name] if bare[name] else 0.0 for bare, gateway in rounds]
            row |= {"bare": _median(rounds, 0, name), "ratio": statistics.median(ratios)}
    return found


def _median(rounds: list[tuple[Figures, ...]], place: int, name: str) -> float:
    return statistics.median(each[place][name] for each in rounds)


def table(scenario: str, figures: dict[str, dict[str, float]], rounds: int) -> str:
    """The figures of one scenario, with the bars they have to hold."""
    about = (SCENARIOS[scenario].run.__doc__ or "").splitlines()[0]
    lines = [f"\n{scenario}: {about} (median of {rounds})"]
    lines.append(f"  {'':26}{'bare loop':>12}{'gateway':>12}{'ratio':>9}   bar")
    for name, row in figures.items():
        bare, ratio = row.get("bare", math.nan), row.get("ratio", math.nan)
        lines.append(
            f"  {name:26}{bare:12.2f}{row['gateway']:12.2f}{ratio:8.2f}×"
            f"   {_bar(scenario, name, row)}".rstrip()
        )
    return "\n".join(lines)


def _bar(scenario: str, name: str, row: dict[str, float]) -> str:
    what, most = BARS.get((scenario, name), ("", 0.0))
    if what not in row:
        return ""
    sign = "×" if what == "ratio" else ""
    return f"≤ {most:g}{sign} {'held' if row[what] <= most else 'MISSED'}"


async def run(
    names: list[str], rounds: int, sizes: Sizes, kinds: Sequence[type[Subject]]
) -> dict[str, Any]:
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
            found = await measure(world, SCENARIOS[name], rounds, kinds)
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
    parser.add_argument("--gateway-only", action="store_true", help="without the bare loop")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    options = parser.parse_args()
    if unknown := set(options.scenarios) - set(SCENARIOS):
        parser.error(f"no scenario {', '.join(sorted(unknown))}; there are {', '.join(SCENARIOS)}")
    rounds = options.rounds or (1 if options.quick else ROUNDS)
    sizes = QUICK if options.quick else Sizes()
    kinds = KINDS[-1:] if options.gateway_only else KINDS
    try:
        results = uvloop.run(run(options.scenarios or list(SCENARIOS), rounds, sizes, kinds))
    except (asyncio.CancelledError, KeyboardInterrupt):
        sys.exit("bench: stopped")
    except (Lost, RuntimeError, TimeoutError) as error:
        sys.exit(f"bench: {error}")
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
