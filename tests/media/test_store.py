"""The media folder: what goes in under our names, and that nothing else comes out."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.media.content import content_of
from gateway.media.store import Store, TooLarge, file_name
from tests.media.conftest import MEGABYTE, pieces

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(50)
JPEG = b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01" + bytes(50)
OGG = b"OggS\0\x02" + bytes(22) + b"\x01\x13OpusHead\x01\x01" + bytes(30)
MP4 = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(50)
WEBP = b"RIFF\x24\0\0\0WEBPVP8 " + bytes(50)
PDF = b"%PDF-1.7\n%\xe2\xe3\n" + bytes(50)
SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script>x</script></svg>'


@pytest.mark.parametrize(
    ("head", "kind", "mime", "found"),
    [
        (PNG, "image", "image/jpeg", ("image/png", "image", "png")),
        (JPEG, "file", "application/pdf", ("image/jpeg", "image", "jpg")),
        (OGG, "voice", "audio/ogg; codecs=opus", ("audio/ogg", "voice", "ogg")),
        (OGG, "file", "", ("audio/ogg", "audio", "ogg")),
        (MP4, "animation", "video/mp4", ("video/mp4", "animation", "mp4")),
        (MP4, "voice", "audio/mp4", ("audio/mp4", "voice", "m4a")),
        (MP4, "image", "image/png", ("video/mp4", "video", "mp4")),
        (WEBP, "sticker", "image/webp", ("image/webp", "sticker", "webp")),
        (PDF, "image", "image/png", ("application/pdf", "file", "pdf")),
        (SVG, "image", "image/svg+xml", ("text/xml", "file", "bin")),
        (b"<!DOCTYPE html><html>", "image", "image/png", ("text/html", "file", "bin")),
        (b"a,b\n1,2\n", "file", "text/csv", ("text/csv", "file", "bin")),
        (b"hello", "image", "image/png", ("text/plain", "file", "txt")),
        ("é".encode() * 2000 + b"\xc3", "file", "", ("text/plain", "file", "txt")),
        (b"PK\x03\x04" + bytes(30), "file", "application/vnd.oasis.opendocument.text",
         ("application/vnd.oasis.opendocument.text", "file", "bin")),
        (b"PK\x03\x04" + bytes(30), "image", "image/png", ("application/zip", "file", "zip")),
        (b"\x01\x02\xff" * 9, "video", "video/mp4", ("application/octet-stream", "file", "bin")),
        (b"", "image", "image/png", ("text/plain", "file", "txt")),
    ],
)  # fmt: skip
def test_a_file_is_what_its_content_says(
    head: bytes, kind: str, mime: str, found: tuple[str, str, str]
) -> None:
    content = content_of(head, kind, mime)
    assert (content.mime, content.kind, content.extension) == found


@given(st.binary(max_size=200), st.text(max_size=20), st.text(max_size=30))
def test_any_bytes_are_something(head: bytes, kind: str, mime: str) -> None:
    content = content_of(head, kind, mime)
    assert content.mime
    assert content.extension.isalnum()


async def test_a_file_is_kept_whole_under_a_name_of_ours(store: Store) -> None:
    content = PNG + os.urandom(700_000)
    stored = await store.keep(pieces(content[:10], content[10:500_000], content[500_000:]), "image")
    path = store.find(stored.path)
    assert path.read_bytes() == content
    assert (stored.kind, stored.mime, stored.size) == ("image", "image/png", len(content))
    assert path.name.endswith(".png")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_what_is_too_large_or_breaks_off_leaves_nothing(store: Store) -> None:
    closed = []

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield bytes(100_000)
        finally:
            closed.append(True)

    async def broken() -> AsyncIterator[bytes]:
        yield PNG
        raise ConnectionError

    with pytest.raises(TooLarge, match="1 MB"):
        await store.keep(endless())
    with pytest.raises(ConnectionError):
        await store.keep(broken())
    assert closed == [True]
    assert [path for path in store.folder.rglob("*") if path.is_file()] == []
    exact = await store.keep(pieces(bytes(MEGABYTE)))
    assert exact.size == MEGABYTE


OUTSIDE = [
    "../secret_key",
    "/etc/passwd",
    "",
    ".",
    "a" * 32,
    "a" * 32 + ".png/../../x",
    "A" * 32 + ".png",
    "a" * 32 + ".png\n",
    "..%2f" + "a" * 32 + ".png",
    "a" * 31 + "/.png",
]


@pytest.mark.parametrize("path", OUTSIDE)
def test_names_that_are_not_ours_lead_nowhere(store: Store, path: str) -> None:
    (store.folder.parent / "secret_key").write_text("secret")
    with pytest.raises(LookupError):
        store.find(path)
    with pytest.raises(LookupError):
        store.file({"path": path})
    store.remove(path)
    assert (store.folder.parent / "secret_key").exists()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text())
def test_no_text_at_all_leads_out_of_the_folder(store: Store, path: str) -> None:
    with pytest.raises(LookupError):
        store.find(path)


async def test_a_link_laid_into_the_folder_is_not_followed(store: Store) -> None:
    stored = await store.keep(pieces(PNG))
    path = store.find(stored.path)
    outside = store.folder.parent / "secret_key"
    outside.write_text("secret")
    path.unlink()
    path.symlink_to(outside)
    with pytest.raises(LookupError):
        store.find(stored.path)


async def test_a_file_for_adapters_has_a_name_for_people(store: Store) -> None:
    stored = await store.keep(pieces(PDF))
    entry = {"path": stored.path, "kind": "file", "mime": stored.mime, "name": "../../report.pdf"}
    file = store.file(entry, "https://example.com/x")
    assert (file.name, file.size, file.url) == ("report.pdf", stored.size, "https://example.com/x")
    store.remove(stored.path)
    with pytest.raises(LookupError, match="gone"):
        store.file(entry)


@given(st.text())
def test_a_name_for_people_is_only_a_name(given_name: str) -> None:
    name = file_name(given_name, "own.bin")
    assert name
    assert not set("/\\\0\r\n") & set(name)
    assert len(name) <= 120
    assert not name.startswith(".")


async def test_drafts_that_a_crash_left_are_swept(store: Store, tmp_path: Path) -> None:
    stored = await store.keep(pieces(PNG))
    draft = store.folder / ".draft-0011223344556677"
    fresh = store.folder / ".draft-8899aabbccddeeff"
    draft.write_bytes(b"half")
    fresh.write_bytes(b"half")
    os.utime(draft, (time.time() - 7200,) * 2)
    assert list(store.old_names(time.time() + 10)) == [stored.path]
    assert list(store.old_names(time.time() - 1000)) == []
    assert not draft.exists()
    assert fresh.exists()
