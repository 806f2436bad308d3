"""Settings of the test run: a data folder of its own, nothing from the developer's environment."""

import os
import tempfile

for _key in [key for key in os.environ if key.startswith("OPENCLAW_") or key == "DATABASE_URL"]:
    del os.environ[_key]
os.environ["OPENCLAW_DATA_DIR"] = tempfile.mkdtemp(prefix="openclaw-tests-")
os.environ["OPENCLAW_CHANNELS"] = "webchat"
os.environ["OPENCLAW_ENV_FILE"] = os.devnull
os.environ["OPENCLAW_TIMEZONE"] = "UTC"

from openclaw_site.settings import *  # noqa: E402, F403
from openclaw_site.settings import DATABASES, OPENCLAW_DATA_DIR  # noqa: E402

# A file, not memory: the ledger writes from a thread of its own.
DATABASES["default"]["TEST"] = {"NAME": str(OPENCLAW_DATA_DIR / "test.sqlite3")}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
