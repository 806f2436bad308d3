"""Text files in the session's own folder, and the one resolver for everything in it."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import stat
from pathlib import Path

from pi.tools import ToolError

MAX_FILE_BYTES = 256 * 1024
MAX_FILES = 100
MAX_TOTAL_BYTES = 4 * 1024 * 1024

_NAME = re.compile(r"[\w][\w .()+-]{0,99}")
_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,80}")
BAD_NAME = "A file's name is letters, digits, spaces, dots and dashes, without folders."


class Files:
    """Tools for files. The session is fixed here, once; each tool raises `ToolError`."""

    def __init__(self, root: str, session: str) -> None:
        name = (
            session if _PLAIN.fullmatch(session) else hashlib.sha256(session.encode()).hexdigest()
        )
        self.folder = Path(root).absolute() / name

    async def list_files(self) -> str:
        """The files in this conversation's folder, with their sizes in bytes."""
        found = await asyncio.to_thread(self._sizes)
        return "\n".join(f"- {name} ({size} bytes)" for name, size in found) or "No files yet."

    async def read_file(self, name: str) -> str:
        """The text of a file in this conversation's folder.

        Args:
            name: its name.
        """
        return await asyncio.to_thread(self._read, name)

    async def write_file(self, name: str, text: str) -> str:
        """Write a text file into this conversation's folder, in place of one of that name.

        Args:
            name: its name, such as "list.txt".
            text: all of what is to stand in it.
        """
        return await asyncio.to_thread(self._write, name, text.encode("utf-8", "replace"))

    async def delete_file(self, name: str) -> str:
        """Delete a file in this conversation's folder.

        Args:
            name: its name.
        """
        return await asyncio.to_thread(self._delete, name)

    def open_folder(self) -> int:
        """A descriptor of the folder, made where it is missing; never one behind a link."""
        try:
            self.folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.folder.mkdir(mode=0o700, exist_ok=True)
            return os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            raise ToolError("This conversation's folder cannot be used.") from None

    def _read(self, name: str) -> str:
        with _Folder(self.open_folder()) as folder, folder.open(name, os.O_RDONLY) as file:
            return file.read(MAX_FILE_BYTES).decode("utf-8", "replace") or "(empty)"

    def _write(self, name: str, data: bytes) -> str:
        if len(data) > MAX_FILE_BYTES:
            raise ToolError(f"A file may have at most {MAX_FILE_BYTES} bytes.")
        others = [(other, size) for other, size in self._sizes() if other != name]
        if len(others) >= MAX_FILES or sum(s for _, s in others) + len(data) > MAX_TOTAL_BYTES:
            raise ToolError("This conversation's folder is full. Delete a file first.")
        flags = os.O_WRONLY | os.O_CREAT
        with _Folder(self.open_folder()) as folder, folder.open(name, flags) as file:
            file.write(data)
        return f"Written: {name} ({len(data)} bytes)"

    def _delete(self, name: str) -> str:
        with _Folder(self.open_folder()) as folder:
            folder.delete(name)
        return f"Deleted: {name}"

    def _sizes(self) -> list[tuple[str, int]]:
        with _Folder(self.open_folder()) as folder:
            return folder.sizes()


class _Folder:
    """An open folder: names are resolved within it, links are not followed."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __enter__(self) -> _Folder:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def open(self, name: str, flags: int) -> _File:
        """A regular file of this name. O_NONBLOCK: a pipe of that name keeps nobody waiting."""
        checked = _checked(name)
        try:
            found = os.open(
                checked, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600, dir_fd=self._descriptor
            )
        except FileNotFoundError:
            raise ToolError(f"There is no file “{checked}” here.") from None
        except OSError:
            raise ToolError(f"“{checked}” is not a file that can be used.") from None
        facts = os.fstat(found)
        if not stat.S_ISREG(facts.st_mode) or facts.st_nlink != 1:
            os.close(found)
            raise ToolError(f"“{checked}” is not a file that can be used.")
        return _File(found)

    def delete(self, name: str) -> None:
        """Take a name away; of a link only the link."""
        checked = _checked(name)
        try:
            os.unlink(checked, dir_fd=self._descriptor)
        except OSError:
            raise ToolError(f"There is no file “{checked}” here.") from None

    def sizes(self) -> list[tuple[str, int]]:
        """Name and size of each regular file, by name."""
        with os.scandir(self._descriptor) as entries:
            files = [entry for entry in entries if entry.is_file(follow_symlinks=False)]
            found = [(entry.name, entry.stat(follow_symlinks=False).st_size) for entry in files]
        return sorted(found)[: MAX_FILES * 2]


class _File:
    """An open file that closes itself."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def read(self, most: int) -> bytes:
        """Up to `most` bytes from the start."""
        return os.read(self._descriptor, most)

    def write(self, data: bytes) -> None:
        """`data` in place of what stood there. Emptied here, not at opening: it may be a link."""
        os.ftruncate(self._descriptor, 0)
        while data:
            data = data[os.write(self._descriptor, data) :]


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name) or ".." in name or name.endswith((" ", ".")):
        raise ToolError(BAD_NAME)
    return name
