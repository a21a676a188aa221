"""The report as one HTML file: no network, light and dark, on a phone and on paper."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from analysis.document import formatting
from analysis.document.document import Document, Section
from analysis.report.pictures import Pictures, pictures


def html(document: Document, drawn: Mapping[str, Pictures] | None = None) -> str:
    """Render the page; ``drawn`` saves drawing again what is drawn already.

    Everything that comes from the run is escaped. The only markup let through is our own figures.
    """
    drawn = pictures(document) if drawn is None else drawn
    environment = Environment(
        loader=PackageLoader("analysis.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates = resources.files("analysis.report") / "templates"
    script = (templates / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template("page.html.jinja").render(
        doc=document,
        svgs={
            name: {"wide": Markup(one.wide), "narrow": Markup(one.narrow)}  # noqa: S704 # our figures
            for name, one in drawn.items()
        },
        contents=_contents(document),
        css=Markup((templates / "page.css").read_text(encoding="utf-8")),  # noqa: S704 # our own file
        script=Markup(script),  # noqa: S704 # our own file
        script_hash=digest,
        missing=formatting.MISSING,
    )


def _contents(document: Document) -> tuple[Section, ...]:
    """What the table of contents lists: only worth its room when there are several sections."""
    traces = (Section(key="traces", question="What does a single request look like?", answer=""),)
    ledger = (document.ledger,) if document.ledger else ()
    method = (Section(key="method", question="How was it measured?", answer=""),)
    entries = (
        *ledger,
        *document.sections,
        *(traces if document.traces else ()),
        *document.evidence,
        *method,
    )
    return entries if len(entries) > 3 else ()  # noqa: PLR2004 # three need no list
