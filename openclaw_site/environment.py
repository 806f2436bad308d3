"""Reads settings so that a bad one is said by a check, not by a traceback."""

from __future__ import annotations

import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfoNotFoundError

import environ
from django.core.exceptions import ImproperlyConfigured
from tzlocal import get_localzone_name


class Environment(environ.FileAwareEnv):  # type: ignore[misc]  # django-environ has no types
    """Uses the default for a value that cannot be read, and remembers which and why.

    `unreadable` holds (setting, reason); reasons name no value, which may be a secret.
    """

    def __init__(self) -> None:
        super().__init__()
        self.unreadable: list[tuple[str, str]] = []

    def get_value(
        self,
        var: str,
        cast: Any = None,
        default: Any = environ.Env.NOTSET,
        parse_default: bool = False,
    ) -> Any:
        """The value of `var`, or its default ("" where there is none)."""
        try:
            return super().get_value(var, cast, default, parse_default)
        except OSError as error:
            reason = f"the file that {var}_FILE names cannot be read ({error.strerror})"
        except UnicodeDecodeError:
            reason = f"the file that {var}_FILE names holds no text"
        except ValueError:
            reason = f"it takes {'a number' if cast in (int, float) else 'another kind of value'}"
        self.unreadable.append((var, reason))
        return "" if default is environ.Env.NOTSET else default

    def database(self, var: str, default: str) -> dict[str, Any]:
        """A database as Django has it, from the URL in `var`."""
        try:
            found: dict[str, Any] = self.db_url_config(self.str(var, default))
            import_module(f"{found['ENGINE']}.base")
        except (KeyError, ValueError, ImportError):
            reason = "it takes a database's URL, like sqlite:////var/lib/openclaw/chat.sqlite3"
        except ImproperlyConfigured:
            reason = "the driver of this kind of database is not installed"
        else:
            return found
        self.unreadable.append((var, reason))
        fallback: dict[str, Any] = self.db_url_config(default)
        return fallback

    def folder(self, var: str, default: Path) -> Path:
        """The folder named by `var`, made where it is missing."""
        path = Path(self.str(var, "") or default).absolute()
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            self.unreadable.append((var, f"the folder cannot be made ({error.strerror})"))
        return path


def local_zone() -> str:
    """The name of the machine's time zone; UTC where it does not tell one."""
    try:
        return get_localzone_name() or "UTC"
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return "UTC"


def make_private_folder(folder: Path) -> None:
    """Make sure that `folder` is there and can be written.

    Ends the process with one line where it cannot: databases are opened before any check runs.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise SystemExit(
            f"The folder {folder} cannot be written: {error.strerror}. "
            "Choose another with OPENCLAW_DATA_DIR, or give it to the user who runs this."
        ) from None
