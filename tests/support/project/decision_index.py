"""docs/decisions/README.md, made from the pages beside it.

``python -m tests.support.project.decision_index > docs/decisions/README.md`` writes it anew.
"""

from __future__ import annotations

import re
import sys

from tests.support.project.source_tree import ROOT

FOLDER = ROOT / "docs" / "decisions"

PREAMBLE = """\
# Decisions

One page a decision: context, decision, consequences, and what was rejected.
Written from the pages' titles by `python -m tests.support.project.decision_index`.

"""


def index() -> str:
    """The whole text of the index."""
    lines = []
    for page in sorted(FOLDER.glob("[0-9]*.md")):
        title = page.read_text(encoding="utf-8").splitlines()[0].removeprefix("#").strip()
        title = re.sub(r"^\d{4}[.:]?\s*(?:[-\u2013\u2014]\s*)?", "", title)
        lines.append(f"- [{page.name[:4]}]({page.name}) {title}\n")
    return PREAMBLE + "".join(lines)


if __name__ == "__main__":
    sys.stdout.write(index())
