"""How many requests failed or were refused?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analysis.document import formatting
from analysis.document.document import Section
from analysis.document.numbers import number
from analysis.document.setting import Setting
from analysis.document.tabulation import Record, estimates, plain_numbers, tabulate, words
from analysis.questions.ceiling.section import records

QUESTION = "How many requests failed or were refused?"


def section(findings: Mapping[str, Any], setting: Setting) -> Section | None:
    """Failed and refused requests by arm, and what that does to the times."""
    place = {arm: at for at, arm in enumerate(setting.arms)}
    rows = [row for row in records(findings.get("failures")) if row.get("arm") in place]
    rows.sort(key=lambda row: place[str(row.get("arm"))])
    if not rows:
        return None
    fields = (
        words("Arm", "arm"),
        estimates("Failed", "failed"),
        estimates("Refused", "refused"),
        plain_numbers("Requests", "requests"),
    )
    return Section(
        key="failures",
        question=QUESTION,
        answer=_answer(rows, setting),
        reading=(
            "Failed: no answer came, or a 5xx. Refused: a rate limiter's 429, which is an answer."
        ),
        sample=(
            "Every request but those of the warm-up; 95 % intervals between blocks. Where none was"
            " seen the interval is the rule of three's, which takes failures for independent."
        ),
        tables=(tabulate(rows, fields, "Failed and refused requests"),),
        notes=_left_out(findings, setting),
    )


def _answer(rows: list[Record], setting: Setting) -> str:
    """The arms with failures, each with its shares; or that there were none."""
    said = [
        f"{setting.label(row.get('arm'))}: {number(row.get(key)).text} {word}"
        for row in rows
        for key, word in (("failed", "failed"), ("refused", "were refused"))
        if number(row.get(key)).value
    ]
    if said:
        return f"{'; '.join(said)}."
    total = sum(int(number(row.get("requests")).value or 0) for row in rows)
    return f"None of {formatting.count(total)} failed, and none was refused."


def _left_out(findings: Mapping[str, Any], setting: Setting) -> tuple[str, ...]:
    """What this does to the times of the whole request."""
    rows = records((findings.get("faster") or {}).get("end_to_end"))
    mine = (
        row
        for row in rows
        if row.get("arm") == setting.treatment
        and row.get("step") is None
        and row.get("time") == "response"
    )
    return lacking(next(mine, {}))


def lacking(row: Record) -> tuple[str, ...]:
    """What a comparison of times left out, and what it counted among the slowest."""
    left_out, never = (number(row.get(key)).value or 0.0 for key in ("left_out", "unanswered"))
    notes = []
    if left_out:
        notes.append(
            f"{formatting.count(left_out)} draws are left out where times are compared: one of the"
            " arms answered them with an error or a refusal. Those come fast, and nobody asked for"
            " them. Shares of a request's time and queries per request count all requests."
        )
    if never:
        notes.append(
            f"{formatting.count(never)} requests were never answered: percentiles count them among"
            " the slowest, the mean leaves them out."
        )
    return tuple(notes)
