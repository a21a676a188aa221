"""Hold `analysis` against published traces: ``python -m tests.support.project.corpus CHECK.PY``.

The corpus' own script is run as it is, with one repair: it expects one count a file, and one of
its files (one document a line) has one count a line. Those are added up, so that this case is
compared like the others instead of ending its suite with a TypeError.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any


def main(path: Path) -> int:
    """Return the script's own exit code: 0 when every case passed, 1 otherwise."""
    spec = importlib.util.spec_from_file_location("corpus_check", path)
    if spec is None or spec.loader is None:
        sys.stderr.write(f"{path} is not a Python file; name the corpus' check.py.\n")
        return 2
    check = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(check)
    plain_load = check.load

    def load(file: Path) -> Any:  # noqa: ANN401 - whatever the corpus' JSON holds
        found = plain_load(file)
        if isinstance(found, dict) and isinstance(found.get("counts"), dict):
            found["counts"] = {name: _whole(count) for name, count in found["counts"].items()}
        return found

    check.load = load
    return int(check.main([]))


def _whole(count: Any) -> Any:  # noqa: ANN401 - as above
    if isinstance(count, list):
        return {"spans": sum(line["spans"] for line in count)}
    return count


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
