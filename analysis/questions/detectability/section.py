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
from analysis.stats.intervals import MIN_BLOCKS

QUESTION = "How much would I have to run to know?"

_ASKED = "the size that is asked about"


def section(findings: Findings, setting: Setting) -> Section | None:
    """Requests per arm with and without pairing, and the smallest change this run could see."""
    rows = [row for row in findings.of(Detectability).rows if row.arm == setting.treatment]
    if not rows:
        return None
    row = rows[0]
    had = formatting.count(row.requests)
    # only where both arms were sent the same requests is there a second way to count
    alone, together = (", unpaired", ", paired") if setting.same_draws else ("", "")
    fields: tuple[Field[DetectabilityRow], ...] = (
        words("Arm", lambda row: row.arm),
        exact("Change to see", lambda row: row.change, "share", why=_ASKED),
        exact(f"Blocks per arm{alone}", lambda row: row.unpaired_blocks, why=PLANNED),
        exact(f"Requests{alone}", lambda row: row.unpaired_requests, why=PLANNED),
        exact("Time for it", lambda row: row.unpaired_seconds, "s", why=PLANNED),
        exact(f"Blocks per arm{together}", lambda row: row.paired_blocks, why=PLANNED),
        exact(f"Requests{together}", lambda row: row.paired_requests, why=PLANNED),
        exact("Time for it", lambda row: row.paired_seconds, "s", why=PLANNED),
        exact("This run", lambda row: row.requests, why=COUNTED, sample=True),
        exact(f"Could see{together}", lambda row: row.smallest_paired, "share", why=PLANNED),
        exact(f"Could see{alone}", lambda row: row.smallest_unpaired, "share", why=PLANNED),
    )
    return Section(
        key="detectability",
        question=QUESTION,
        answer=_answer(row, setting),
        reading=(
            "Further right is longer to run. A pair of requests shares user, personality, message"
            " and the model's time, so that only what the arm changed is left between them."
            if setting.same_draws
            else "Further right is longer to run."
        ),
        emulated=setting.emulated("The scatter of the response times is that of the profile."),
        sample=(
            f"{had} requests per arm, from how its blocks differ. A plan, not an estimate: no"
            " interval."
        ),
        drawings=(_drawing(row),),
        tables=(tabulate(rows, fields, "Two-sided 5 %, power 80 %"),),
        notes=_sooner(row),
    )


def _answer(row: DetectabilityRow, setting: Setting) -> str:
    """The blocks that the change which was found takes, and the change this run could see."""
    had = formatting.count(row.requests)
    if row.unpaired_blocks is None or row.unpaired_seconds is None:
        return f"The mean response times are equal, so there is no change to look for in {had}."
    change = formatting.plain(row.change, "share")
    alone = _length(row.unpaired_blocks, row.unpaired_seconds)
    text = f"To see a change of {change} of the mean response time, which is what was found here,"
    if setting.same_draws and row.paired_blocks is not None and row.paired_seconds is not None:
        text += (
            f" takes {_length(row.paired_blocks, row.paired_seconds)} when both arms send the same"
            f" requests, as here, and {alone} when each draws its own."
        )
        least = row.smallest_paired
    else:
        text += f" takes {alone}."
        least = row.smallest_unpaired
    if least is None:
        return f"{text} This run had too few blocks for an interval, so nothing is promised of it."
    return f"{text} This run could see a change of {formatting.plain(least, 'share')}."


def _sooner(row: DetectabilityRow) -> tuple[str, ...]:
    """After how much of the run one would have known, had one looked all the time."""
    if row.rounds < MIN_BLOCKS:
        return ()
    test = "An always-valid test, looked at after each round of a pair of blocks per load level,"
    if row.decided_after is None or row.decided_seconds is None:
        return (f"{test} would not have decided the mean in the {row.rounds} rounds of this run.",)
    minutes = formatting.plain(row.decided_seconds / 60, "")
    rounds = f"{row.decided_after} of {row.rounds} rounds"
    return (f"{test} would have decided the mean after {rounds} ({minutes} minutes of load).",)


def _length(blocks: int, seconds: float) -> str:
    """So many blocks, and how long both arms take for them."""
    minutes = formatting.plain(seconds / 60, "")
    return f"{formatting.count(blocks)} blocks per arm ({minutes} minutes in all)"


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

    paired = f", {formatting.count(needed.paired)} with pairing" if needed.paired else ""
    alt = (
        f"Requests per arm to see {change}: {formatting.count(needed.unpaired)}"
        f"{' without pairing' if needed.paired else ''}{paired},"
        f" {formatting.count(needed.had)} in this run."
    )
    return Drawing(name="detectability", alt=alt, draw=draw)
