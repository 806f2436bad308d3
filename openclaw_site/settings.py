"""Every setting, in one flat file. Only this file reads the environment.

Values come from the environment, then from `.env` beside manage.py. A secret may
also come from a file: `NAME_FILE` holds its path. docs/settings.md lists all of
them, and a test holds the two together.
"""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from logging import getLevelNamesMapping
from pathlib import Path
from typing import Any

import environ
from pythonjsonlogger.core import RESERVED_ATTRS

from openclaw_site.environment import Environment, local_zone, make_private_folder
from openclaw_site.secret import load_or_make_secret

BASE_DIR = Path(__file__).resolve().parent.parent
env = Environment()
OPENCLAW_UNREADABLE = env.unreadable  # the checks say what stands in here
environ.Env.read_env(env.str("OPENCLAW_ENV_FILE", str(BASE_DIR / ".env")))

# --- where and what ---------------------------------------------------------
OPENCLAW_HOST: str = env.str("OPENCLAW_HOST", "127.0.0.1")
OPENCLAW_PORT: int = env.int("OPENCLAW_PORT", 8000)
OPENCLAW_DATA_DIR = Path(env.str("OPENCLAW_DATA_DIR", str(BASE_DIR / "var"))).absolute()
OPENCLAW_PUBLIC_URL: str = env.str("OPENCLAW_PUBLIC_URL", "").rstrip("/")
OPENCLAW_INSTANCE: str = env.str("OPENCLAW_INSTANCE", "main")
OPENCLAW_CHANNELS: list[str] = [
    name.strip() for name in env.list("OPENCLAW_CHANNELS", default=["webchat"]) if name.strip()
]

os.umask(0o077)  # files 0600, folders 0700: conversations are private
make_private_folder(OPENCLAW_DATA_DIR)

# --- agents -----------------------------------------------------------------
OPENCLAW_AGENT_URL: str = env.str("OPENCLAW_AGENT_URL", "")
OPENCLAW_AGENT_CONNECT_SECONDS: float = env.float("OPENCLAW_AGENT_CONNECT_SECONDS", 5.0)
OPENCLAW_AGENT_FIRST_TOKEN_SECONDS: float = env.float("OPENCLAW_AGENT_FIRST_TOKEN_SECONDS", 120.0)
OPENCLAW_AGENT_BETWEEN_TOKENS_SECONDS: float = env.float(
    "OPENCLAW_AGENT_BETWEEN_TOKENS_SECONDS", 60.0
)
OPENCLAW_AGENT_TOTAL_SECONDS: float = env.float("OPENCLAW_AGENT_TOTAL_SECONDS", 900.0)
OPENCLAW_AGENT_RETRY_SECONDS: float = env.float("OPENCLAW_AGENT_RETRY_SECONDS", 1.0)
OPENCLAW_AGENT_ATTEMPTS: int = env.int("OPENCLAW_AGENT_ATTEMPTS", 6)
OPENCLAW_AGENT_MAX_BYTES: int = env.int("OPENCLAW_AGENT_MAX_BYTES", 4 * 1024 * 1024)
OPENCLAW_AGENT_MAX_TURNS: int = env.int("OPENCLAW_AGENT_MAX_TURNS", 500)
OPENCLAW_AGENT_API_URL: str = env.str("OPENCLAW_AGENT_API_URL", "").rstrip("/")
OPENCLAW_AGENT_CIRCUIT_FAILURES: int = env.int("OPENCLAW_AGENT_CIRCUIT_FAILURES", 5)
OPENCLAW_AGENT_CIRCUIT_SECONDS: float = env.float("OPENCLAW_AGENT_CIRCUIT_SECONDS", 30.0)
OPENCLAW_WAITING_NOTICE: str = env.str(
    "OPENCLAW_WAITING_NOTICE",
    "I cannot answer just now. Your message is kept, and I will answer as soon as I can.",
)
OPENCLAW_AGENT_START_SECONDS: float = env.float("OPENCLAW_AGENT_START_SECONDS", 30.0)
OPENCLAW_AGENT_MAX_MEMORY_MB: float = env.float("OPENCLAW_AGENT_MAX_MEMORY_MB", 0.0)
OPENCLAW_HISTORY_MESSAGES: int = env.int("OPENCLAW_HISTORY_MESSAGES", 2000)

# all that programs started for agents are given: none of our secrets
PROGRAM_ENVIRONMENT = {name: os.environ[name] for name in ("PATH", "HOME", "LANG")
                       if name in os.environ}  # fmt: skip

# --- the bundled agent ------------------------------------------------------
OPENCLAW_PI_PORT: int = env.int("OPENCLAW_PI_PORT", 9000)
OPENCLAW_LLM_BASE_URL: str = env.str("OPENCLAW_LLM_BASE_URL", "")  # Pi reads it; checked here

# --- sessions ---------------------------------------------------------------
OPENCLAW_IDLE_SECONDS: int = env.int("OPENCLAW_IDLE_SECONDS", 900)
OPENCLAW_RESTORE: str = env.str("OPENCLAW_RESTORE", "on_restart")
OPENCLAW_RETENTION_DAYS: int = env.int("OPENCLAW_RETENTION_DAYS", 0)
OPENCLAW_JSON: str = env.str("OPENCLAW_JSON", "archive")
OPENCLAW_COMMANDS: bool = env.bool("OPENCLAW_COMMANDS", True)

# --- planned sends ------------------------------------------------------------
OPENCLAW_TIMEZONE: str = env.str("OPENCLAW_TIMEZONE", "") or local_zone()
OPENCLAW_SCHEDULES_PER_SESSION: int = env.int("OPENCLAW_SCHEDULES_PER_SESSION", 50)
OPENCLAW_SCHEDULES_MIN_SECONDS: int = env.int("OPENCLAW_SCHEDULES_MIN_SECONDS", 60)

# --- durability and delivery ------------------------------------------------
OPENCLAW_DURABILITY: str = env.str("OPENCLAW_DURABILITY", "normal")
OPENCLAW_FLUSH_SECONDS: float = env.float("OPENCLAW_FLUSH_SECONDS", 30.0)
OPENCLAW_UNSURE: str = env.str("OPENCLAW_UNSURE", "resend")
OPENCLAW_REPEAT_MARK: str = env.str("OPENCLAW_REPEAT_MARK", "(repeated after an interruption)")
OPENCLAW_FAILURE_NOTICE: str = env.str(
    "OPENCLAW_FAILURE_NOTICE",
    "Sorry, something went wrong and I could not answer. Please try again.",
)
OPENCLAW_DELIVERY_MAX_AGE: int = env.int("OPENCLAW_DELIVERY_MAX_AGE", 24 * 3600)
OPENCLAW_DRAIN_SECONDS: float = env.float("OPENCLAW_DRAIN_SECONDS", 10.0)

# --- files -------------------------------------------------------------------
OPENCLAW_MEDIA_MAX_BYTES: int = env.int("OPENCLAW_MEDIA_MAX_BYTES", 64 * 1024 * 1024)
OPENCLAW_MEDIA_FETCH_SECONDS: float = env.float("OPENCLAW_MEDIA_FETCH_SECONDS", 60.0)
OPENCLAW_MEDIA_DAYS: int = env.int("OPENCLAW_MEDIA_DAYS", 90)
OPENCLAW_MEDIA_URL: str = env.str("OPENCLAW_MEDIA_URL", "").rstrip("/")
OPENCLAW_MEDIA_AGENT_LINK_SECONDS: int = env.int("OPENCLAW_MEDIA_AGENT_LINK_SECONDS", 3600)
OPENCLAW_MEDIA_LINK_SECONDS: int = env.int("OPENCLAW_MEDIA_LINK_SECONDS", 7 * 24 * 3600)

# --- limits and logs --------------------------------------------------------
OPENCLAW_MAX_BODY_BYTES: int = env.int("OPENCLAW_MAX_BODY_BYTES", 4 * 1024 * 1024)
OPENCLAW_LOG_FORMAT: str = env.str("OPENCLAW_LOG_FORMAT", "auto")
OPENCLAW_LOG_LEVEL: str = env.str("OPENCLAW_LOG_LEVEL", "INFO").upper()

# --- channels: OPENCLAW_<CHANNEL>_<FIELD>, read by each adapter's Config -----
# The names are the adapters' business; this is the one place that reads them.
OPENCLAW_CHANNEL_SETTINGS: dict[str, dict[str, str]] = {}
for _channel in OPENCLAW_CHANNELS:
    _prefix = f"OPENCLAW_{_channel.upper()}_"
    _fields = {key.removesuffix("_FILE") for key in os.environ if key.startswith(_prefix)}
    OPENCLAW_CHANNEL_SETTINGS[_channel] = {
        key.removeprefix(_prefix).lower(): env.str(key) for key in _fields
    }

# --- the HTTP API -------------------------------------------------------------
OPENCLAW_API_PER_MINUTE: int = env.int("OPENCLAW_API_PER_MINUTE", 600)
OPENCLAW_API_KEY_DAYS: float = env.float("OPENCLAW_API_KEY_DAYS", 7.0)

# --- beyond one box ---------------------------------------------------------
OPENCLAW_REDIS_URL: str = env.str("OPENCLAW_REDIS_URL", "")

# --- Django -----------------------------------------------------------------
DEBUG: bool = env.bool("OPENCLAW_DEBUG", False)
SECRET_KEY: str = env.str("OPENCLAW_SECRET_KEY", "") or load_or_make_secret(
    OPENCLAW_DATA_DIR / "secret_key"
)
_public_host = environ.urlparse(OPENCLAW_PUBLIC_URL).hostname if OPENCLAW_PUBLIC_URL else None
ALLOWED_HOSTS: list[str] = [
    "127.0.0.1",
    "localhost",
    "[::1]",
    *([OPENCLAW_HOST] if OPENCLAW_HOST not in ("0.0.0.0", "::") else []),  # noqa: S104 (compared)
    *([_public_host] if _public_host else []),
    *(OPENCLAW_ALLOWED_HOSTS := env.list("OPENCLAW_ALLOWED_HOSTS", default=[])),
]
CSRF_TRUSTED_ORIGINS = [OPENCLAW_PUBLIC_URL] if OPENCLAW_PUBLIC_URL else []
_https = OPENCLAW_PUBLIC_URL.startswith("https://")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _https
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if _https else None
SESSION_COOKIE_HTTPONLY = True
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"

INSTALLED_APPS = [
    "gateway.console.apps.ConsoleConfig",  # django.contrib.admin, with our pages
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "csp",
    "axes",
    "huey.contrib.djhuey",
    "sessions_app",
    "gateway",
]
MIDDLEWARE = [
    "gateway.api.edge.ApiEdge",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",  # the last one, as it asks to be
]
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",  # refuses who tried too often
    "django.contrib.auth.backends.ModelBackend",
]
AXES_HANDLER = "gateway.console.throttle.LoginThrottle"
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"], ["username"]]  # the handler knows the order
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = timedelta(minutes=10)
AXES_RESET_ON_SUCCESS = True
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_CLIENT_IP_CALLABLE = "gateway.console.throttle.address"
AXES_LOCKOUT_CALLABLE = "gateway.console.throttle.locked"
AXES_DISABLE_ACCESS_LOG = True
AXES_ENABLE_ADMIN = False  # `manage.py axes_reset_username` lifts a lock
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
        "form-action": ["'self'"],
    }
}
ROOT_URLCONF = "openclaw_site.urls"
ASGI_APPLICATION = "openclaw_site.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
DATABASES: dict[str, dict[str, Any]] = {
    "default": env.database("DATABASE_URL", f"sqlite:///{OPENCLAW_DATA_DIR / 'openclaw.sqlite3'}")
}
DATABASES["default"]["CONN_MAX_AGE"] = None
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    _synchronous = "FULL" if OPENCLAW_DURABILITY == "full" else "NORMAL"
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 5,  # seconds a writer waits for the lock: a webhook must be answered in time
        "init_command": (
            f"PRAGMA journal_mode=WAL; PRAGMA synchronous={_synchronous}; "
            "PRAGMA foreign_keys=ON; PRAGMA cache_size=-2000; PRAGMA temp_store=MEMORY;"
        ),
    }
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
HUEY = {
    "huey_class": "huey.SqliteHuey",
    "name": "openclaw",
    "filename": str(OPENCLAW_DATA_DIR / "huey.sqlite3"),
    "immediate": False,  # djhuey would otherwise run tasks inline when DEBUG is on
    "utc": True,
    "results": False,
    "consumer": {"workers": 2, "worker_type": "thread", "check_worker_health": True},
}
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "/chat/"
STATIC_URL = "static/"
OPENCLAW_STATIC_DIR = env.folder("OPENCLAW_STATIC_DIR", OPENCLAW_DATA_DIR / "static")
STATIC_ROOT = OPENCLAW_STATIC_DIR
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage",
        # a web server of another user reads them, whatever the umask keeps private
        "OPTIONS": {"file_permissions_mode": 0o644, "directory_permissions_mode": 0o755},
    },
}
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

_log_json = OPENCLAW_LOG_FORMAT == "json" or (
    OPENCLAW_LOG_FORMAT == "auto" and not sys.stderr.isatty()
)
_log_level = OPENCLAW_LOG_LEVEL if OPENCLAW_LOG_LEVEL in getLevelNamesMapping() else "INFO"
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "text": {
            "format": "{asctime} {levelname:<7} {name}: {message}",
            "style": "{",
            "datefmt": "%H:%M:%S",
        },
        "json": {
            "()": "pythonjsonlogger.json.JsonFormatter",
            "format": "{asctime}{levelname}{name}{message}",
            "style": "{",
            "rename_fields": {"asctime": "time", "levelname": "level", "name": "logger"},
            # Django adds the request, whose text holds the query: what people searched for
            "reserved_attrs": [*RESERVED_ATTRS, "request"],
        },
    },
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "formatter": "json" if _log_json else "text",
        }
    },
    "root": {"handlers": ["stderr"], "level": _log_level},
    "loggers": {
        "axes": {"level": "WARNING"},  # it tells of every login
        "httpx": {"level": "WARNING"},  # it logs URLs, and bot tokens stand in URLs
        "daphne": {"level": "WARNING"},
        "django.channels.server": {"level": "WARNING"},
        # with a handler of its own, or Huey adds one that says everything twice
        "huey": {"level": "WARNING", "handlers": ["stderr"], "propagate": False},
    },
}
