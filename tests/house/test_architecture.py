"""Arrows point down only, modules stay small, and the core knows no platform by name."""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process import ROOT

OURS = {"openclaw_site", "gateway", "sessions_app", "adapters", "pi", "bench", "tests"}
PRODUCT = ["openclaw_site", "gateway", "sessions_app", "adapters", "pi"]
MAY_IMPORT = {
    "openclaw_site": {"openclaw_site", "gateway", "sessions_app"},
    "gateway": {"gateway", "sessions_app", "adapters"},
    "sessions_app": {"sessions_app"},
    "adapters": {"adapters"},
    "pi": {"pi"},
    "manage.py": set(),
}
FRAMEWORK = {"django", "channels", "daphne", "huey", "twisted", "environ", "csp", "whitenoise"}
WITHOUT_FRAMEWORK = {"adapters": FRAMEWORK, "pi": FRAMEWORK - {"environ"}}
PLATFORMS = re.compile(r"telegram|whatsapp|discord|imessage|slack", re.IGNORECASE)
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|NotImplementedError")
MAX_LINES = 400
LONGER: dict[str, str] = {}  # module: why it is longer


def modules(*packages: str) -> list[Path]:
    found = [path for package in packages for path in sorted((ROOT / package).rglob("*.py"))]
    assert found
    return [path for path in found if "migrations" not in path.parts]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


ALL = [*modules(*PRODUCT), ROOT / "manage.py"]
each_module = pytest.mark.parametrize("path", ALL, ids=name)


def imports(path: Path) -> Iterator[str]:
    """Every module it imports, anywhere in it, also by `import_module("…")`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name(path)}: relative import"
            assert node.module
            yield node.module
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            first = node.args[0]
            yield ast.unparse(first).strip("f'\"")


@each_module
def test_arrows_point_down_only(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    wrong = {
        module
        for module in imports(path)
        if (top := module.split(".")[0]) in OURS and top not in MAY_IMPORT[package]
    }
    assert wrong == set()


@pytest.mark.parametrize("path", modules(*WITHOUT_FRAMEWORK), ids=name)
def test_adapters_and_the_bundled_agent_know_no_framework(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    tops = {module.split(".")[0] for module in imports(path)}
    assert tops & WITHOUT_FRAMEWORK[package] == set()


@pytest.mark.parametrize("path", modules("adapters"), ids=name)
def test_adapters_do_not_know_each_other(path: Path) -> None:
    for module in imports(path):
        top, _, rest = module.partition(".")
        if top == "adapters" and rest:
            assert rest == "base" or rest.startswith("_"), f"imports {module}"


@pytest.mark.parametrize(
    "path",
    [
        path
        for package in ("gateway", "sessions_app")
        for path in sorted((ROOT / package).rglob("*"))
        if path.suffix in {".py", ".js", ".css", ".html"}
    ],
    ids=name,
)
def test_core_knows_no_platform_by_name(path: Path) -> None:
    text = path.read_text()
    lines = [number for number, line in enumerate(text.splitlines(), 1) if PLATFORMS.search(line)]
    assert lines == [], f"{name(path)} names a platform"
    assert not PLATFORMS.search(path.name)


@each_module
def test_modules_stay_small(path: Path) -> None:
    lines = path.read_text().count("\n")
    assert lines <= MAX_LINES or name(path) in LONGER, f"{lines} lines"


def broad(handler: ast.ExceptHandler) -> bool:
    kinds = [] if handler.type is None else [ast.unparse(handler.type)]
    return not kinds or bool(re.search(r"\b(Base)?Exception\b", kinds[0]))


BROAD = {
    "gateway/server.py": "what the start raised is kept, the server stopped, and then raised again",
}


@each_module
def test_broad_excepts_stand_only_at_worker_edges(path: Path) -> None:
    text = path.read_text()
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ExceptHandler) and broad(node) and name(path) not in BROAD:
            head = "\n".join(lines[node.lineno - 1 : node.body[0].lineno])
            reason = re.search(r"worker(?:'s)? edge: *(.*)", head)
            assert reason and len(reason[1]) >= 10, f"{name(path)}:{node.lineno}: {head}"


@each_module
def test_nothing_is_left_unfinished(path: Path) -> None:
    readable = io.StringIO(path.read_text()).readline
    for token in tokenize.generate_tokens(readable):
        assert not UNFINISHED.search(token.string) or token.type == tokenize.ENDMARKER, (
            f"{name(path)}:{token.start[0]}"
        )


@each_module
def test_every_module_with_code_says_what_it_is(path: Path) -> None:
    tree = ast.parse(path.read_text())
    if len(tree.body) > 3:
        assert ast.get_docstring(tree)


ENVIRONMENT_READERS = {
    "openclaw_site/settings.py": "the one place",
    "gateway/checks.py": "looks for names that nobody knows; reads no value",
    "gateway/supervisor.py": "children inherit it",
    "gateway/management/commands/up.py": "NO_COLOR, a convention of terminals",
    "pi/__main__.py": "the bundled agent runs without Django",
}


@each_module
def test_only_settings_read_the_environment(path: Path) -> None:
    reads = re.search(r"\bos\.(environ(?!\.setdefault)|getenv)\b", path.read_text())
    assert not reads or name(path) in ENVIRONMENT_READERS


def test_exceptions_to_the_rules_are_still_needed() -> None:
    long = {name(path) for path in ALL if path.read_text().count("\n") > MAX_LINES}
    assert set(LONGER) <= long
    readers = {name(path) for path in ALL if "os.environ" in path.read_text()}
    assert set(ENVIRONMENT_READERS) <= readers
    handlers = {name(path) for path in ALL if "except Exception" in path.read_text()}
    assert set(BROAD) <= handlers


def test_this_test_sees_what_it_looks_for(tmp_path: Path) -> None:
    sample = tmp_path / "sample.py"
    sample.write_text(
        "def f():\n"
        "    from gateway import models\n"
        "    import sessions_app.models as m\n"
        "    import_module('pi.app')\n"
        "try:\n    pass\nexcept (ValueError, Exception):\n    pass\n"
    )
    assert set(imports(sample)) == {"gateway", "sessions_app.models", "pi.app"}
    handlers = [n for n in ast.walk(ast.parse(sample.read_text())) if isinstance(n, ast.Try)]
    assert broad(handlers[0].handlers[0])


def test_python_of_the_everyday_run_is_supported() -> None:
    assert sys.version_info >= (3, 11)
