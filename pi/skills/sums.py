"""Arithmetic, as people ask for it."""

from __future__ import annotations

import re
from collections.abc import Callable

from pi.skills import Call
from pi.tools import ToolError
from pi.tools.arithmetic import NotArithmetic, calculate, tokenize
from pi.tools.written_dates import NUMBER_WORDS, read_number

_LEAD = re.compile(
    r"^(?:what (?:is|are)|how much (?:is|are)|calculate|compute|work out|evaluate|solve"
    r"|(?:what is )?the (?:value|result) of)\s*:?\s*(?:the )?"
)
_UNIT = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 604800}
_UNITS = "|".join(_UNIT)
_IN_UNITS = re.compile(
    rf"(?:how many )?(?P<to>{_UNITS})s? (?:are )?(?:there )?(?:are )?in (?P<count>[0-9.,]+|an?)"
    rf" (?P<of>{_UNITS})s?|(?P<count2>[0-9.,]+|an?) (?P<of2>{_UNITS})s? (?:in|to|into)"
    rf" (?P<to2>{_UNITS})s?"
)
_FACTORIAL = re.compile(r"(?:the )?factorial of (?P<a>[0-9]{1,2})|(?P<b>[0-9]{1,2}) factorial")
_MONEY = re.compile(r"[$€£](?=[0-9])|(?<=[0-9])[€£]")
_WORDS = (
    (re.compile(r"([0-9.,]+)% off (?:of )?([0-9.,]+)"), r"\2 - \1%"),
    (re.compile(r"(?:\ban? )?([0-9.,]+)% tip (?:on|of|for) "), r"\1% of "),
    (re.compile(r"\b(?:the )?(?:sum|total) of ([0-9.]+) and ([0-9.]+)"), r"\1 + \2"),
    (re.compile(r"\b(?:the )?product of ([0-9.]+) and ([0-9.]+)"), r"\1 * \2"),
    (re.compile(r"\b(?:the )?difference (?:between|of) ([0-9.]+) and ([0-9.]+)"), r"\1 - \2"),
    (re.compile(r"\b(?:twice|double) (?=[0-9(])"), "2 * "),
    (re.compile(r"\btriple (?=[0-9(])"), "3 * "),
    (re.compile(r"\b([0-9]+) thirds of ([0-9.,]+)"), r"\1 / 3 * \2"),
    (re.compile(r"\b([0-9]+) quarters of ([0-9.,]+)"), r"\1 / 4 * \2"),
    (re.compile(r"\b(?:a|one|1) third of ([0-9.,]+)"), r"\1 / 3"),
    (re.compile(r"\b(?:a|one|1) quarter of ([0-9.,]+)"), r"\1 / 4"),
    (re.compile(r"\b(?:multiplied by|times)\b|[×·∙]"), "*"),
    (re.compile(r"(?<=[0-9)%]) ?x ?(?=[0-9(.-])"), " * "),
    (re.compile(r"\b(?:divided by|over)\b|÷"), "/"),
    (re.compile(r"\bplus\b"), "+"),
    (re.compile(r"\bminus\b|[−–]"), "-"),
    (re.compile(r"\b(?:raised )?to the power(?: of)?\b"), "^"),
    (re.compile(r"\bsquared\b|²"), "^2"),
    (re.compile(r"\bcubed\b|³"), "^3"),
    (re.compile(r"\b(?:the )?square root(?: of)?\b|√"), "sqrt "),
    (re.compile(r"\bmodulo\b"), "mod"),
    (re.compile(r"\bhalf of\b"), "0.5 *"),
    (re.compile(r"[π]"), "pi"),
)
_SHARE = re.compile(r"(?:what )?(?:%|percentage) of (?P<whole>.+) is (?P<part>.+)")
_SHARE_ASKED = re.compile(
    r"(?:what )?(?:%|percentage) is (?P<part>.+?) (?:of|out of) (?P<whole>.+)"
)
_SHARE_REVERSED = re.compile(r"(?P<part>.+) is what (?:%|percentage) of (?P<whole>.+)")
_LOOKS_LIKE_A_DATE = re.compile(r"[0-9]{1,4}([-/.])[0-9]{1,2}\1[0-9]{1,4}")


def sums(phrase: str) -> Call | None:
    """The calculator; None where the phrase is no calculation."""
    text = _normal(_LEAD.sub("", phrase))
    if units := _IN_UNITS.fullmatch(text):
        return _in_units(*(units[name] or units[f"{name}2"] for name in ("count", "of", "to")))
    if number := _FACTORIAL.fullmatch(text):
        factors = range(2, int(number["a"] or number["b"]) + 1)
        return _worked_out(" * ".join(map(str, (1, *factors))))
    share = _SHARE.fullmatch(text) or _SHARE_ASKED.fullmatch(text)
    if share := share or _SHARE_REVERSED.fullmatch(text):
        return _share(share["part"], share["whole"])
    if _LOOKS_LIKE_A_DATE.fullmatch(text):
        return None
    return _worked_out(text)


def _normal(text: str) -> str:
    text = NUMBER_WORDS.sub(lambda match: str(read_number(match[0])), _MONEY.sub("", text))
    text = re.sub(r"(?<=[0-9)]) per ?cent\b|\bper ?cent\b", "%", text)
    for pattern, sign in _WORDS:
        text = pattern.sub(sign, text)
    return " ".join(text.split())


def _worked_out(expression: str) -> Call | None:
    try:
        if len(tokenize(expression)) < 2:
            return None  # a lone number asks for nothing
    except NotArithmetic:
        return None
    shown = _shown(expression)
    return _calculated(expression, lambda result: f"{shown} {_related(result)}")


def _in_units(count: str, of: str, to: str) -> Call | None:
    """3 hours are 180 minutes."""
    number = "1" if count in ("a", "an") else count
    says = f"{number} {of} is" if number == "1" else f"{number} {of}s are"
    return _calculated(
        f"{number} * {_UNIT[of]} / {_UNIT[to]}",
        lambda result: f"{says} {result} {to}{'' if result == '1' else 's'}.",
    )


def _share(part: str, whole: str) -> Call | None:
    expression = f"({part}) / ({whole}) * 100"
    return _calculated(
        expression, lambda result: f"{_shown(part)} is {result}% of {_shown(whole)}."
    )


def _calculated(expression: str, say: Callable[[str], str]) -> Call | None:
    try:
        calculate(expression)  # it is cheap, and only the calculator knows whether it is a sum
    except NotArithmetic:
        return None
    except ToolError:
        pass  # a sum without a result: the tool says why
    return Call("calculate", {"expression": expression}, say)


def _related(result: str) -> str:
    relation = "≈" if result.startswith("about ") else "="
    return f"{relation} {result.removeprefix('about ')}"


def _shown(expression: str) -> str:
    """The calculation as understood, without characters that markdown would take for markup."""
    text = re.sub(r"\s*(\*\*|\^)\s*", "^", expression)
    text = re.sub(r"\s*%\s*(?=[0-9(.])", " mod ", text).replace(" %", "%")
    text = re.sub(r"\s*([*/])\s*", r" \1 ", text).replace("*", "×")
    text = re.sub(r"(?<=[0-9a-z)%])\s*([-+])\s*(?=[0-9a-z(.])", r" \1 ", text)
    return re.sub(r"\bsqrt ([0-9][0-9.,]*)", r"sqrt(\1)", text)
