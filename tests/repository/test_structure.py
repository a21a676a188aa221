"""The rules of CONTRIBUTING.md about names and comments, checked on the source."""

from __future__ import annotations

import ast
import re

from tests.support.project.source_tree import PACKAGES, functions, python_files, spelled, tree

FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "base", "manager"}
SOURCES = (*PACKAGES, "benchmarks")


def test_no_module_has_a_name_that_says_nothing() -> None:
    """No package, module or test is called utils, helpers, common, misc, base or manager."""
    found = [
        spelled(path)
        for path in python_files(*SOURCES, "tests")
        if FORBIDDEN_NAMES & {*path.parts[-4:-1], path.stem, path.stem.removeprefix("test_")}
    ]

    assert found == []


def test_silenced_checks_say_which_and_why() -> None:
    """Every noqa and type-ignore names its code and gives a reason in words."""
    silenced = re.compile(r"#\s*(?P<what>noqa|type:\s*ignore)(?P<rest>.*)$")
    code = r"(:\s*[A-Z]+\d+(,\s*[A-Z]+\d+)*|\[[a-z-]+(,\s*[a-z-]+)*\])"
    sound = re.compile(rf"^{code}\s*(-|#).*\w")
    found = [
        f"{spelled(path)}:{number}: {line.strip()}"
        for path in python_files(*SOURCES, "tests")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if (match := silenced.search(line)) and '"' not in match["rest"]
        if not sound.match(match["rest"])
    ]

    assert found == []


def test_every_test_is_a_claim() -> None:
    """Every test function has a docstring whose first paragraph is one sentence."""
    found = [
        f"{spelled(path)}:{node.lineno} {node.name}"
        for path in python_files("tests")
        for node in functions(path)
        if node.name.startswith("test_") and path.stem.startswith("test_")
        if not re.search(r"[.!?]$", (ast.get_docstring(node) or "").split("\n\n")[0].strip())
    ]

    assert found == []


def test_every_module_says_what_it_is() -> None:
    """Every module's docstring begins with one line: its question, or the thing it is."""
    found = [
        spelled(path)
        for path in python_files(*SOURCES)
        if not re.search(r"[.?]$", (ast.get_docstring(tree(path)) or "").split("\n")[0])
    ]

    assert found == []
