"""Files in the session's folder: caps, names, links."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from pi.tools import ToolError
from pi.tools.files import MAX_FILE_BYTES, MAX_FILES, MAX_TOTAL_BYTES, Files
from pi.tools.programs import MAX_OUTPUT, Programs


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(str(tmp_path / "root"), "sess_1")


async def test_write_read_list_delete(files: Files) -> None:
    assert await files.list_files() == "No files yet."
    await files.write_file("list.txt", "milk")
    await files.write_file("list.txt", "tea")
    assert await files.read_file("list.txt") == "tea"
    assert await files.list_files() == "- list.txt (3 bytes)"
    await files.delete_file("list.txt")
    with pytest.raises(ToolError, match="no file"):
        await files.read_file("list.txt")
    for folder in (files.folder, files.folder.parent):
        assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "../x", "a/b", "/etc/passwd", "a\\b/../c", "..x", "x..y", ".hidden"),
        *("x\0", "x\n", "x ", "-rf", "a" * 101, "\u2024\u2024/x", "%2e%2e%2fx"),
    ],
)
async def test_name_that_could_lead_elsewhere_is_refused(files: Files, name: str) -> None:
    for attempt in (files.read_file(name), files.write_file(name, "x"), files.delete_file(name)):
        with pytest.raises(ToolError):
            await attempt
    assert list(files.folder.parent.glob("**/*")) in ([], [files.folder])


@pytest.mark.parametrize("link", ["symlink", "hardlink", "folder", "pipe", "dangling"])
async def test_what_is_no_plain_file_is_not_used(files: Files, tmp_path: Path, link: str) -> None:
    os.close(files.open_folder())
    secret, trap = tmp_path / "secret.txt", files.folder / "trap.txt"
    secret.write_text("secret")
    make = {
        "symlink": lambda: trap.symlink_to(secret),
        "hardlink": lambda: os.link(secret, trap),
        "folder": trap.mkdir,
        "pipe": lambda: os.mkfifo(trap),
        "dangling": lambda: trap.symlink_to(tmp_path / "new.txt"),
    }
    make[link]()
    for attempt in (files.read_file("trap.txt"), files.write_file("trap.txt", "x")):
        with pytest.raises(ToolError):
            await attempt
    assert secret.read_text() == "secret" and not (tmp_path / "new.txt").exists()


async def test_folder_that_is_a_link_is_not_used(files: Files, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    files.folder.parent.mkdir()
    files.folder.symlink_to(other)
    with pytest.raises(ToolError):
        await files.write_file("x.txt", "x")
    assert list(other.iterdir()) == []


async def test_caps(files: Files) -> None:
    with pytest.raises(ToolError, match="at most"):
        await files.write_file("big.txt", "x" * (MAX_FILE_BYTES + 1))
    for number in range(MAX_TOTAL_BYTES // MAX_FILE_BYTES):
        await files.write_file(f"{number}.txt", "x" * MAX_FILE_BYTES)
    with pytest.raises(ToolError, match="full"):
        await files.write_file("more.txt", "x")
    await files.write_file("0.txt", "smaller")


async def test_at_most_so_many_files(files: Files) -> None:
    os.close(files.open_folder())
    for number in range(MAX_FILES):
        (files.folder / f"{number}.txt").touch()
    with pytest.raises(ToolError, match="full"):
        await files.write_file("more.txt", "x")


async def test_program_runs_in_the_folder_without_pis_environment(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENCLAW_LLM_API_KEY", "sk-secret")
    result = await Programs(files).run_program("echo hello > a.txt; cat a.txt; pwd; env; exit 3")
    assert result.startswith(f"hello\n{files.folder}\n") and result.endswith("[exit code 3]")
    assert "sk-secret" not in result


async def test_program_is_stopped_in_time_with_all_that_it_started(files: Files) -> None:
    with pytest.raises(ToolError, match="Stopped after"):
        await Programs(files, seconds=1).run_program("sleep 77 & echo $! > pid; sleep 77")
    pid = int((files.folder / "pid").read_text())
    async with asyncio.timeout(10):
        while _is_alive(pid):
            await asyncio.sleep(0.01)


def _is_alive(pid: int) -> bool:
    """Whether a process runs; one that ended and was not yet waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("command", ["sleep 77 & echo ok", "setsid sleep 3 & echo ok"])
async def test_what_goes_on_in_the_background_is_not_waited_for(files: Files, command: str) -> None:
    assert await Programs(files).run_program(command) == "ok\n[exit code 0]"


async def test_output_is_bounded(files: Files) -> None:
    result = await Programs(files).run_program("yes")
    assert len(result) < MAX_OUTPUT + 100 and "more than" in result
