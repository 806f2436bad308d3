"""What Pi reads from its environment.

The same names, `.env` file and `NAME_FILE` rule as the gateway's settings; Pi
reads them itself because it runs without Django.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import environ
from environ.fileaware_mapping import FileAwareMapping

BASE_DIR = Path(__file__).resolve().parent.parent
LOCAL_MODELS_URL = "http://127.0.0.1:11434/v1"
"""Where Ollama listens (its documentation, "OpenAI compatibility"): nothing leaves the machine."""

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


class ConfigError(Exception):
    """A setting that cannot be used. The message names it and says what it takes."""


@dataclass(frozen=True, slots=True)
class Config:
    """Pi's settings. `model` is empty where no language model is connected."""

    port: int = 9000
    model: str = ""
    base_url: str = LOCAL_MODELS_URL
    api_key: str = field(default="", repr=False)
    log_level: str = "INFO"
    log_format: str = "auto"

    @property
    def shown_url(self) -> str:
        """The base URL without user name, password and query: safe to show and to log."""
        parts = urlsplit(self.base_url)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def load(environment: Mapping[str, str]) -> Config:
    """Settings from `environment`, then from the `.env` file. Raises `ConfigError`."""
    env = _reader(environment)
    try:
        return Config(
            port=_port(env.str("OPENCLAW_PI_PORT", "9000")),
            model=env.str("OPENCLAW_LLM_MODEL", "").strip(),
            base_url=_base_url(env.str("OPENCLAW_LLM_BASE_URL", "")),
            api_key=_api_key(env.str("OPENCLAW_LLM_API_KEY", "")),
            log_level=_log_level(env.str("OPENCLAW_LOG_LEVEL", "INFO")),
            log_format=env.str("OPENCLAW_LOG_FORMAT", "auto"),
        )
    except OSError as error:
        raise ConfigError(f"a file named by a _FILE setting cannot be read: {error}") from error


def _reader(environment: Mapping[str, str]) -> environ.FileAwareEnv:
    class Reader(environ.FileAwareEnv):  # type: ignore[misc]  # django-environ has no types
        # a copy: read_env writes into it, and the default is the process's own environment
        ENVIRON = FileAwareMapping(dict(environment))

    Reader.read_env(environment.get("OPENCLAW_ENV_FILE", str(BASE_DIR / ".env")))
    return Reader()


def _port(text: str) -> int:
    if text.isascii() and text.isdigit() and int(text) <= 65535:
        return int(text)
    raise ConfigError(f"OPENCLAW_PI_PORT takes a port number from 0 to 65535, not {text!r}")


def _base_url(text: str) -> str:
    url = text.strip().rstrip("/").removesuffix("/chat/completions") or LOCAL_MODELS_URL
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError(f"OPENCLAW_LLM_BASE_URL takes a URL such as {LOCAL_MODELS_URL}")
    return url


def _api_key(text: str) -> str:
    key = text.strip()
    if not key.isascii() or not key.isprintable():
        raise ConfigError("OPENCLAW_LLM_API_KEY holds a character that no HTTP header can carry")
    return key


def _log_level(text: str) -> str:
    level = text.strip().upper()
    if level not in LOG_LEVELS:
        raise ConfigError(f"OPENCLAW_LOG_LEVEL takes one of {', '.join(LOG_LEVELS)}")
    return level
