"""`python -m pi`: runs Pi until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import sys

from aiohttp import web
from pythonjsonlogger.json import JsonFormatter

from pi.app import make_runner
from pi.brain import Brain
from pi.config import Config, ConfigError, load

HOST = "127.0.0.1"

log = logging.getLogger("pi")


def main() -> int:
    """Returns the exit code: 0 after a signal, 1 when Pi cannot start."""
    try:
        config = load(os.environ)
        set_up_logging(config)
        asyncio.run(serve(config))
    except (ConfigError, CannotListen) as error:
        return complain(str(error))
    return 0


class CannotListen(Exception):
    """The port cannot be had; the message says which, and how to choose another."""


def complain(message: str) -> int:
    """One line on stderr, and the exit code for it."""
    sys.stderr.write(f"pi: {message}\n")
    return 1


def set_up_logging(config: Config) -> None:
    """Lines for a terminal, JSON elsewhere, as OPENCLAW_LOG_FORMAT says."""
    os.environ.setdefault("PYDANTIC_AI_NO_BANNER", "1")  # it would print one into our log
    handler = logging.StreamHandler()
    as_json = config.log_format == "json" or (
        config.log_format == "auto" and not sys.stderr.isatty()
    )
    handler.setFormatter(
        JsonFormatter(
            "{asctime}{levelname}{name}{message}",
            style="{",
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
        )
        if as_json
        else logging.Formatter("{asctime} {levelname:<7} {name}: {message}", "%H:%M:%S", style="{")
    )
    logging.basicConfig(level=config.log_level, handlers=[handler])
    for name in ("httpx2", "openai", "asyncio", "aiohttp.access"):  # they log URLs and bodies
        logging.getLogger(name).setLevel(logging.WARNING)


async def serve(config: Config) -> None:
    """Listens until SIGTERM or SIGINT, then lets running answers finish for a moment."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    brain = Brain(config)
    runner = make_runner(brain)
    await runner.setup()
    try:
        port = await listen(runner, config.port)
        log.info("listening on http://%s:%d brain=%s", HOST, port, brain.kind)
        await stop.wait()
    finally:
        await runner.cleanup()
    log.info("stopped")


async def listen(runner: web.AppRunner, port: int) -> int:
    """The port it listens on: a free one for 0. Raises `CannotListen`."""
    try:
        await web.TCPSite(runner, HOST, port).start()
    except OSError as error:
        problem = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be used ({error})"
        raise CannotListen(
            f"port {port} {problem}; choose another with OPENCLAW_PI_PORT, "
            f"for example OPENCLAW_PI_PORT={port % 60000 + 1}"
        ) from error
    return int(runner.addresses[0][1])


if __name__ == "__main__":
    sys.exit(main())
