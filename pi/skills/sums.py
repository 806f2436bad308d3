"""Arithmetic, as people ask for it."""

from __future__ import annotations

import re
from collections.abc import Callable

from pi.skills import Call
from pi.tools import ToolError
from pi.tools.arithmetic import NotArithmetic, calculate, tokenize
from pi.tools.written_dates import SMALL_NUMBERS

_LEAD = re.compile(
    r"^(?:what (?:is|are)|how much (?:is|are)|calculate|compute|work out|evaluate|solve"
    r"|(?:what is )?the (?:value|result) of)\s*:?\s*(?:the )?"
)
_WORDS = (
    (re.compile(r"\b(?:multiplied by|times)\b|[×·∙]"), "*"),
    (re.compile(r"(?<=[0-9)%]) ?x ?(?=[0-9(.-])"), " * "),
    (re.compile(r"\b(?:divided by|over)\b|÷"), "/"),
    (re.compile(r"\bplus\b"), "+"),
    (re.compile(r"\bminus\b|[−–]"), "-"),
    (re.compile(r"\b(?:raised )?to the power(?: of)?\b"), "^"),
    (re.compile(r"\bsquared\b|²"), "^2"),
    (re.compile(r"\bcubed\b|³"), "^3"),
    (re.compile(r"\bper ?cent\b"), "%"),
    (re.compile(r"\b(?:the )?square root(?: of)?\b|√"), "sqrt "),
    (re.compile(r"\bmodulo\b"), "mod"),
    (re.compile(r"\bhalf of\b"), "0.5 *"),
    (re.compile(r"[π]"), "pi"),
)
_NUMBER_WORDS = re.compile(rf"\b(?:{'|'.join(SMALL_NUMBERS)})\b")
_SHARE = re.compile(r"(?:what )?(?:%|percentage) of (?P<whole>.+) is (?P<part>.+)")
_SHARE_REVERSED = re.compile(r"(?P<part>.+) is what (?:%|percentage) of (?P<whole>.+)")
_LOOKS_LIKE_A_DATE = re.compile(r"[0-9]{1,4}([-/.])[0-9]{1,2}\1[0-9]{1,4}")


def sums(phrase: str) -> Call | None:
    """The calculator; None where the phrase is no calculation."""
    text = _normal(_LEAD.sub("", phrase))
    if share := _SHARE.fullmatch(text) or _SHARE_REVERSED.fullmatch(text):
        return _share(share["part"], share["whole"])
    if _LOOKS_LIKE_A_DATE.fullmatch(text):
        return None
    return _worked_out(text)


def _normal(text: str) -> str:
    for pattern, sign in _WORDS:
        text = pattern.sub(sign, text)
    text = _NUMBER_WORDS.sub(lambda match: str(SMALL_NUMBERS.index(match[0])), text)
    return " ".join(text.split())


def _worked_out(expression: str) -> Call | None:
    try:
        if len(tokenize(expression)) < 2:
            return None  # a lone number asks for nothing
    except NotArithmetic:
        return None
    shown = _shown(expression)
    return _calculated(expression, lambda result: f"{shown} {_related(result)}")


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
