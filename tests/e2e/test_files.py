"""A picture on its way through a whole gateway: to the agent by a link, and back to the person."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.e2e.world import World, wait_until, world

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256)) * 4000


def photo(made: World, user: int, handle: str, content: bytes, **fields: Any) -> None:
    """A user sends a picture."""
    made.telegram.files[handle] = content
    size = {"file_id": handle, "file_unique_id": handle, "width": 9, "height": 9}
    made.telegram.say(user, photo=[{**size, "file_size": len(content)}], **fields)


def attachments(made: World, call: int = -1) -> list[dict[str, Any]]:
    """The files of the last message of a call of the agent."""
    files: list[dict[str, Any]] = made.agent.calls[call].payload["messages"][-1]["attachments"]
    return files


def got(url: str, **headers: str) -> tuple[int, bytes]:
    """Status and body of a link."""
    try:
        request = urllib.request.Request(url, headers=headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_a_picture_reaches_the_agent_and_comes_back(tmp_path: Path) -> None:
    with world(tmp_path) as made:
        photo(made, 5, "F-1", PNG, caption="look")
        made.telegram.wait_for(lambda: made.telegram.texts(5))
        (file,) = attachments(made)
        assert (file["kind"], file["mime"], file["size"]) == ("image", "image/png", len(PNG))
        assert file["url"].startswith(f"http://127.0.0.1:{made.gateway.port}/media/")
        assert got(file["url"]) == (200, PNG)
        assert got(file["url"], Range="bytes=0-3") == (206, PNG[:4])
        assert got(file["url"].partition("?")[0])[0] == 403
        made.agent.behave(final={"content": "yours", "attachments": [file]})
        made.telegram.say(5, "back please")
        made.telegram.wait_for(lambda: made.telegram.sent and made.telegram.sent[-1].file == PNG)
        assert made.telegram.called("sendPhoto")
        folder = made.gateway.data_dir / "media"
        assert {path.stat().st_mode & 0o077 for path in folder.rglob("*")} == {0}


def test_an_album_is_one_question(tmp_path: Path) -> None:
    with world(tmp_path, "polling", start=False) as made:
        for number in range(3):
            photo(made, 5, f"F-{number}", PNG, media_group_id="77")
        made.gateway.spawn()
        wait_until(lambda: made.agent.calls)
        made.quiet()
        (call,) = made.agent.calls
        files = [one for message in call.payload["messages"] for one in message["attachments"]]
        assert len(files) == 3
        assert len(made.telegram.texts(5)) == 1


def test_a_file_that_cannot_be_had_costs_nobody_the_answer(tmp_path: Path) -> None:
    with world(tmp_path, OPENCLAW_MEDIA_MAX_BYTES="1000000") as made:
        photo(made, 5, "F-1", PNG, caption="too large")
        made.telegram.say(6, photo=[{"file_id": "F-0", "file_unique_id": "x", "width": 1,
                                     "height": 1}])  # fmt: skip
        made.telegram.wait_for(lambda: made.telegram.texts(5) and made.telegram.texts(6))
        told = {call.payload["chatId"]: call.payload["messages"][-1] for call in made.agent.calls}
        assert "larger" in told["5"]["attachments"][0]["error"]
        assert "file_id" in told["6"]["attachments"][0]["error"]
