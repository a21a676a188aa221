"""findings.json: the findings as one JSON document, its published schema, and the way back.

Both are made from the types by pydantic, which only this module of the questions knows. What is
not a finite number is null, as JSON has no other word for it. An answer that is nothing but rows
(``Failures``) is published as a list of rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import field, fields, make_dataclass
from functools import cache
from typing import Any, Literal, get_type_hints

from pydantic import ConfigDict, TypeAdapter

from analysis.claims.ledger import Ledger
from analysis.questions.catalogue import QUESTIONS, Question
from analysis.questions.findings import (
    Believed,
    Findings,
    Headline,
    RunFacts,
)
from analysis.rundir.manifest import CrossCheck, Generator

FORMAT_VERSION = 1
"""Of the findings document; history: 1, the first."""

_OPTIONAL = ("unknown", "own_p99_ms", "requests", "errors", "service_ms", "response_ms")
"""What only some load generators count of a step: left out where it is not known."""

_ALWAYS = ("format_version", "run", "verdict", "cross_checks", "generator", "headline")
"""What the document of every run has, also of one that is INVALID."""


_CONFIG = ConfigDict(
    extra="forbid",
    ser_json_inf_nan="null",
    use_attribute_docstrings=True,
    json_schema_serialization_defaults_required=True,
)
"""How pydantic reads and writes the types; the docstrings of fields become descriptions."""


def as_json(found: Findings) -> str:
    """The document as it is written and printed."""
    return json.dumps(as_dict(found), indent=1, ensure_ascii=False) + "\n"


def as_dict(found: Findings) -> dict[str, Any]:
    """The document as plain JSON values."""
    document = _document()(
        format_version=FORMAT_VERSION,
        run=found.run,
        verdict=found.verdict,
        cross_checks=found.cross_checks,
        generator=found.generator,
        headline=found.headline,
        claims=found.claims,
        **{key: answer.rows if is_rows else answer for key, answer, is_rows in _answers(found)},
    )
    plain: dict[str, Any] = json.loads(_adapter().dump_json(document))
    for step in plain["generator"]:
        for name in _OPTIONAL:
            if step[name] is None:
                del step[name]
    if found.is_invalid:
        return {key: plain[key] for key in _ALWAYS}
    return plain


def plain(value: object) -> Any:  # noqa: ANN401 - any JSON
    """A part of the findings, such as a row of the ledger, as plain JSON values."""
    return json.loads(TypeAdapter(type(value)).dump_json(value))


def read_back(text: str | bytes) -> Findings:
    """The findings that ``as_json`` wrote.

    Raises
    ------
    ValueError
        When it is no such document, or one of another version.
    """
    document: Any = _adapter().validate_json(text)
    answers = (
        question.of(rows=getattr(document, question.key))
        if _is_rows(question)
        else getattr(document, question.key)
        for question in QUESTIONS
        if document.verdict.verdict != "INVALID"
    )
    return Findings(
        run=document.run,
        verdict=document.verdict,
        cross_checks=document.cross_checks,
        generator=document.generator,
        answers=tuple(answers),
        headline=document.headline,
        claims=document.claims,
    )


def schema() -> dict[str, Any]:
    """The JSON schema of the document, docs/schemas/findings.schema.json."""
    made = _adapter().json_schema(mode="serialization")
    made["required"] = list(_ALWAYS)
    step = made["$defs"]["Generator"]
    step["required"] = [name for name in step["required"] if name not in _OPTIONAL]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **made,
        "title": "worthit findings",
        "description": (
            "What worthit report writes to findings.json. Every estimate carries n and an"
            " interval, or a reason why there is none; a missing value is null."
        ),
    }


def _answers(found: Findings) -> Iterator[tuple[str, Any, bool]]:
    """Key, answer and whether it is nothing but rows, of each question that was answered."""
    if found.answers:
        for question, answer in zip(QUESTIONS, found.answers, strict=True):
            yield question.key, answer, _is_rows(question)


def _is_rows(question: Question[Any]) -> bool:
    """Whether the answer is nothing but rows."""
    return [one.name for one in fields(question.of)] == ["rows"]


@cache
def _document() -> type[Any]:
    """The document's type, put together from the catalogue's."""
    answers: list[tuple[str, Any, Any]] = [
        (
            question.key,
            (get_type_hints(question.of)["rows"] if _is_rows(question) else question.of) | None,
            field(default=None),
        )
        for question in QUESTIONS
    ]
    return make_dataclass(
        "Document",
        [
            ("format_version", Literal[1]),
            ("run", RunFacts),
            ("verdict", Believed),
            ("cross_checks", tuple[CrossCheck, ...]),
            ("generator", tuple[Generator, ...]),
            *answers,
            ("claims", Ledger | None, field(default=None)),
            ("headline", Headline | None, field(default=None)),
        ],
        namespace={"__pydantic_config__": _CONFIG},
        frozen=True,
        kw_only=True,
    )


@cache
def _adapter() -> TypeAdapter[Any]:
    return TypeAdapter(_document())
