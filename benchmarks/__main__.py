"""``python -m benchmarks [NAME ...]``: list the benchmarks, or run one or all.

A benchmark is a module of this folder with ``def main(argv: list[str]) -> int``; it prints ratios
taken in one run, because absolute times say more about the machine than about the code.
"""

from __future__ import annotations

import ast
import importlib
import sys
import time
from pathlib import Path

FOLDER = Path(__file__).parent


def names() -> list[str]:
    """Give the benchmarks' names, in order."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("_"))


def first_line(name: str) -> str:
    """Give the first line of a benchmark's docstring without importing it."""
    source = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]


def list_them() -> None:
    """Print what there is."""
    known = names()
    width = max((len(name) for name in known), default=0)
    for name in known:
        print(f"{name:<{width}}  {first_line(name)}")


def run(name: str, arguments: list[str]) -> int:
    """Run one benchmark and give its exit code."""
    print(f"== {name}: {first_line(name)}", flush=True)
    started = time.perf_counter()
    code: int = importlib.import_module(f"benchmarks.{name}").main(arguments)
    print(f"== {name}: {time.perf_counter() - started:.0f} s, exit code {code}\n", flush=True)
    return code


def main(argv: list[str]) -> int:
    """Run what `argv` names; everything without a name; ``--list`` lists."""
    if argv[:1] in (["--list"], ["-l"]):
        list_them()
        return 0
    if argv[:1] in (["--help"], ["-h"]):
        print("python -m benchmarks [--list | NAME ... | NAME ARGUMENT ...]; else all are run.\n")
        list_them()
        return 0
    known = names()
    if not argv:
        return max((run(name, []) for name in known), default=0)
    if set(argv) <= set(known):
        return max(run(name, []) for name in argv)
    name, *arguments = argv
    if name not in known:
        print(f"There is no benchmark {name}; known are {', '.join(known)}.", file=sys.stderr)
        return 2
    return run(name, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
