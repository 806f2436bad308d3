"""`manage.py gateway`: listens, runs turns, sends."""

from __future__ import annotations

import gc
from typing import Any

from channels.routing import get_default_application
from django.conf import settings
from django.core.checks import ERROR, run_checks
from django.core.management.base import BaseCommand, CommandError
from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor


class Command(BaseCommand):
    """Runs the gateway until it is told to stop."""

    help = (
        "Run the gateway: HTTP, websockets, channels, turns and deliveries. "
        "Example: OPENCLAW_PORT=8001 python manage.py gateway"
    )
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        """Blocks. Raises `CommandError` where it cannot start."""
        from gateway.server import serve  # first: it installs the reactor before anyone imports it

        refuse_on_errors()
        from gateway.first_start import ensure_default_agent
        from gateway.runtime import AlreadyRunning, Runtime, lock

        application = get_default_application()  # settings.ASGI_APPLICATION

        try:
            held = lock(settings.OPENCLAW_DATA_DIR)
        except AlreadyRunning as error:
            raise CommandError(str(error)) from error
        except OSError as error:
            raise CommandError(f"The data folder cannot be used: {error}") from error
        with held:
            try:
                refuse_unmigrated()
                ensure_default_agent()
                runtime = Runtime()
                runtime.recover()
            except Error as error:
                raise CommandError(f"The database cannot be used: {error}") from error
            connection.close()  # from here on the ledger's thread does the writing
            gc.collect()
            gc.freeze()  # what is loaded now stays: later collections need not look at it
            serve(
                application,
                settings.OPENCLAW_HOST,
                settings.OPENCLAW_PORT,
                runtime.start,
                runtime.stop,
            )


def refuse_on_errors() -> None:
    """Only what concerns the whole gateway stops it; a bad channel is left out by itself."""
    errors = [
        message
        for message in run_checks(tags=["openclaw"])
        if message.level >= ERROR and "channel" not in str(message.id)
    ]
    if errors:
        raise CommandError("\n".join(f"{e.id}: {e.msg} {e.hint or ''}" for e in errors))


def refuse_unmigrated() -> None:
    """Raises `CommandError` where the database is not what this version works with."""
    executor = MigrationExecutor(connection)
    if missing := executor.migration_plan(executor.loader.graph.leaf_nodes()):
        raise CommandError(
            f"The database lacks {len(missing)} migrations. Run `python manage.py migrate` first."
        )
