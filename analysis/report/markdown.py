"""The report as Markdown, short enough for a pull request's comment."""

from __future__ import annotations

import re

from jinja2 import Environment, PackageLoader, StrictUndefined

from analysis.document.document import Document

_SPECIAL = re.compile(r"([\\`*_\[\]<>|])")
"""What Markdown or the table around it would take for markup."""


def markdown(document: Document) -> str:
    """Render the summary: verdict, answer, ledger, an answer a question, evidence."""
    environment = Environment(
        loader=PackageLoader("analysis.report"),
        autoescape=False,  # noqa: S701 # Markdown; the filter below escapes every value
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["md"] = _escaped
    text = environment.get_template("summary.md.jinja").render(doc=document)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _escaped(text: str) -> str:
    """One line of text that Markdown shows as it is."""
    return _SPECIAL.sub(r"\\\1", " ".join(str(text).split()))
