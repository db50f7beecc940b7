"""Kubernetes quantities ("100m", "1.5Gi", "2e3") as exact integers."""

import re
from fractions import Fraction
from functools import lru_cache

_FORM = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?:([eE][+-]?[0-9]+)|(m|u|n|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei))?")
_DECIMAL = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_DIGITS, _EXPONENT = 64, 4
"""Characters of a number and of an exponent (e+99)."""
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}


@lru_cache(maxsize=4096)
def exact(text: str) -> Fraction:
    """Return the quantity's value; raise ValueError with what is allowed for anything else (NaN, "1 Gi", "1gb")."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError(f'"{text}" is not a quantity: use a number with an optional suffix such as 100m, 4, 2Gi, 5e3')
    number, exponent, suffix = found.groups()
    if len(number) > _DIGITS or len(exponent or "") > _EXPONENT:
        # Kubernetes caps values at 2^63; working out 1e999999999 exactly would take hours.
        raise ValueError(f'"{text[:40]}" is not a quantity: it has more digits than any amount')
    value = Fraction(number)
    if exponent:
        return value * Fraction(10) ** int(exponent[1:])
    if suffix in _BINARY:
        return value * Fraction(1024) ** _BINARY[suffix]
    return value * Fraction(10) ** _DECIMAL.get(suffix or "", 0)


def value(text: str | float) -> int:
    """Return whole base units, rounded up as the API does (bytes, pieces)."""
    return _ceil(exact(str(text)))


def milli(text: str | float) -> int:
    """Return thousandths, rounded up: the unit of cpu."""
    return _ceil(exact(str(text)) * 1000)


def amount(resource: str, text: str | float) -> int:
    """Return the integer that placement counts in: milli for cpu, base units for everything else.

    Raises ValueError, with the resource's name, for what is not a quantity.
    """
    try:
        return milli(text) if resource == "cpu" else value(text)
    except ValueError as error:
        raise ValueError(f"{resource}: {error}") from None


def _ceil(number: Fraction) -> int:
    return -(-number.numerator // number.denominator)
