"""The docs say what the code does: every setting with its default, every command, every link."""

import ast
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from gateway import channels
from pi.config import Config as PiConfig
from tests.process import ROOT

DOCS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
SETTINGS = ROOT / "docs" / "settings.md"
ROW = re.compile(r"^\| `([A-Z_<>]+)` \| (.+?) \| (.+) \|$", re.M)
READS = re.compile(r"env\.(str|int|float|bool|list|database|folder)")
NOTHING = "–"
COMPUTED = {
    "OPENCLAW_STATIC_DIR": "",  # defaults that are not literals in settings.py
    "OPENCLAW_DATA_DIR": "var",
    "OPENCLAW_ENV_FILE": ".env",
    "DATABASE_URL": "",
}
PI = {
    "OPENCLAW_PI_PORT": "port",
    "OPENCLAW_LLM_MODEL": "model",
    "OPENCLAW_LLM_BASE_URL": "base_url",
    "OPENCLAW_LLM_API_KEY": "api_key",
    "OPENCLAW_PI_CONTEXT_TOKENS": "context_tokens",
    "OPENCLAW_PI_SESSION_TOKENS": "session_tokens",
    "OPENCLAW_PI_DAY_TOKENS": "day_tokens",
    "OPENCLAW_PI_SESSION_COST": "session_cost",
    "OPENCLAW_PI_DAY_COST": "day_cost",
    "OPENCLAW_PI_FILES_DIR": "files_dir",
    "OPENCLAW_PI_WEB": "web",
    "OPENCLAW_PI_RUN_PROGRAMS": "run_programs",
    "OPENCLAW_PI_MCP": "mcp",
}
"""Pi's own settings and the fields of its Config; it shares a few more with the gateway."""


def documented() -> dict[str, str]:
    """Setting -> default as written in docs/settings.md."""
    rows = ROW.findall(SETTINGS.read_text())
    names = [name for name, _, _ in rows]
    assert len(names) == len(set(names)), "a setting stands there twice"
    return {name: "" if default == NOTHING else default.strip("`") for name, default, _ in rows}


def written(value: Any) -> str:
    """A default as docs/settings.md writes it."""
    if value is None or value in ("", (), [], frozenset()):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ",".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def env_calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Every `env.<type>("NAME", …)` in a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if (
            isinstance(node, ast.Call)
            and re.fullmatch(
                r"env\.(str|int|float|bool|list|database|folder)", ast.unparse(node.func)
            )
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            yield node.args[0].value, node


def of_settings() -> dict[str, str]:
    """Setting -> default in settings.py."""
    found = {}
    for name, call in env_calls(ROOT / "openclaw_site" / "settings.py"):
        default = [*call.args[1:], *(word.value for word in call.keywords)][0]
        if name in COMPUTED:
            found[name] = COMPUTED[name]
        else:  # literals and sums of them
            found[name] = written(eval(compile(ast.Expression(default), "settings", "eval"), {}))
    assert len(found) > 20
    return found


def of_channels() -> dict[str, str]:
    """Setting -> default of every channel there is, and of the rules for all of them."""
    every = channels.Rules()
    found = {
        f"OPENCLAW_<CHANNEL>_{field.name.upper()}": written(getattr(every, field.name))
        for field in fields(every)
    }
    for name in channels.installed():
        for field in fields(channels.load(name).Config):
            found[f"OPENCLAW_{name.upper()}_{field.name.upper()}"] = written(field.default)
    return found


def of_pi() -> dict[str, str]:
    """Setting -> default of the bundled agent."""
    return {name: written(getattr(PiConfig(), field)) for name, field in PI.items()}


def test_every_setting_is_documented_with_its_default_and_no_other() -> None:
    assert documented() == {**of_settings(), **of_channels(), **of_pi()}


def test_pi_reads_no_other_settings() -> None:
    shared = set(of_settings()) & {name for name, _ in env_calls(ROOT / "pi" / "config.py")}
    assert {name for name, _ in env_calls(ROOT / "pi" / "config.py")} == set(PI) | shared


def test_example_file_names_only_real_settings() -> None:
    named = re.findall(r"^#? ?([A-Z][A-Z_]+)=", (ROOT / ".env.example").read_text(), re.M)
    assert named
    known = set(documented())
    for channel in channels.installed():
        known |= {name.replace("<CHANNEL>", channel.upper()) for name in documented()}
    assert {name for name in named if name.removesuffix("_FILE") not in known} == set()


def test_every_setting_that_the_docs_name_is_real() -> None:
    known = {name.rstrip("_") for name in documented()}
    known |= {"OPENCLAW_SESSION_ID"}  # given to programs, not read
    for channel in channels.installed():
        known |= {name.replace("<CHANNEL>", channel.upper()) for name in documented()}
    for path in DOCS:
        for name in re.findall(r"\bOPENCLAW_[A-Z_]*[A-Z]\b(?!<)", path.read_text()):
            real = name in known or name.removesuffix("_FILE") in known
            prefix = any(other.startswith(f"{name}_") for other in known)
            assert real or prefix, f"{path.name} names {name}"


def commands() -> list[str]:
    found = ROOT.glob("*/management/commands/*.py")
    return [path.stem for path in found if not path.stem.startswith("_")]


def test_every_command_is_documented_and_helps_with_an_example() -> None:
    text = "\n".join(path.read_text() for path in DOCS)
    assert commands()
    for command in commands():
        assert re.search(rf"manage\.py {command}\b", text), f"no page names manage.py {command}"
        module = next(ROOT.glob(f"*/management/commands/{command}.py"))
        assert "Example: " in module.read_text().replace('"\n        "', ""), command


def test_every_make_target_is_documented() -> None:
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.M)
    text = "\n".join(path.read_text() for path in DOCS)
    assert len(targets) >= 7
    for target in targets:
        if target != "help":
            assert re.search(rf"`?make {target}\b", text), target


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings}


@pytest.mark.parametrize("path", DOCS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        page, _, anchor = target.partition("#")
        there = (path.parent / page) if page else path
        assert there.exists(), f"{path.name}: {target}"
        if anchor:
            assert anchor in anchors(there), f"{path.name}: {target}"


def test_first_screen_of_the_readme() -> None:
    first = (ROOT / "README.md").read_text().splitlines()[:45]
    text = "\n".join(first)
    assert "make run" in text and "make test" in text
    assert "───" in text, "the picture"
    assert "Admin     http://127.0.0.1:8000/admin/" in text, "what one then sees"


def test_readme_shows_what_up_prints() -> None:
    source = (ROOT / "gateway" / "management" / "commands" / "up.py").read_text()
    shown = re.findall(r"^  (Chat|Admin|Operator|Agent) ", (ROOT / "README.md").read_text(), re.M)
    assert shown == ["Chat", "Admin", "Operator", "Agent"]
    for label in shown:
        assert f'"  {label} ' in source
