"""docs/python-api.md, made from the docstrings of what is public.

``python -m tests.support.project.python_api > docs/python-api.md`` writes it anew. What is public
is the list ``PUBLIC``, and the questions are those of ``analysis.questions.catalogue``.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from typing import Any, get_args, get_type_hints

from analysis.questions.catalogue import QUESTIONS, Question

PUBLIC: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (
        "Open a run",
        "A run directory, its manifest and its tables as DataFrames.",
        (
            "analysis.rundir.run:open_run",
            "analysis.rundir.run:Run",
            "analysis.rundir.run:measured",
        ),
    ),
    (
        "Ask a question",
        "All answers of a run at once, or one of them by its type.",
        (
            "analysis.questions.asking:findings",
            "analysis.questions.asking:ask",
            "analysis.questions.findings:Findings",
            "analysis.stats.intervals:Estimate",
        ),
    ),
    (
        "Traces in",
        "Tables of spans from any OpenTelemetry, Jaeger or Zipkin traces, and what they say.",
        (
            "analysis.traces:read",
            "analysis.traces:attribute",
            "analysis.self_time:self_time",
            "analysis.critical_path:sections",
            "analysis.shares:request_shares",
            "analysis.queries:per_request",
        ),
    ),
    (
        "Make an open loop",
        "For locustfiles; see [Add a scenario](add-a-scenario.md).",
        ("worthit.load:OpenLoopUser", "worthit.load:Arrival"),
    ),
)
"""Heading, introduction, and ``module:name`` of each function and class, in order."""

INTRODUCTION = """\
# Python API

Written from the docstrings by `python -m tests.support.project.python_api`.

```python
from analysis.questions.asking import ask
from analysis.questions.faster.answer import Faster
from analysis.rundir.run import open_run

run = open_run("runs/RUN")
run.requests.groupby("arm")["status_code"].value_counts()
for row in ask(run, Faster).end_to_end:
    print(row.arm, row.statistic, row.difference.value, row.difference.low, row.difference.high)
```
"""

WIDTH = 110
"""Signatures longer than this have one parameter per line."""


def page() -> str:
    """The whole page."""
    parts = [INTRODUCTION]
    for heading, introduction, names in PUBLIC:
        parts.append(f"## {heading}\n\n{introduction}\n")
        parts += [entry(name) for name in names]
        if "analysis.questions.asking:ask" in names:
            parts.append(questions())
    return "\n".join(parts)


def entry(name: str) -> str:
    """One function or class."""
    module, _, attribute = name.partition(":")
    found = getattr(importlib.import_module(module), attribute)
    title = f"### {module}.{attribute}\n"
    if inspect.isclass(found):
        return "\n".join([title, _prose(found), *_members(found)])
    return "\n".join([title, _signature(found, attribute), _prose(found)])


def questions() -> str:
    """Each question with the type of its answer, and the fields of both answer and rows."""
    listed = [
        f"| {_question(question)} | `{question.of.__module__}.{question.of.__name__}` |"
        for question in QUESTIONS
    ]
    table = ["### Questions\n", "| question | answer |", "|---|---|", *listed, ""]
    kinds = dict.fromkeys(kind for question in QUESTIONS for kind in _types_in(question.of))
    fields = [
        f"**{kind.__name__}**: {_summary(kind)}\n\n" + "\n".join(_field_lines(kind)) + "\n"
        for kind in kinds
    ]
    return "\n".join([*table, *fields])


def _question(question: Question[Any]) -> str:
    return _summary(importlib.import_module(question.of.__module__))


def _types_in(kind: type) -> Iterator[type]:
    """The dataclass and those of its rows, but for the estimate, which has an entry of its own."""
    yield kind
    for hint in get_type_hints(kind).values():
        for inner in (hint, *get_args(hint)):
            if dataclasses.is_dataclass(inner) and inner.__name__ != "Estimate":  # type: ignore[union-attr] # a class, by the check before it
                yield from _types_in(inner)  # type: ignore[arg-type] # as above


def _members(kind: type) -> Iterator[str]:
    """Fields with their docstrings, then public properties and methods with their first lines."""
    lines = list(_field_lines(kind))
    for name, member in vars(kind).items():
        if name.startswith("_") or any(line.startswith(f"- `{name}`") for line in lines):
            continue
        of_property = getattr(member, "func", getattr(member, "fget", None))
        inner = of_property or getattr(member, "__func__", member)
        if inspect.isfunction(inner) and inner.__doc__ and not hasattr(inner, "__override__"):
            shown = name if of_property else f"{name}{_parameters(inner)}"
            lines.append(_wrapped(f"`{shown}`: {_summary(inner)}"))
    yield "\n".join(lines) + "\n" if lines else ""


def _field_lines(kind: type) -> Iterator[str]:
    """A line for each annotated attribute; its docstring is the literal that follows it."""
    body = _node(kind).body
    for at, statement in enumerate(body):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        name = statement.target.id
        after = body[at + 1] if at + 1 < len(body) else None
        said = ""
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            said = ": " + inspect.cleandoc(str(after.value.value))
        if not name.startswith("_"):
            yield _wrapped(f"`{name}` ({ast.unparse(statement.annotation)}){said}")


def _signature(function: Any, name: str) -> str:  # noqa: ANN401 - whatever can be called
    node = _node(function)
    returned = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    line = f"{name}{_parameters(function)}{returned}"
    if len(line) > WIDTH:
        inner = "".join(f"    {parameter},\n" for parameter in _separate(node.args))
        line = f"{name}(\n{inner}){returned}"
    return f"```python\n{line}\n```\n"


def _parameters(function: Any) -> str:  # noqa: ANN401 - as _signature
    return f"({', '.join(_separate(_node(function).args))})"


def _separate(arguments: ast.arguments) -> list[str]:
    """The parameters one by one, with their defaults, without self and cls."""
    plain = [*arguments.posonlyargs, *arguments.args]
    missing: list[ast.expr | None] = [None] * (len(plain) - len(arguments.defaults))
    shown = list(map(_parameter, plain, [*missing, *arguments.defaults]))
    if arguments.vararg:
        shown.append(f"*{ast.unparse(arguments.vararg)}")
    elif arguments.kwonlyargs:
        shown.append("*")
    shown += map(_parameter, arguments.kwonlyargs, arguments.kw_defaults)
    return [one for one in shown if one not in {"self", "cls"}]


def _parameter(one: ast.arg, default: ast.expr | None) -> str:
    return ast.unparse(one) + (f" = {ast.unparse(default)}" if default else "")


def _node(found: Any) -> Any:  # noqa: ANN401 - a class or a function, and its definition
    return ast.parse(textwrap.dedent(inspect.getsource(found))).body[0]


def _summary(found: Any) -> str:  # noqa: ANN401 - as _node
    text = inspect.getdoc(found) or ""
    return " ".join(text.split("\n\n")[0].split())


def _prose(found: Any) -> str:  # noqa: ANN401 - as _node
    """The docstring as Markdown: numpy's headings in bold, what they list as a list."""
    text = (inspect.getdoc(found) or "").replace("::\n", ":\n")
    plain, *sections = re.split(r"^(?=\w[\w ]*\n-+$)", text, flags=re.MULTILINE)
    for section in sections:
        heading, _, rest = section.partition("\n")
        listed = re.findall(r"^(\w.*)\n((?:    .*\n?)+)", rest.partition("\n")[2], re.MULTILINE)
        items = [_wrapped(f"`{name}`: {' '.join(said.split())}") for name, said in listed]
        plain += f"**{heading}**\n\n" + "\n".join(items) + "\n"
    return plain.rstrip("\n") + "\n"


def _wrapped(text: str) -> str:
    return textwrap.fill(
        text, 119, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False
    )


if __name__ == "__main__":
    sys.stdout.write(page())
