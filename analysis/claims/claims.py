"""Which claims hold in this run?

A claim names a quantity of the findings, a comparison and its limits. It holds when the whole 95 %
interval lies within the limits, does not hold when the whole interval lies outside of them, and is
not decided otherwise: also when the run does not measure it. Then is said what would decide it.

Answer of ``check``: file, counts, claims with id, text, verdict, sentence, estimate, limits, n,
rests_on (counted, measured or emulated), emulated_share and would_decide.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from analysis.claims.provenance import COUNTED, rests_on
from analysis.claims.quantities import QUANTITIES, SCOPES, find, find_row
from analysis.document.formatting import plain
from analysis.document.wording import said
from analysis.errors import InputError

HOLDS, DOES_NOT_HOLD, NOT_DECIDED = "holds", "does not hold", "not decided"

Record = Mapping[str, Any]


class Claim(BaseModel):
    """One claim as a person wrote it down."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    text: str = Field(min_length=1)
    quantity: str
    comparison: Literal["at least", "at most", "about", "between"]
    value: float | tuple[float, float]
    margin: float | None = Field(default=None, gt=0, lt=1)
    """For ``about``: relative, such as 0.1 for 10 %."""
    scope: dict[str, str | int | float] = {}
    experiment: str | None = None
    """The experiment that measures it, told when this run does not."""
    note: str = ""
    """What was put right in the claim before it could be tested."""

    @model_validator(mode="after")
    def _fits(self) -> Claim:
        if self.quantity not in QUANTITIES:
            known = ", ".join(sorted(QUANTITIES))
            raise ValueError(f"quantity {self.quantity!r} is unknown; known are {known}")
        unknown = sorted(set(self.scope) - set(SCOPES))
        if unknown:
            raise ValueError(f"scope {unknown[0]!r} is unknown; known are {', '.join(SCOPES)}")
        two = isinstance(self.value, tuple)
        if two != (self.comparison == "between"):
            raise ValueError(
                f"comparison {self.comparison!r} needs"
                f" {'value = [low, high]' if self.comparison == 'between' else 'one number'}"
            )
        if isinstance(self.value, tuple) and self.value[0] >= self.value[1]:
            raise ValueError(
                f"value = [{self.value[0]:g}, {self.value[1]:g}] holds no number;"
                " write the lower end first"
            )
        if (self.margin is not None) != (self.comparison == "about"):
            raise ValueError("margin belongs to comparison 'about', and that one needs it")
        return self

    @property
    def limits(self) -> tuple[float, float]:
        """The interval within which the quantity must lie."""
        if isinstance(self.value, tuple):
            return self.value
        if self.comparison == "at least":
            return self.value, math.inf
        if self.comparison == "at most":
            return -math.inf, self.value
        reach = abs(self.value) * (self.margin or 0.0)
        return self.value - reach, self.value + reach


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """The claims of one file."""

    file: str
    claims: tuple[Claim, ...]


def read(file: Path) -> Ledger:
    """Read a file of ``[[claim]]`` tables.

    Raises
    ------
    InputError
        When the file is missing, is not TOML, or a claim cannot be understood; with the line.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{file}: the claims cannot be read ({error}); name a TOML file"
        ) from error
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{file}: not TOML: {error}; docs/claims.md shows the format") from error
    tables = content.get("claim")
    if not isinstance(tables, list) or not tables or set(content) != {"claim"}:
        found = ", ".join(sorted(content)) or "nothing"
        raise InputError(
            f"{file}: {found} was found where [[claim]] tables were expected;"
            " docs/claims.md shows one"
        )
    claims = tuple(_claim(file, text, number, table) for number, table in enumerate(tables))
    ids = [claim.id for claim in claims]
    twice = next((one for one in ids if ids.count(one) > 1), None)
    if twice is not None:
        raise InputError(f"{file}: two claims have the id {twice!r}; give each its own")
    return Ledger(file=file.name, claims=claims)


def check(ledger: Ledger, document: Record) -> dict[str, Any]:
    """Hold each claim against the findings of a run that is not INVALID."""
    return _counted(ledger, [_row(claim, document) for claim in ledger.claims])


def check_together(
    ledger: Ledger, documents: Sequence[Record], experiments: Mapping[str, str]
) -> dict[str, Any]:
    """Hold each claim against that of several runs which is about it.

    That is the run of the claim's own experiment, else the first that measures the quantity.
    ``experiments`` gives the names of runs by what claims call the experiment; each row says its
    ``run``.
    """
    rows = []
    for claim in ledger.claims:
        name = experiments.get(claim.experiment or "")
        own = [one for one in documents if one["run"]["name"] == name]
        measured = (
            one for one in documents if find(one, claim.quantity, claim.scope)[0] is not None
        )
        chosen = own[0] if own else next(measured, documents[0])
        rows.append({**_row(claim, chosen), "run": chosen["run"]["id"]})
    return _counted(ledger, rows)


def _counted(ledger: Ledger, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The answer, with how many claims got which verdict."""
    counts = {
        verdict: sum(row["verdict"] == verdict for row in rows)
        for verdict in (HOLDS, DOES_NOT_HOLD, NOT_DECIDED)
    }
    return {"file": ledger.file, "counts": counts, "claims": rows}


def _row(claim: Claim, document: Record) -> dict[str, Any]:
    quantity = QUANTITIES[claim.quantity]
    row, missing = find_row(document, claim.quantity, claim.scope)
    estimate = None if row is None else row[quantity.cell]
    rests, emulated = (None, None) if row is None else rests_on(document, quantity.rests, row)
    low, high = claim.limits
    verdict, why, would_decide = _judge(claim, estimate)
    sentence = (
        f"Not measured here: {missing or why}."
        if estimate is None or _is_nothing(estimate)
        else f"{_found(estimate, rests, emulated)}; claimed {_claimed(claim, estimate['unit'])}."
    )
    return {
        "id": claim.id,
        "text": claim.text,
        "verdict": verdict,
        "sentence": sentence,
        "quantity": claim.quantity,
        "scope": dict(claim.scope),
        "comparison": claim.comparison,
        "limits": [low if math.isfinite(low) else None, high if math.isfinite(high) else None],
        "estimate": estimate,
        "rests_on": rests,
        "emulated_share": emulated,
        "n": None if estimate is None else estimate["n"],
        "would_decide": would_decide,
        "note": claim.note,
    }


def _is_nothing(estimate: Record) -> bool:
    """Whether there is neither a value nor a bound."""
    return estimate["value"] is None and estimate["low"] is None


def _found(estimate: Record, rests: str | None, emulated: float | None) -> str:
    """The number, and how it was come by: a time that was put in is not a finding."""
    verb = "Counted" if rests == COUNTED else "Measured"
    put_in = "" if emulated is None else f", {plain(emulated, 'share')} of the time emulated"
    return f"{verb} {said(estimate)}{put_in}"


def _judge(claim: Claim, estimate: Record | None) -> tuple[str, str, str | None]:
    """Verdict, why there is no number, and what would decide it when it is not decided."""
    elsewhere = f"run {claim.experiment}" if claim.experiment else None
    if estimate is None or _is_nothing(estimate):
        reason = (estimate["reason"] if estimate else "") or "it was not measured"
        return NOT_DECIDED, reason, elsewhere or "a run that measures it"
    low, high = claim.limits
    least, most = estimate["low"], estimate["high"]
    if estimate["value"] is None:
        most = math.inf
    if least is None or most is None:
        return NOT_DECIDED, "", estimate["reason"] or elsewhere
    if low <= least and most <= high:
        return HOLDS, "", None
    if most < low or least > high:
        return DOES_NOT_HOLD, "", None
    if estimate["value"] is None:
        return NOT_DECIDED, "", "more requests: only a lower end is known, and it grows with them"
    return NOT_DECIDED, "", _how_many_blocks(estimate, low, high)


def _claimed(claim: Claim, unit: str) -> str:
    if isinstance(claim.value, tuple):
        low, high = (plain(end, unit) for end in claim.value)
        return f"between {low} and {high}"
    extra = f" (within {claim.margin:.0%})" if claim.margin else ""
    return f"{claim.comparison} {plain(claim.value, unit)}{extra}"


def _how_many_blocks(estimate: Record, low: float, high: float) -> str:
    """Blocks until the interval leaves the nearest limit; its width shrinks as 1/sqrt."""
    value = estimate["value"]
    half = (estimate["high"] - estimate["low"]) / 2
    crossed = [limit for limit in (low, high) if estimate["low"] <= limit <= estimate["high"]]
    distance = min(abs(value - limit) for limit in crossed)
    blocks = estimate["blocks"]
    if distance <= half / 30:
        return "the estimate lies on the limit: no run of a sensible length decides it"
    needed = math.ceil(blocks * (half / distance) ** 2)
    return f"about {max(needed, blocks + 1)} blocks an arm instead of {blocks}"


def _claim(file: Path, text: str, number: int, table: object) -> Claim:
    try:
        return Claim.model_validate(table)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        line = _line(text, number, where.split(".")[0])
        raise InputError(
            f"{file}, line {line}: claim {number + 1}: {where + ': ' if where else ''}{message};"
            " docs/claims.md says what may stand there"
        ) from error


def _line(text: str, number: int, key: str) -> int:
    """Line of a key in the so-manieth ``[[claim]]``, or of the table itself."""
    seen, table_line = -1, 1
    for line, content in enumerate(text.splitlines(), start=1):
        if content.strip() == "[[claim]]":
            seen, table_line = seen + 1, line if seen + 1 == number else table_line
        elif seen == number and key and content.split("=")[0].strip() == key:
            return line
    return table_line
