"""The secret key: made at first start, kept in the data folder, shared by all processes."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def load_or_make_secret(path: Path) -> str:
    """The key in `path`. Made with mode 0600 if absent; of several starters one wins.

    The file is linked into place only when whole, so no one can read half a key.
    """
    if not path.exists():
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(50))
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text().strip()
