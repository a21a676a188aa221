"""Which claims hold in this run?

A claim names a quantity of the findings, a comparison and its limits. It holds when the whole 95 %
interval lies within the limits, does not hold when the whole interval lies outside of them, and is
not decided otherwise: also when the run does not measure it. Then is said what would decide it.
Of many claims some would be decided wrongly by chance, so the verdicts are those of all together.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, Strict, ValidationError, model_validator

from analysis.claims.ledger import Decision, Ledger, LedgerRow, ledger
from analysis.claims.quantities import QUANTITIES, SCOPES, Found, NotMeasured, find
from analysis.document.estimates import said
from analysis.document.formatting import plain
from analysis.errors import InputError
from analysis.questions.findings import Findings
from analysis.stats.family import holm, p_value
from analysis.stats.intervals import Estimate

HOLDS: Decision = "holds"
DOES_NOT_HOLD: Decision = "does not hold"
NOT_DECIDED: Decision = "not decided"


Number = Annotated[float, Strict()]
"""A number and no text that looks like one."""


class Claim(BaseModel):
    """One claim as a person wrote it down."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    text: str = Field(min_length=1)
    quantity: str
    comparison: Literal["at least", "at most", "about", "between"]
    value: Number | tuple[Number, Number]
    margin: Number | None = Field(default=None, gt=0, lt=1)
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
class ClaimFile:
    """The claims of one file."""

    file: str
    claims: tuple[Claim, ...]


def read(file: Path) -> ClaimFile:
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
    return ClaimFile(file=file.name, claims=claims)


def check(files: Sequence[ClaimFile], found: Findings) -> Ledger:
    """Hold each claim against the findings of a run that is not INVALID."""
    rows = _together([(claim, _row(claim, found)) for one in files for claim in one.claims])
    return ledger(", ".join(one.file for one in files), rows)


def with_claims(found: Findings, files: Sequence[ClaimFile]) -> Findings:
    """The findings with the claims of these files held against them; an INVALID run without."""
    if not files or found.is_invalid:
        return found
    return replace(found, claims=check(files, found))


def check_together(
    file: ClaimFile, runs: Sequence[Findings], experiments: Mapping[str, str]
) -> list[tuple[Findings, LedgerRow]]:
    """Hold each claim against that of several runs which is about it; gives the run with each.

    That is the run of the claim's own experiment, else the first that measures the quantity.
    ``experiments`` gives the names of runs by what claims call the experiment.
    """
    rows: list[tuple[Claim, LedgerRow]] = []
    chosen_runs = []
    for claim in file.claims:
        name = experiments.get(claim.experiment or "")
        own = [one for one in runs if one.run.name == name]
        chosen = next((one for one in own or runs if own or _measures(one, claim)), runs[0])
        chosen_runs.append(chosen)
        rows.append((claim, _row(claim, chosen)))
    return list(zip(chosen_runs, _together(rows), strict=True))


def _together(rows: Sequence[tuple[Claim, LedgerRow]]) -> tuple[LedgerRow, ...]:
    """The rows with the verdicts that all of them together allow (Holm).

    One claim alone is wrongly said to hold in 2.5 % of the runs, one of thirty in half of them.
    """
    p_values = np.array([_p_value(claim, row) for claim, row in rows], np.float64)
    sure = holm(p_values, np.zeros(len(rows), dtype=np.bool_))
    return tuple(
        row
        if kept or row.verdict == NOT_DECIDED
        else replace(row, verdict=NOT_DECIDED, would_decide=_more_for_all(row, len(rows)))
        for (_, row), kept in zip(rows, sure, strict=True)
    )


def _p_value(claim: Claim, row: LedgerRow) -> float:
    """Of the truth lying on the other side of the nearest limit than the estimate does."""
    if row.estimate is None or row.verdict == NOT_DECIDED:
        return math.nan
    if row.estimate.low == row.estimate.high:
        return 0.0  # every block counted the same
    value = row.estimate.low if row.estimate.value is None else row.estimate.value
    limits = [limit for limit in claim.limits if math.isfinite(limit)]
    if row.verdict == DOES_NOT_HOLD and value is not None:
        limits = [min(limits, key=lambda limit: abs(limit - value))]
    return max(p_value(row.estimate, limit, plain=True) for limit in limits)


def _more_for_all(row: LedgerRow, claims: int) -> str:
    """What to do about a claim that only its own interval decides."""
    blocks = "" if row.estimate is None else f" than {row.estimate.blocks}"
    return (
        f"more blocks per arm{blocks}: its own interval decides it, {claims} claims together not"
    )


def _measures(found: Findings, claim: Claim) -> bool:
    """Whether a run holds what the claim is about."""
    try:
        find(found, claim.quantity, claim.scope)
    except NotMeasured:
        return False
    return True


def _row(claim: Claim, found: Findings) -> LedgerRow:
    """A claim held against a run."""
    number, missing = None, ""
    try:
        number = find(found, claim.quantity, claim.scope)
    except NotMeasured as reason:
        missing = str(reason)
    estimate = None if number is None else number.estimate
    decided = _judge(claim, estimate)
    if number is None or _is_nothing(number.estimate):
        sentence = f"Not measured here: {missing or decided.reason}."
    else:
        sentence = f"{_found(number)}; claimed {_claimed(claim, number.estimate.unit)}."
    low, high = (end if math.isfinite(end) else None for end in claim.limits)
    return LedgerRow(
        id=claim.id,
        text=claim.text,
        verdict=decided.decision,
        sentence=sentence,
        quantity=claim.quantity,
        scope=dict(claim.scope),
        comparison=claim.comparison,
        limits=(low, high),
        estimate=estimate,
        rests_on=number.provenance.kind if number else None,
        emulated_share=number.provenance.emulated_share if number else None,
        n=estimate.n if estimate else None,
        would_decide=decided.would_decide,
        note=claim.note,
    )


def _is_nothing(estimate: Estimate) -> bool:
    """Whether there is neither a value nor a bound."""
    return estimate.value is None and estimate.low is None


def _found(number: Found) -> str:
    """The number, and how it was come by: a time that was put in is not a finding."""
    verb = "Counted" if number.provenance.kind == "counted" else "Measured"
    share = number.provenance.emulated_share
    put_in = "" if share is None else f", {plain(share, 'share')} of the time emulated"
    return f"{verb} {said(number.estimate)}{put_in}"


@dataclass(frozen=True, slots=True)
class _Decided:
    """What an estimate says of a claim."""

    decision: Decision
    would_decide: str | None = None
    """What would decide it when it is not decided."""
    reason: str = ""
    """Why there is no number."""


def _judge(claim: Claim, estimate: Estimate | None) -> _Decided:
    """Hold the estimate against the claim's limits.

    For example, "at least 20" with an interval of [18, 30] is not decided, with [21, 30] it holds,
    with [15, 19] it does not; a bound of "at least 640" holds, as its upper end is infinite.
    """
    elsewhere = f"run {claim.experiment}" if claim.experiment else None
    if estimate is None or _is_nothing(estimate):
        reason = (estimate.reason if estimate else "") or "it was not measured"
        return _Decided(NOT_DECIDED, elsewhere or "a run that measures it", reason)
    low, high = claim.limits
    least, most = estimate.low, estimate.high
    if estimate.value is None:
        most = math.inf
    if least is None or most is None:
        return _Decided(NOT_DECIDED, estimate.reason or elsewhere)
    if low <= least and most <= high:
        return _Decided(HOLDS)
    if most < low or least > high:
        return _Decided(DOES_NOT_HOLD)
    if estimate.value is None:
        grows = "more requests: only a lower end is known, and it grows with them"
        return _Decided(NOT_DECIDED, grows)
    return _Decided(NOT_DECIDED, _how_many_blocks(estimate.value, least, most, estimate, claim))


def _claimed(claim: Claim, unit: str) -> str:
    if isinstance(claim.value, tuple):
        low, high = (plain(end, unit) for end in claim.value)
        return f"between {low} and {high}"
    extra = f" (within {claim.margin:.0%})" if claim.margin else ""
    return f"{claim.comparison} {plain(claim.value, unit)}{extra}"


def _how_many_blocks(
    value: float, least: float, most: float, estimate: Estimate, claim: Claim
) -> str:
    """Blocks until the interval leaves the nearest limit; its width shrinks as 1/sqrt."""
    half = (most - least) / 2
    distance = min(abs(value - limit) for limit in claim.limits if least <= limit <= most)
    if distance <= half / 30:
        return "the estimate lies on the limit: no run of a sensible length decides it"
    needed = math.ceil(estimate.blocks * (half / distance) ** 2)
    return f"about {max(needed, estimate.blocks + 1)} blocks per arm instead of {estimate.blocks}"


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
