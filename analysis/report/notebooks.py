"""Executes the notebooks on a run: in place with their outputs, or as HTML beside the report.

``python -m analysis.report.notebooks RUN`` executes those of ``notebooks/`` and keeps the
outputs; the parameter cell stays as it was, so that a committed notebook names no folder of
anybody's machine.
"""

from __future__ import annotations

import copy
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.errors import AnalysisError, InputError

if TYPE_CHECKING:
    from nbformat import NotebookNode

FOLDER = Path(__file__).parents[2] / "notebooks"
"""Where the project keeps them."""

PARAMETERS = "parameters"
"""The tag of the one cell that a run's path goes into."""

TEMPLATES = Path(__file__).parent / "templates"
"""Where the form of a notebook's page is kept."""

TIMEOUT_S = 300
"""For one cell: ten million spans are read and answered in a tenth of it."""


def sources(folder: Path = FOLDER) -> list[Path]:
    """The notebooks in order.

    Raises
    ------
    InputError
        When there is none, as in an installation without the project's tree.
    """
    found = sorted(folder.glob("[0-9]*.ipynb"))
    if not found:
        raise InputError(f"{folder}: no notebook was found; run this from the project's own tree.")
    return found


def executed(source: Path, run: Path) -> NotebookNode:
    """Execute one notebook on a run and give it with its outputs.

    Raises
    ------
    AnalysisError
        When Jupyter is not installed, or a cell fails.
    """
    try:
        import nbformat  # noqa: PLC0415 - the extra `notebooks` may be absent
        from nbclient import NotebookClient  # noqa: PLC0415 - as above
        from nbclient.exceptions import CellExecutionError  # noqa: PLC0415 - as above
        from traitlets.config import Config  # noqa: PLC0415 - as above
    except ImportError as error:
        raise AnalysisError(
            f"Notebooks need Jupyter ({error}); install the project with its extra: notebooks."
        ) from error
    book = nbformat.read(source, as_version=4)  # type: ignore[no-untyped-call] # untyped library
    cell = _parameter_cell(book, source)
    kept = cell["source"]
    cell["source"] = f"RUN = {str(run.resolve())!r}"
    with tempfile.TemporaryDirectory(prefix="worthit-kernel-") as sockets:
        # Sockets in a folder of our own: no port that somebody else on the machine could talk to.
        reached = {"transport": "ipc", "ip": f"{sockets}/kernel"}
        client = NotebookClient(
            book,
            timeout=TIMEOUT_S,
            resources={"metadata": {"path": str(source.parent)}},
            config=Config({"KernelManager": reached}),
        )
        try:
            client.execute()
        except CellExecutionError as error:
            raise AnalysisError(
                f"{source.name}: a cell failed: {error.ename}: {error.evalue}"
            ) from error
    cell["source"] = kept
    return _settled(book)


def as_html(run: Path, folder: Path) -> list[Path]:
    """Execute all notebooks on a run and write each as an HTML file into ``folder``."""
    books = [(source, executed(source, run)) for source in sources()]
    folder.mkdir(exist_ok=True)
    written = []
    for source, book in books:
        path = folder / f"{source.stem}.html"
        path.write_text(page(book, source.stem), encoding="utf-8")
        written.append(path)
    return written


def page(book: NotebookNode, name: str) -> str:
    """One notebook as HTML that loads nothing: nbconvert's own page asks a CDN for its scripts."""
    from nbconvert import HTMLExporter  # noqa: PLC0415 - the extra `notebooks` may be absent

    exporter = HTMLExporter(  # type: ignore[no-untyped-call] # untyped library
        embed_images=True,
        extra_template_paths=[str(TEMPLATES)],
        template_file="notebook.html.j2",
    )
    resources = {"metadata": {"name": name}}
    text, _ = exporter.from_notebook_node(copy.deepcopy(book), resources=resources)
    return str(text)


def main(argv: Sequence[str]) -> int:
    """Execute the project's notebooks on the run named and keep their outputs."""
    if len(argv) != 1:
        sys.stderr.write("Usage: python -m analysis.report.notebooks RUN\n")
        return 2
    import nbformat  # noqa: PLC0415 - the extra `notebooks` may be absent

    try:
        for source in sources():
            book = executed(source, Path(argv[0]))
            nbformat.write(book, source)  # type: ignore[no-untyped-call] # untyped library
            sys.stderr.write(f"Executed: {source.name}\n")
    except AnalysisError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _parameter_cell(book: NotebookNode, source: Path) -> dict[str, Any]:
    """The cell tagged ``parameters``."""
    tagged = [cell for cell in book.cells if PARAMETERS in cell.metadata.get("tags", ())]
    if len(tagged) != 1:
        raise AnalysisError(
            f"{source}: {len(tagged)} cells are tagged {PARAMETERS}; exactly one must be."
        )
    cell: dict[str, Any] = tagged[0]
    return cell


def _settled(book: NotebookNode) -> NotebookNode:
    """Without what changes from one execution to the next.

    Times, and the version of the kernel.
    """
    for cell in book.cells:
        cell.metadata.pop("execution", None)
    book.metadata.get("language_info", {}).pop("version", None)
    return book


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
