"""Reads rows of a data folder in a process of its own, through Django: `python -m tests.e2e.probe`.

One JSON request per line on stdin, one JSON answer per line on stdout:
`{"model": "gateway.Turn", "filter": {…}, "fields": […]}`, the same with `"values"` to change
rows, `{"pragma": "integrity_check"}`, or `{"task": "clean_up"}` for the worker's queue. Each
names its `"database"`: all worlds of a test run share one process, which takes a second to start.
"""

from __future__ import annotations

import atexit
import functools
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.process import ROOT, clean_environment


class Probe:
    """Questions about one data folder. Close it with `close`."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._own: subprocess.Popen[str] | None = None
        self._is_open = False

    def rows(self, model: str, *fields: str, **filters: Any) -> list[dict[str, Any]]:
        """The rows of a model ("gateway.Turn") that fit, as dictionaries, in order of their key."""
        found: list[dict[str, Any]] = self._ask(model=model, filter=filters, fields=fields)
        return found

    def count(self, model: str, **filters: Any) -> int:
        """How many rows fit."""
        return len(self.rows(model, "pk", **filters))

    def update(self, model: str, filters: dict[str, Any], **values: Any) -> int:
        """Change rows; returns how many."""
        changed: int = self._ask(model=model, filter=filters, values=values)
        return changed

    def create(self, model: str, **values: Any) -> None:
        """Add a row."""
        self._ask(model=model, new=values)

    def enqueue(self, task: str) -> None:
        """Put one of `gateway.tasks` into the worker's queue."""
        self._own = self._own or _spawn(self._data_dir)  # the queue is that of its folder
        _exchange(self._own, task=task)

    def faults(self) -> list[Any]:
        """What the database's own checks find wrong; empty when it is sound."""
        broken = self._ask(pragma="integrity_check")
        return [row for row in broken if row != ["ok"]] + list(
            self._ask(pragma="foreign_key_check")
        )

    def close(self) -> None:
        """Let go of the data folder."""
        if self._is_open:
            self._ask(close=True)
            self._is_open = False
        if self._own is not None:
            self._own.communicate()
            self._own = None

    def _ask(self, **request: Any) -> Any:
        self._is_open = True
        return _exchange(_shared(), database=str(self._data_dir / "openclaw.sqlite3"), **request)


def _spawn(data_dir: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.e2e.probe"],
        cwd=ROOT,
        env=clean_environment(data_dir),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@functools.cache
def _shared() -> subprocess.Popen[str]:
    folder = tempfile.mkdtemp(prefix="openclaw-probe-")
    process = _spawn(Path(folder) / "data")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(process.communicate)
    return process


def _exchange(process: subprocess.Popen[str], **request: Any) -> Any:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(request) + "\n")
    process.stdin.flush()
    line = process.stdout.readline()
    assert line, f"the probe ended with {process.wait()}"
    answer = json.loads(line)
    assert "error" not in answer, answer["error"]
    return answer["result"]


def _serve() -> None:
    import django

    django.setup()
    from django.apps import apps
    from django.db import Error, connection, transaction

    from gateway import tasks

    def answer(request: dict[str, Any]) -> Any:
        if request.get("database") not in (None, connection.settings_dict["NAME"]):
            connection.close()
            connection.settings_dict["NAME"] = request["database"]
        if "close" in request:
            connection.close()
            return None
        if "pragma" in request:
            with connection.cursor() as cursor:
                cursor.execute(f"PRAGMA {request['pragma']}")
                return cursor.fetchall()
        if "task" in request:
            getattr(tasks, request["task"])()
            return None
        table = apps.get_model(request["model"]).objects
        if "new" in request:
            return str(table.create(**request["new"]).pk)
        found = table.filter(**request["filter"])
        if "values" in request:
            with transaction.atomic():
                return found.update(**request["values"])
        return list(found.order_by("pk").values(*request["fields"]))

    for line in sys.stdin:
        try:
            result = {"result": answer(json.loads(line))}
        except Error as error:
            result = {"error": repr(error)}
        print(json.dumps(result, default=str), flush=True)


if __name__ == "__main__":
    _serve()
