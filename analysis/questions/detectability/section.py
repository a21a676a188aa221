"""How much would I have to run to know?"""

from __future__ import annotations

from matplotlib.figure import Figure

from analysis.document import formatting
from analysis.document.document import Drawing, Section
from analysis.document.setting import Setting
from analysis.document.tables import COUNTED, PLANNED, Field, exact, tabulate, words
from analysis.questions.detectability import figure as detectability_figure
from analysis.questions.detectability.answer import Detectability, DetectabilityRow
from analysis.questions.detectability.figure import Needed
from analysis.questions.findings import Findings

QUESTION = "How much would I have to run to know?"

_ASKED = "the size that is asked about"


def section(findings: Findings, setting: Setting) -> Section | None:
    """Requests per arm with and without pairing, and the smallest change this run could see."""
    rows = [row for row in findings.of(Detectability).rows if row.arm == setting.treatment]
    if not rows:
        return None
    row = rows[0]
    had, paired, unpaired = map(
        formatting.count, (row.requests, row.paired_requests, row.unpaired_requests)
    )
    as_here = ", as here" if setting.same_draws else ""
    fields: tuple[Field[DetectabilityRow], ...] = (
        words("Arm", lambda row: row.arm),
        exact("Change to see", lambda row: row.change, "share", why=_ASKED),
        exact("Requests, unpaired", lambda row: row.unpaired_requests, why=PLANNED),
        exact("Time for it", lambda row: row.unpaired_seconds, "s", why=PLANNED),
        exact("Requests, paired", lambda row: row.paired_requests, why=PLANNED),
        exact("Time for it", lambda row: row.paired_seconds, "s", why=PLANNED),
        exact("This run", lambda row: row.requests, why=COUNTED, sample=True),
        exact("Could see, paired", lambda row: row.smallest_paired, "share", why=PLANNED),
        exact("Could see, unpaired", lambda row: row.smallest_unpaired, "share", why=PLANNED),
    )
    return Section(
        key="detectability",
        question=QUESTION,
        answer=(
            f"To see a change of {formatting.plain(row.change, 'share')} of the mean response time"
            f" takes {unpaired} requests per arm when each arm draws its own requests, and"
            f" {paired} when both send the same requests{as_here}. This run had {had}."
        ),
        reading=(
            "Further right is longer to run. A pair of requests shares user, personality, message"
            " and the model's time, so that only what the arm changed is left between them."
            if setting.same_draws
            else "Further right is longer to run."
        ),
        emulated=setting.emulated("The scatter of the response times is that of the profile."),
        sample=f"{had} requests per arm. A plan, not an estimate: no interval.",
        drawings=(_drawing(row),),
        tables=(tabulate(rows, fields, "Two-sided 5 %, power 80 %"),),
    )


def _drawing(row: DetectabilityRow) -> Drawing:
    """Needed against had."""
    change = f"a change of {formatting.plain(row.change, 'share')}"
    needed = Needed(
        label=change,
        unpaired=row.unpaired_requests,
        paired=row.paired_requests,
        had=row.requests,
    )

    def draw(*, narrow: bool) -> Figure:
        return detectability_figure.figure([needed], narrow=narrow)

    alt = (
        f"Requests per arm to see {change}: {formatting.count(needed.unpaired)} without pairing,"
        f" {formatting.count(needed.paired)} with pairing, {formatting.count(needed.had)} in this"
        " run."
    )
    return Drawing(name="detectability", alt=alt, draw=draw)
