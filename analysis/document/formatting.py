"""Numbers as people read them: no more digits than the interval supports, in the unit that fits.

The rule for digits is the Particle Data Group's (Review of Particle Physics, Introduction,
section 5.3): of the uncertainty's three leading digits, 100 to 354 keep two, 355 to 949 keep one,
950 to 999 round up to 1000 and keep two; the value is then rounded to the same place. "No data"
is never 0: it is a dash.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

MISSING = "–"
"""What stands where there is no number: an en dash, so that nobody reads it as 0."""

_DIGITS_WITHOUT_INTERVAL = 3
"""Significant digits of a number that has no interval: enough to compare, too few to boast."""

_PDG_TWO_DIGITS_UP_TO = 3.54
_PDG_ONE_DIGIT_UP_TO = 9.49
"""The rule's limits, as the mantissa of the uncertainty."""

_WORDS = {
    "share": "%",
    "fraction": "%",
    "ratio": "×",
    "factor": "×",
    "x": "×",
    "percent": "%",
    "per_s": "/s",
    "1/s": "/s",
    "count": "",
    "per_request": "",
    "connections": "",
    "1": "",
}
"""How a unit's machine name is written; a name not listed is written as it is. Counts of a thing
have none: the words around the number say what is counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How to show a quantity: multiply by ``factor``, write ``unit`` after it."""

    factor: float
    """Shown number over stored number."""
    unit: str
    """As written, without the space before it."""


def scale_for(magnitude: float | None, unit: str) -> Scale:
    """Give the scale on which a number of this size reads best.

    Durations (``ns``, ``us``, ``ms``, ``s``) move to the unit that gives 1 to 999; shares become
    percent; bytes become KiB, MiB or GiB; other units stay.
    """
    seconds = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}.get(unit)
    if seconds is not None:
        return _duration_scale(magnitude, seconds)
    if unit in {"share", "fraction"}:
        return Scale(factor=100.0, unit="%")
    if unit in {"bytes", "B"}:
        return _bytes_scale(magnitude)
    return Scale(factor=1.0, unit=_WORDS.get(unit, unit.replace("_per_", "/").replace("_", " ")))


def _duration_scale(magnitude: float | None, seconds: float) -> Scale:
    """The largest of s, ms, µs, ns that keeps the number at 1 or more."""
    size = abs(magnitude or 0.0) * seconds
    for unit, in_seconds in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if size >= in_seconds * 0.9995:
            return Scale(factor=seconds / in_seconds, unit=unit)
    if size > 0:
        return Scale(factor=seconds / 1e-9, unit="ns")
    return Scale(factor=seconds / 1e-3, unit="ms")


def _bytes_scale(magnitude: float | None) -> Scale:
    """The largest binary unit that keeps the number at 1 or more."""
    size = abs(magnitude or 0.0)
    for power, unit in ((3, "GiB"), (2, "MiB"), (1, "KiB")):
        if size >= 1024.0**power:
            return Scale(factor=1024.0**-power, unit=unit)
    return Scale(factor=1.0, unit="B")


def decimals_for(uncertainty: float) -> int:
    """Decimal places that an uncertainty supports.

    Negative means rounding to tens, hundreds and so on.
    """
    if not math.isfinite(uncertainty) or uncertainty <= 0:
        raise ValueError(
            f"An uncertainty of {uncertainty} gives no digits; expected a positive number."
        )
    exponent = math.floor(math.log10(uncertainty))
    mantissa = uncertainty / 10.0**exponent
    if mantissa <= _PDG_TWO_DIGITS_UP_TO:
        return 1 - exponent
    return -exponent


def number(value: float | None, decimals: int) -> str:
    """Write a number with so many decimals and a thin space between thousands; a dash for none."""
    if is_missing(value):
        return MISSING
    rounded = round(float(value or 0.0), decimals)
    text = f"{rounded:,.{max(decimals, 0)}f}".replace(",", "\u202f")
    return text.replace("-", "\u2212") if rounded else text.lstrip("-")


def plain(value: float | None, unit: str = "count") -> str:
    """Write a number that has no interval.

    Integers whole, others with three significant digits.
    """
    if is_missing(value):
        return MISSING
    scale = scale_for(value, unit)
    shown = float(value or 0.0) * scale.factor
    if shown == int(shown):
        return _with_unit(number(shown, 0), scale.unit)
    exponent = math.floor(math.log10(abs(float(f"{shown:.{_DIGITS_WITHOUT_INTERVAL - 1}e}"))))
    decimals = _DIGITS_WITHOUT_INTERVAL - 1 - exponent
    return _with_unit(number(shown, decimals), scale.unit)


def estimate(value: float | None, low: float | None, high: float | None, unit: str) -> str:
    """Write ``20.1× [18.4, 21.9]``: value, unit, interval, all rounded to the same place.

    Without an interval it says so, and the value has three significant digits. Where all blocks
    agree exactly it says that, and ``at least 640×`` where only a lower end is known.
    """
    if is_missing(value):
        return bound(low, unit) if high is None else MISSING
    bounds = interval(value, low, high, unit) or "(no interval)"
    return f"{point(value, low, high, unit)} {bounds}".strip()


def bound(low: float | None, unit: str) -> str:
    """Write ``at least 640×``, rounded down to two significant digits; a dash for no bound."""
    if low is None or is_missing(low):
        return MISSING
    scale = scale_for(low, unit)
    shown = low * scale.factor
    decimals = 1 - math.floor(math.log10(abs(shown))) if shown else 0
    floored = math.floor(round(shown * 10.0**decimals, 9)) / 10.0**decimals
    return f"at least {_with_unit(number(floored, decimals), scale.unit)}"


def point(
    value: float | None,
    low: float | None,
    high: float | None,
    unit: str,
    *,
    digits: int | None = None,
) -> str:
    """Write the value alone, with the digits its interval supports, and at most ``digits``."""
    if is_missing(value):
        return bound(low, unit) if high is None else MISSING
    width = _half_width(low, high)
    if width is None:
        return plain(value, unit)
    scale = scale_for(_magnitude(value, low, high), unit)
    decimals = _decimals(width * scale.factor, _shown(value, low, high, scale), digits)
    return _with_unit(number(float(value or 0.0) * scale.factor, decimals), scale.unit)


def brief(value: float | None, low: float | None, high: float | None, unit: str) -> str:
    """Write the value alone for a title.

    Two significant digits, or fewer if the interval says so.
    """
    if is_missing(value) or not value:
        return point(value, low, high, unit)
    scale = scale_for(_magnitude(value, low, high), unit)
    shown = value * scale.factor
    decimals = 1 - math.floor(math.log10(abs(shown)))
    width = _half_width(low, high)
    if width is not None:
        decimals = min(decimals, decimals_for(width * scale.factor))
    return _with_unit(number(shown, decimals), scale.unit)


def interval(
    value: float | None,
    low: float | None,
    high: float | None,
    unit: str,
    *,
    digits: int | None = None,
) -> str:
    """Write ``[18.4, 21.9]`` on the scale and to the place of the value.

    Nothing when there is no interval; words where it has no width, because no block differed.
    """
    if low is not None and high is not None and is_one(low, high):
        return "[in every block]"
    width = _half_width(low, high)
    if width is None:
        return ""
    scale = scale_for(_magnitude(value, low, high), unit)
    decimals = _decimals(width * scale.factor, _shown(value, low, high, scale), digits)
    ends = [number(float(end or 0.0) * scale.factor, decimals) for end in (low, high)]
    return f"[{ends[0]}, {ends[1]}]"


def count(value: float | None) -> str:
    """Write a count whole; a dash for none."""
    return number(value, 0)


def is_missing(value: float | None) -> bool:
    """Tell whether there is no number: None or not a number."""
    return value is None or math.isnan(value)


def _magnitude(value: float | None, low: float | None, high: float | None) -> float | None:
    """What the scale is chosen by: a value near 0 is read on the scale of its interval."""
    return max(abs(value or 0.0), _half_width(low, high) or 0.0) if value is not None else None


def _shown(value: float | None, low: float | None, high: float | None, scale: Scale) -> float:
    return (_magnitude(value, low, high) or 0.0) * scale.factor


def _decimals(width: float, shown: float, digits: int | None) -> int:
    """Decimal places that the interval supports, and that ``digits`` in all leave."""
    supported = decimals_for(width)
    if digits is None or not shown:
        return supported
    return min(supported, digits - 1 - math.floor(math.log10(shown)))


def _half_width(low: float | None, high: float | None) -> float | None:
    """Half the interval, or None when there is no usable one."""
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return None
    return (high - low) / 2 if high > low and not is_one(low, high) else None


def is_one(low: float, high: float) -> bool:
    """Whether an interval is a point, but for the rounding of the sums that it came of."""
    return math.isclose(low, high, rel_tol=1e-9)


def _with_unit(text: str, unit: str) -> str:
    """Join number and unit: percent, × and rates close up to the number.

    Other units stand off by a thin space.
    """
    if not unit:
        return text
    close = unit == "×" or unit.startswith("/")
    return f"{text}{unit}" if close else f"{text}\u202f{unit}"
