"""`make` on a fresh machine: what is missing is said in one line; a second run does nothing."""

import os
import pty
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.process import ROOT, clean_environment, free_port

OLD = '#!/bin/sh\ncase "$2" in *version_info*) exit 1;; *platform*) echo 3.9.2;; esac\n'
BARE = '#!/bin/sh\ncase "$2" in *ensurepip*) exit 1;; esac\n'


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What make looks at, in a folder of its own."""
    for name in ("Makefile", "requirements.txt", "requirements-dev.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    plain = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    return subprocess.run(
        ["make", *arguments], cwd=folder, env=plain, capture_output=True, text=True, timeout=120
    )


def script(folder: Path, text: str) -> str:
    path = folder / "python-of-that-machine"
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def test_missing_python_is_said(checkout: Path) -> None:
    done = make(checkout, "setup", "PYTHON=no-such-python")
    assert done.returncode != 0
    assert "no-such-python was not found. Install Python 3.11 or newer" in done.stderr
    assert not (checkout / ".venv").exists()


def test_old_python_is_said(checkout: Path) -> None:
    done = make(checkout, "setup", f"PYTHON={script(checkout, OLD)}")
    assert done.returncode != 0
    assert "is 3.9.2; 3.11 or newer is needed" in done.stderr


def test_python_without_venv_is_said(checkout: Path) -> None:
    done = make(checkout, "setup", f"PYTHON={script(checkout, BARE)}")
    assert done.returncode != 0
    assert "apt install python3-venv" in done.stderr


@pytest.mark.heavy
def test_environment_is_made_once_and_follows_the_requirements(checkout: Path) -> None:
    for name in ("requirements.txt", "requirements-dev.txt"):
        (checkout / name).write_text("# nothing, so that no registry is asked\n")
    first = make(checkout, "setup-dev", f"PYTHON={sys.executable}")
    assert first.returncode == 0, first.stderr
    assert (checkout / ".venv" / "bin" / "python").exists()
    assert make(checkout, "-q", "setup", "setup-dev").returncode == 0  # nothing left to do
    later = time.time() + 10
    os.utime(checkout / "requirements.txt", (later, later))
    assert make(checkout, "-q", "setup").returncode == 1  # there is something new to install


def test_help_lists_every_target(checkout: Path) -> None:
    listed = re.findall(r"^  make ([a-z-]+) ", make(checkout).stdout, re.M)
    assert {"setup", "run", "test", "test-all", "lint", "bench"} <= set(listed)


def test_run_needs_no_development_tools() -> None:
    text = (ROOT / "Makefile").read_text()
    assert re.search(r"^run: \$\(BASE\) ", text, re.M)
    assert re.search(r"^test: \$\(DEV\) ", text, re.M)


def test_ci_script_is_sound_and_calls_everything() -> None:
    script_path = ROOT / ".ci" / "run"
    assert os.access(script_path, os.X_OK)
    subprocess.run(["bash", "-n", str(script_path)], check=True)
    lines = script_path.read_text().splitlines()
    assert [one for one in lines if one.startswith("make ")] == ["make lint", "make test test-all"]
    assert "set -euo pipefail" in lines


@pytest.mark.heavy
def test_make_run_in_a_clean_clone_with_a_terminal_and_ctrl_c(tmp_path: Path) -> None:
    """No .env, no settings but the ports, twice in a row; Ctrl-C ends it without a complaint."""
    clone = tmp_path / "clone"
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, clone / name)
    assert not (clone / ".env").exists() and not (clone / "var").exists()
    env = {k: v for k, v in clean_environment(clone).items() if not k.startswith("MAKE")}
    del env["OPENCLAW_DATA_DIR"], env["OPENCLAW_ENV_FILE"]
    env |= {"OPENCLAW_PORT": str(free_port()), "OPENCLAW_PI_PORT": str(free_port())}
    first, second = (run_in_terminal(clone, env) for _ in range(2))
    for output in (first, second):
        assert f"http://127.0.0.1:{env['OPENCLAW_PORT']}/chat/?" in output
        assert "Traceback" not in output and "Error" not in output
    assert "(shown only now)" in first
    assert "(shown only now)" not in second
    assert (clone / "var" / "openclaw.sqlite3").exists()


def run_in_terminal(clone: Path, env: dict[str, str]) -> str:
    """`make run` in a terminal until it is ready, then Ctrl-C. Returns what was on the screen."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        ["make", "run", f"VENV={sys.prefix}"],
        cwd=clone,
        env=env,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: take_terminal(0),
    )
    os.close(theirs)
    screen = bytearray()

    def read() -> None:
        try:
            while data := os.read(ours, 65536):
                screen.extend(data)
        except OSError:  # the far end is closed
            return

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    deadline = time.monotonic() + 60
    while b"/admin/" not in screen or not re.search(rb"Agent [^\n]*\n\r?\n", bytes(screen)):
        assert time.monotonic() < deadline and process.poll() is None, screen.decode()
        time.sleep(0.05)
    os.write(ours, b"\x03")
    process.wait(40)
    reader.join(10)
    os.close(ours)
    return screen.decode()


def take_terminal(descriptor: int) -> None:
    """Make it the controlling terminal, so that Ctrl-C means something."""
    import fcntl
    import termios

    fcntl.ioctl(descriptor, termios.TIOCSCTTY, 0)
