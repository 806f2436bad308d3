"""What Pi reads from its environment.

The same names, `.env` file and `NAME_FILE` rule as the gateway's settings; Pi
reads them itself because it runs without Django.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import environ
from environ.fileaware_mapping import FileAwareMapping

BASE_DIR = Path(__file__).resolve().parent.parent
LOCAL_MODELS_URL = "http://127.0.0.1:11434/v1"
"""Where Ollama listens (its documentation, "OpenAI compatibility"): nothing leaves the machine."""

SERVER_PREFIX = "server:"
"""Before a model's name: it is meant as it stands, even if it begins like a provider's."""

PROVIDERS = frozenset(
    (
        *("alibaba", "anthropic", "azure", "azure-responses", "bedrock", "bedrock-mantle"),
        *("cerebras", "cohere", "crusoe", "deepseek", "fireworks", "github", "github-copilot"),
        *("google", "google-cloud", "groq", "heroku", "huggingface", "litellm", "meta", "mistral"),
        *("moonshotai", "nebius", "ollama", "openai", "openai-chat", "openai-chatgpt"),
        *("openai-codex", "openai-responses", "openrouter", "ovhcloud", "sambanova", "snowflake"),
        *("together", "vercel", "vllm", "xai", "zai"),
    )
)
"""Providers of pydantic-ai that chat (its `providers` module); a test compares the two lists."""

MIN_CONTEXT_TOKENS = 2000
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
    context_tokens: int = 8000
    session_tokens: int = 0
    day_tokens: int = 0
    session_cost: float = 0.0
    day_cost: float = 0.0
    files_dir: str = "var/pi"
    web: bool = False
    run_programs: bool = False
    mcp: str = ""
    timezone: str = ""
    log_level: str = "INFO"
    log_format: str = "auto"

    @property
    def provider(self) -> str:
        """The provider that the model's name begins with; empty for a server at `base_url`."""
        name, colon, _ = self.model.partition(":")
        return name if colon and name in PROVIDERS else ""

    @property
    def model_name(self) -> str:
        """The model as its server or provider calls it."""
        start = f"{self.provider}:" if self.provider else SERVER_PREFIX
        return self.model.removeprefix(start)

    @property
    def own_url(self) -> str:
        """The base URL where one was chosen; empty for the default, which no provider is given."""
        return "" if self.base_url == LOCAL_MODELS_URL else self.base_url

    @property
    def mcp_servers(self) -> Mapping[str, Any]:
        """Name -> {"url"} or {"command"} of each MCP server."""
        return json.loads(self.mcp) if self.mcp else {}

    @property
    def shown_url(self) -> str:
        """The base URL without user name, password and query: safe to show and to log."""
        parts = urlsplit(self.base_url)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def load(environment: Mapping[str, str]) -> Config:
    """Settings from `environment`, then from the `.env` file. Raises `ConfigError`."""
    env = _reader(environment)
    try:
        programs = _switch("RUN_PROGRAMS", env.str("OPENCLAW_PI_RUN_PROGRAMS", "false"))
        return Config(
            port=_port(env.str("OPENCLAW_PI_PORT", "9000")),
            model=env.str("OPENCLAW_LLM_MODEL", "").strip(),
            base_url=_base_url(env.str("OPENCLAW_LLM_BASE_URL", "")),
            api_key=_api_key(env.str("OPENCLAW_LLM_API_KEY", "")),
            context_tokens=_context_tokens(env.str("OPENCLAW_PI_CONTEXT_TOKENS", "8000")),
            session_tokens=int(
                _amount("SESSION_TOKENS", env.str("OPENCLAW_PI_SESSION_TOKENS", "0"))
            ),
            day_tokens=int(_amount("DAY_TOKENS", env.str("OPENCLAW_PI_DAY_TOKENS", "0"))),
            session_cost=_amount("SESSION_COST", env.str("OPENCLAW_PI_SESSION_COST", "0")),
            day_cost=_amount("DAY_COST", env.str("OPENCLAW_PI_DAY_COST", "0")),
            files_dir=_files_dir(
                env.str("OPENCLAW_PI_FILES_DIR", ""), env.str("OPENCLAW_DATA_DIR", "")
            ),
            web=_switch("WEB", env.str("OPENCLAW_PI_WEB", "false")),
            run_programs=programs,
            mcp=_mcp(env.str("OPENCLAW_PI_MCP", ""), programs),
            timezone=_timezone(env.str("OPENCLAW_TIMEZONE", "")),
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


def _context_tokens(text: str) -> int:
    if text.strip().isascii() and text.strip().isdigit() and int(text) >= MIN_CONTEXT_TOKENS:
        return int(text)
    raise ConfigError(
        f"OPENCLAW_PI_CONTEXT_TOKENS takes a number from {MIN_CONTEXT_TOKENS}, not {text!r}"
    )


def _amount(name: str, text: str) -> float:
    try:
        amount = float(text)
    except ValueError:
        amount = -1
    if not (math.isfinite(amount) and amount >= 0):
        raise ConfigError(f"OPENCLAW_PI_{name} takes a number from 0 (no limit), not {text!r}")
    return amount


def _switch(name: str, text: str) -> bool:
    word = text.strip().lower()
    if word in ("true", "on", "yes", "1"):
        return True
    if word in ("false", "off", "no", "0", ""):
        return False
    raise ConfigError(f"OPENCLAW_PI_{name} takes true or false, not {text!r}")


def _files_dir(chosen: str, data_dir: str) -> str:
    return chosen.strip() or str(Path(data_dir.strip() or BASE_DIR / "var") / "pi")


def _mcp(text: str, programs: bool) -> str:
    """The setting as it stands, once every server in it can be used. Its text may hold a key."""
    try:
        servers = json.loads(text) if text.strip() else {}
    except ValueError:
        servers = None
    if not isinstance(servers, dict) or not all(map(_usable_server, servers.items())):
        raise ConfigError(
            'OPENCLAW_PI_MCP takes JSON such as {"notes": {"url": "http://127.0.0.1:8100/mcp"}} '
            'or {"notes": {"command": ["notes-server", "--stdio"]}}; names are letters and digits'
        )
    if not programs and any("command" in server for server in servers.values()):
        raise ConfigError(
            "OPENCLAW_PI_MCP names a command, and Pi runs programs only with "
            "OPENCLAW_PI_RUN_PROGRAMS=true"
        )
    return text.strip()


def _timezone(text: str) -> str:
    """Empty for the machine's own."""
    name = text.strip()
    try:
        return ZoneInfo(name).key if name else ""
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(
            f"OPENCLAW_TIMEZONE takes a name like Europe/Paris, not {name!r}"
        ) from None


def _usable_server(item: tuple[str, Any]) -> bool:
    name, server = item
    if not name.isalnum() or not isinstance(server, dict) or len(server) != 1:
        return False
    url, command = server.get("url", ""), server.get("command", ["x"])
    return (
        isinstance(url, str)
        and (not url or url.startswith(("http://", "https://")))
        and isinstance(command, list)
        and bool(command)
        and all(isinstance(word, str) for word in command)
    )


def _log_level(text: str) -> str:
    level = text.strip().upper()
    if level not in LOG_LEVELS:
        raise ConfigError(f"OPENCLAW_LOG_LEVEL takes one of {', '.join(LOG_LEVELS)}")
    return level
