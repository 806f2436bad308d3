"""The tools of one turn, bound to the one conversation it belongs to.

No tool takes a session, a person or a chat as an argument: whose conversation it
is was decided by the gateway when it granted the turn, so nothing that is written
in a message or by a model can point a tool at somebody else's.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pi.config import Config
from pi.gateway import Gateway
from pi.protocol import Ask
from pi.tools import ToolError
from pi.tools.arithmetic import NotArithmetic, calculate
from pi.tools.dates import Calendar, Clock, clock_of
from pi.tools.files import Files
from pi.tools.history import History, text_of
from pi.tools.notes import Notes
from pi.tools.preferences import Preferences
from pi.tools.programs import Programs
from pi.tools.schedules import Schedules
from pi.tools.summary import Summary
from pi.tools.web import Web
from pi.transcript import pending

log = logging.getLogger("pi")

MAX_RESULT = 6000
CUT = "\n[shortened]"

Tool = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Used:
    """What a tool gave: its result, or the sentence that says why there is none."""

    text: str
    failed: bool = False


class Toolbox:
    """Tools by name. `for_models` are those a language model is offered."""

    def __init__(self, for_models: Iterable[Tool], others: Iterable[Tool] = ()) -> None:
        self.for_models = tuple(for_models)
        self._tools = {tool.__name__: tool for tool in (*self.for_models, *others)}

    def __contains__(self, name: str) -> bool:
        return name in self._tools

    async def use(self, name: str, arguments: Mapping[str, Any]) -> Used:
        """Run a tool. It always gives a text, whatever happens within it."""
        try:
            result = self._tools[name](**arguments)
            text = str(await result if inspect.isawaitable(result) else result)
        except (ToolError, NotArithmetic) as problem:
            return Used(str(problem) or "I cannot read that as a calculation.", failed=True)
        except Exception as problem:  # noqa: BLE001  # worker edge: a tool fails, the turn goes on
            log.error("tool %s failed: %s", name, type(problem).__name__)
            return Used("The tool failed.", failed=True)
        return Used(text if len(text) <= MAX_RESULT else text[:MAX_RESULT] + CUT)


def make_toolbox(ask: Ask, config: Config, gateway: Gateway, clock: Clock) -> Toolbox:
    """The tools for one request, as far as the settings allow them."""
    clock, zone = clock_of(ask.person, clock)
    calendar = Calendar(clock, zone)
    asked = [text_of({"text": message.content}) for message in pending(ask.messages, ask.waiting)]
    schedules = Schedules(gateway, clock)
    notes, history = Notes(gateway), History(gateway, clock, asked)
    preferences, summary = Preferences(gateway, clock), Summary(gateway, schedules, asked)
    tools: list[Tool] = [
        *(calculate, calendar.current_time, calendar.time_in, calendar.time_after),
        *(calendar.date_after, calendar.weekday_of, calendar.days_until, calendar.days_between),
    ]
    if gateway.granted:
        tools += [schedules.remind, schedules.plan_task, schedules.list_plans]
        tools += [schedules.cancel_plan, notes.write_note, notes.read_notes, notes.delete_note]
        tools += [history.search_history, summary.summarise_day, preferences.set_time_zone]
    files = Files(config.files_dir, ask.session)
    if ask.session:
        tools += [files.list_files, files.read_file, files.write_file, files.delete_file]
    if config.web:
        tools.append(Web().fetch_page)
    if config.run_programs and ask.session:
        tools.append(Programs(files).run_program)
    by_rules = (
        *(calendar.days_since, calendar.year_and_week, calendar.leap_year),
        *(schedules.remind, schedules.plan_task, schedules.list_plans, schedules.cancel_plan),
        *(schedules.cancel_all_plans, notes.write_note, notes.read_notes, notes.delete_note),
        notes.delete_all_notes,
        *(history.search_history, summary.summarise_day, preferences.set_time_zone),
    )
    return Toolbox(tools, by_rules)
