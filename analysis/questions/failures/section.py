"""How many requests failed or were refused?"""

from __future__ import annotations

from analysis.document import estimates as written
from analysis.document import formatting
from analysis.document.document import Section
from analysis.document.setting import Setting
from analysis.document.tables import COUNTED, Field, estimates, exact, tabulate, words
from analysis.questions.failures.answer import FailureRow, Failures
from analysis.questions.faster.answer import EndToEndRow, Faster
from analysis.questions.findings import Findings

QUESTION = "How many requests failed or were refused?"


def section(findings: Findings, setting: Setting) -> Section | None:
    """Failed and refused requests by arm, and what that does to the times."""
    place = {arm: at for at, arm in enumerate(setting.arms)}
    rows = [row for row in findings.of(Failures).rows if row.arm in place]
    rows.sort(key=lambda row: place[row.arm])
    if not rows:
        return None
    fields: tuple[Field[FailureRow], ...] = (
        words("Arm", lambda row: row.arm),
        estimates("Failed", lambda row: row.failed),
        estimates("Failed slowly", lambda row: row.slow),
        estimates("Refused", lambda row: row.refused),
        exact("Requests", lambda row: row.requests, why=COUNTED, sample=True),
    )
    return Section(
        key="failures",
        question=QUESTION,
        answer=_answer(rows, setting),
        reading=(
            "Failed: no answer came, or a 5xx. Failed slowly: after more than the median time of"
            " those that were answered. Refused: a rate limiter's 429, which is an answer."
        ),
        sample=(
            f"Every request{' but those of the warm-up' if setting.same_draws else ''}. Where no"
            " failure was seen the interval is the rule of three's, which takes failures for"
            " independent."
        ),
        tables=(tabulate(rows, fields, "Failed and refused requests"),),
        notes=_left_out(findings.of(Faster), setting),
    )


def _answer(rows: list[FailureRow], setting: Setting) -> str:
    """The arms with failures, each with its shares; or that there were none."""
    said = [
        f"{setting.label(row.arm)}: {written.said(share)} {word}"
        for row in rows
        for share, word in (
            (row.failed, "failed"),
            (row.slow, "failed slowly"),
            (row.refused, "were refused"),
        )
        if share.value
    ]
    if said:
        return f"{'; '.join(said)}."
    total = sum(row.requests for row in rows)
    return f"None of {formatting.count(total)} failed, and none was refused."


def _left_out(faster: Faster, setting: Setting) -> tuple[str, ...]:
    """What this does to the times of the whole request."""
    mine = (
        row
        for row in faster.end_to_end
        if row.arm == setting.treatment and row.step is None and row.time == "response"
    )
    row = next(mine, None)
    return () if row is None else left_out_of(row)


def left_out_of(row: EndToEndRow) -> tuple[str, ...]:
    """What a comparison of times left out, and what it counted among the slowest."""
    notes = []
    if row.left_out:
        notes.append(
            f"{formatting.count(row.left_out)} requests are left out where times are compared: one"
            " of the arms answered them fast with an error or a refusal, and nobody asked for"
            " that. Shares of a request's time and queries per request count all of them."
        )
    if row.slow_failures:
        notes.append(
            f"{formatting.count(row.slow_failures)} requests failed slowly: where times are"
            " compared they count as at least as long as they took."
        )
    if row.unanswered:
        notes.append(
            f"{formatting.count(row.unanswered)} requests were never answered: percentiles count"
            " them among the slowest, the mean as at least as long as was waited for them."
        )
    return tuple(notes)
