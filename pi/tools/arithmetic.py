"""Exact arithmetic on what people write, with every size bounded.

Grammar, loosest first; `of` multiplies, and a percentage after plus or minus is
one of the left side (200 + 10% is 220)::

    sum    = term (("+" | "-") term)*
    term   = unary (("*" | "/" | "of" | "mod" | "%") unary | unary)*
    unary  = ("-" | "+")* power
    power  = share ("^" unary)?
    share  = value "%"*
    value  = number | "pi" | "e" | "(" sum ")" | function share
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from decimal import Context, Decimal
from fractions import Fraction

from pi.tools import ToolError

Number = Fraction | float
MAX_LENGTH = 300
MAX_DEPTH = 40
MAX_BITS = 4096
SHOWN_DIGITS = 10

TOO_LARGE = "That number is too large for me to work out."
TOKEN = re.compile(
    r"\s*(?:(?P<number>[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?(?![0-9,])"
    r"|(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:e[+-]?[0-9]{1,3}(?![0-9a-z]))?)"
    r"|(?P<name>[a-z]+)|(?P<sign>\*\*|[-+*/^%()]))"
)
CONSTANTS = {"pi": math.pi, "e": math.e}


class NotArithmetic(Exception):
    """The text is not a calculation at all."""


def calculate(expression: str) -> str:
    """The value of an arithmetic expression, such as "17% of 240" or "sqrt(2)".

    Knows + - * / ^ mod, percentages, parentheses, pi, e, sqrt, abs, round, floor
    and ceil. Returns a decimal number, "about …" where it is rounded. Raises
    `ToolError` where there is no result, `NotArithmetic` where there is no sum.
    """
    tokens = tokenize(expression)
    try:
        return show(_Parser(tokens).parse())
    except ZeroDivisionError:
        raise ToolError("I cannot divide by zero.") from None
    except OverflowError:
        raise ToolError(TOO_LARGE) from None


def tokenize(expression: str) -> list[str]:
    """Numbers, names and signs in order. Raises `NotArithmetic` for anything else."""
    if len(expression) > MAX_LENGTH:
        raise NotArithmetic
    text, tokens, position = expression.strip().lower(), [], 0
    while position < len(text):
        match = TOKEN.match(text, position)
        if match is None or not _is_known(match["name"]):
            raise NotArithmetic
        tokens.append(match.group().strip().replace("**", "^"))
        position = match.end()
    if not any(token[0] in ".0123456789" or token in CONSTANTS for token in tokens):
        raise NotArithmetic
    return tokens


def show(value: Number) -> str:
    """A decimal number for people: exact where it is short enough, else "about …"."""
    if isinstance(value, float):
        return _about(Decimal(value))
    if value.denominator == 1 and abs(value.numerator) < 10**40:
        return str(value.numerator)
    for places in range(1, 13):
        if 10**places % value.denominator == 0 and abs(value) < 10**40:
            digits = Decimal(value.numerator * (10**places // value.denominator))
            return f"{Context(prec=60).scaleb(digits, -places):f}"
    context = Context(prec=SHOWN_DIGITS)
    return _about(context.divide(Decimal(value.numerator), Decimal(value.denominator)))


def _about(value: Decimal) -> str:
    rounded = Context(prec=SHOWN_DIGITS).plus(value).normalize()
    if rounded == 0:
        return "0"
    if -7 < rounded.adjusted() < 15:
        return f"about {rounded:f}"
    digits = rounded.scaleb(-rounded.adjusted())
    return f"about {digits:f} × 10^{rounded.adjusted()}"


def _is_known(name: str | None) -> bool:
    return name is None or name in CONSTANTS or name in FUNCTIONS or name in ("of", "mod")


class _Parser:
    """Recursive descent over one expression; works the value out as it goes."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._next = 0
        self._depth = 0

    def parse(self) -> Number:
        """The value of all tokens. Raises `ToolError`, ZeroDivisionError, OverflowError."""
        value = self._sum()
        if self._next < len(self._tokens):
            raise self._unreadable()
        return value

    def _peek(self) -> str:
        return self._tokens[self._next] if self._next < len(self._tokens) else ""

    def _take(self, *wanted: str) -> str:
        token = self._peek()
        if token not in wanted or not token:
            return ""
        self._next += 1
        return token

    def _unreadable(self) -> ToolError:
        return ToolError("I cannot read that as a calculation.")

    def _starts_value(self, token: str) -> bool:
        return bool(token) and (
            token[0] in ".0123456789(" or token in CONSTANTS or token in FUNCTIONS
        )

    def _sum(self) -> Number:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ToolError("That is nested too deeply for me.")
        total, all_shares = self._term()
        while sign := self._take("+", "-"):
            part, is_share = self._term()
            if is_share and not all_shares:
                part = _bounded(total * part)
            total = _bounded(total + part if sign == "+" else total - part)
        self._depth -= 1
        return total

    def _term(self) -> tuple[Number, bool]:
        """A product, and whether it is a bare percentage."""
        value, is_share = self._unary()
        while True:
            sign = self._take("*", "/", "of", "mod", "%")
            if not sign and not self._starts_value(self._peek()):
                return value, is_share
            if not sign and self._peek()[0] in ".0123456789":
                raise self._unreadable()  # "5 5" is no product
            right, _ = self._unary()
            value, is_share = _bounded(_product(sign or "*", value, right)), False

    def _unary(self) -> tuple[Number, bool]:
        negative = False
        while sign := self._take("-", "+"):
            negative ^= sign == "-"
        value, is_share = self._power()
        return (-value if negative else value), is_share

    def _power(self) -> tuple[Number, bool]:
        value, is_share = self._share()
        if not self._take("^"):
            return value, is_share
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ToolError(TOO_LARGE)
        exponent, _ = self._unary()
        self._depth -= 1
        return _bounded(power(value, exponent)), False

    def _share(self) -> tuple[Number, bool]:
        value, is_share = self._value(), False
        while self._peek() == "%" and not self._starts_value(self._peek_second()):
            self._next += 1
            value, is_share = _bounded(value / 100), True
        return value, is_share

    def _peek_second(self) -> str:
        return self._tokens[self._next + 1] if self._next + 1 < len(self._tokens) else ""

    def _value(self) -> Number:
        word = self._take(self._peek())
        if not word:
            raise self._unreadable()
        if word[0] in ".0123456789":
            return _bounded(Fraction(word.replace(",", "")))
        if word in CONSTANTS:
            return CONSTANTS[word]
        if word == "(":
            return self._parenthesis()
        if word in FUNCTIONS:
            return self._call(FUNCTIONS[word])
        raise self._unreadable()

    def _parenthesis(self) -> Number:
        value = self._sum()
        if not self._take(")"):
            raise self._unreadable()
        return value

    def _call(self, function: Callable[[Number], Number]) -> Number:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ToolError("That is nested too deeply for me.")
        argument = self._parenthesis() if self._take("(") else self._share()[0]
        self._depth -= 1
        return _bounded(function(argument))


def _bounded(value: Number) -> Number:
    """`value`, if it is small enough to go on with. Raises OverflowError."""
    if isinstance(value, float):
        if not math.isfinite(value):
            raise OverflowError
    elif max(value.numerator.bit_length(), value.denominator.bit_length()) > MAX_BITS:
        raise OverflowError
    return value


def _product(sign: str, left: Number, right: Number) -> Number:
    if sign == "/":
        return left / right
    if sign in ("mod", "%"):
        return left % right
    return left * right


def power(base: Number, exponent: Number) -> Number:
    """`base` to `exponent`, exact for whole exponents; refuses before it would get large."""
    if isinstance(base, Fraction) and isinstance(exponent, Fraction) and exponent.denominator == 1:
        bits = max(base.numerator.bit_length(), base.denominator.bit_length())
        if base not in (0, 1, -1) and abs(exponent.numerator) * (bits - 1) > MAX_BITS:
            return _rounded_power(base, exponent.numerator)
        if base in (0, 1, -1) and abs(exponent.numerator) > 2:
            exponent = Fraction(exponent.numerator % 2 + 2 * (-1 if exponent < 0 else 1))
        return Fraction(base**exponent.numerator)
    if base < 0 and float(exponent) != math.floor(exponent):
        raise ToolError("That has no real result: a root of a negative number.")
    result: float = float(base) ** float(exponent)
    return result


def _rounded_power(base: Fraction, exponent: int) -> float:
    """For 1.0041^360, whose digits are many though it is small. Raises `OverflowError`."""
    if not (rounded := float(base) ** exponent):
        raise OverflowError
    return rounded


def _square_root(value: Number) -> Number:
    if value < 0:
        raise ToolError("A negative number has no real square root.")
    if isinstance(value, Fraction):
        top, bottom = math.isqrt(value.numerator), math.isqrt(value.denominator)
        if top * top == value.numerator and bottom * bottom == value.denominator:
            return Fraction(top, bottom)
    return math.sqrt(value)


def _round(value: Number) -> Number:
    half_up = math.floor(_magnitude(value) + Fraction(1, 2))  # people expect 2.5 to become 3
    return Fraction(half_up if value >= 0 else -half_up)


def _magnitude(value: Number) -> Number:
    return -value if value < 0 else value


FUNCTIONS: dict[str, Callable[[Number], Number]] = {
    "sqrt": _square_root,
    "abs": _magnitude,
    "round": _round,
    "floor": lambda value: Fraction(math.floor(value)),
    "ceil": lambda value: Fraction(math.ceil(value)),
}
