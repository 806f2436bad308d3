"""`manage.py gateway`, or another command, with a trap: it kills itself at a named point.

`python -m tests.crash.launch [command]` reads CRASH_TRAP, the path of a file that holds
`{"point": "ingest:after_commit", "arrival": 3}` once the trap is set: at the
third arrival there, counted from when the file appeared, it is SIGKILL. With
"pause" the thread that got there waits so many seconds first: what the rest of the
process does too early meanwhile is done.

Who is killed again and again must not suspect a message of it: no turn is quarantined,
unless CRASH_QUARANTINE is set.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import django
from django.core.management import execute_from_command_line

from gateway import points

FORGIVING = 1000
"""Crashes of a turn that are none of its doing."""


class Trap:
    """The hook. Called from the event loop and from the ledger's thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._point = ""
        self._left = 0
        self._pause = 0.0

    def __call__(self, name: str) -> None:
        with self._lock:
            if not self._point and not self._set():
                return
            if name == self._point:
                self._left -= 1
                if self._left == 0:
                    time.sleep(self._pause)
                    os.kill(os.getpid(), signal.SIGKILL)

    def _set(self) -> bool:
        try:
            wanted = json.loads(self._path.read_text())
        except FileNotFoundError:
            return False
        self._point, self._left = wanted["point"], wanted["arrival"]
        self._pause = wanted["pause"]
        return True


def forgive() -> None:
    """From now on no turn is suspected of the crashes."""
    django.setup()
    from gateway.ledger import recovery  # its models need the settings first

    recovery.MAX_CRASHES = FORGIVING


def main() -> None:
    """Blocks until the command ends, one way or the other."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "openclaw_site.settings")
    if "CRASH_QUARANTINE" not in os.environ:
        forgive()
    points.hook = Trap(Path(os.environ["CRASH_TRAP"]))
    execute_from_command_line([sys.argv[0], *(sys.argv[1:] or ["gateway"])])


if __name__ == "__main__":
    main()
