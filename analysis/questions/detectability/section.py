"""How much would I have to run to know?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from analysis.document import formatting
from analysis.document.document import Drawing, Section
from analysis.document.setting import Setting
from analysis.document.tabulation import plain_numbers, tabulate, words
from analysis.questions.detectability import figure as detectability_figure
from analysis.questions.worth_caching.section import records

QUESTION = "How much would I have to run to know?"


def section(findings: Mapping[str, Any], setting: Setting) -> Section | None:
    """Requests an arm with and without pairing, and the smallest change this run could see."""
    rows = [
        row
        for row in records(findings.get("detectability"))
        if row.get("arm") == setting.treatment and row.get("requests")
    ]
    if not rows:
        return None
    row = rows[0]
    change = formatting.plain(row.get("change"), "share")
    paired, unpaired = (
        formatting.count(row.get(f"{kind}_requests")) for kind in ("paired", "unpaired")
    )
    fields = (
        words("Arm", "arm"),
        plain_numbers("Change to see", "change", "share"),
        plain_numbers("Requests, unpaired", "unpaired_requests"),
        plain_numbers("Time for it", "unpaired_seconds", "s"),
        plain_numbers("Requests, paired", "paired_requests"),
        plain_numbers("Time for it", "paired_seconds", "s"),
        plain_numbers("This run", "requests"),
        plain_numbers("Could see, paired", "smallest_paired", "share"),
        plain_numbers("Could see, unpaired", "smallest_unpaired", "share"),
    )
    return Section(
        key="detectability",
        question=QUESTION,
        answer=(
            f"To see a change of {change} of the mean response time takes {unpaired} requests an "
            "arm"
            f" when the arms draw for themselves, and {paired} when both send the same requests, "
            "as"
            f" here. This run had {formatting.count(row.get('requests'))}."
        ),
        reading=(
            "Further right is longer to run. A pair of requests shares user, personality, "
            "message and"
            " the model's time, so that only what the arm changed is left between them."
        ),
        emulated=setting.emulated("The scatter of the response times is that of the profile."),
        sample=(
            f"{formatting.count(row.get('requests'))} requests an arm. A plan, not an "
            "estimate: no interval."
        ),
        drawings=(_drawing(rows, change),),
        tables=(tabulate(rows, fields, "Two-sided 5 %, power 80 %"),),
    )


def _drawing(rows: list[Mapping[str, Any]], change: str) -> Drawing:
    """Needed against had."""
    table = pd.DataFrame(
        [
            {
                "label": f"a change of {formatting.plain(row.get('change'), 'share')}",
                "unpaired": row.get("unpaired_requests"),
                "paired": row.get("paired_requests"),
                "had": row.get("requests"),
            }
            for row in rows
        ]
    )

    def draw(*, narrow: bool) -> Figure:
        return detectability_figure.figure(table, narrow=narrow)

    first = table.iloc[0]
    alt = (
        f"Requests an arm to see a change of {change}: {formatting.count(first['unpaired'])} "
        "without"
        f" pairing, {formatting.count(first['paired'])} with pairing, "
        f"{formatting.count(first['had'])} in this run."
    )
    return Drawing(name="detectability", alt=alt, draw=draw)
