"""Tasks that the gateway cannot do without: if one ends by itself, it is said loudly."""

from __future__ import annotations

import asyncio
import logging
from typing import TypeVar

logger = logging.getLogger(__name__)

T = TypeVar("T")


def vital(task: asyncio.Task[T]) -> asyncio.Task[T]:
    """The same task, whose failure nobody overlooks."""
    task.add_done_callback(_note)
    return task


def _note(task: asyncio.Task[T]) -> None:
    if not task.cancelled() and (error := task.exception()):
        logger.critical(
            "%s has ended, and nothing does its work: restart the gateway",
            task.get_name(),
            exc_info=error,
        )
