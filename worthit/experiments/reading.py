"""Read an experiment file, or say in one sentence per fault what is wrong with it and where."""

from __future__ import annotations

import difflib
import re
import tomllib
from pathlib import Path
from typing import Any, Final, TypeAlias

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from worthit.errors import UsageError
from worthit.experiments.model import Arm, Data, Experiment, Load, Sweep

KeyPath: TypeAlias = tuple[str | int, ...]
"""Keys and list indices from the root of the document, such as ``("arms", 1, "env")``."""

TABLES: Final[dict[str, type[BaseModel]]] = {
    "load": Load,
    "data": Data,
    "arms": Arm,
    "sweep": Sweep,
}
"""Which model the keys of a table belong to; the root's is `Experiment`."""

OUR_REMEDIES: Final = {
    "reserved_setting": "; take it out.",
    "knob_value": ".",
    "sweep_value": ".",
    "arm_twice": "; change one of them.",
    "baseline_twice": "; change one of them.",
    "fault_without_redis": "; change one of them.",
}
"""How the sentence about a fault that the model names itself ends."""

LARGEST_FILE_BYTES: Final = 1_000_000
"""An experiment is a page of text; a larger file is something else handed over by mistake."""


def read_experiment(path: Path) -> Experiment:
    """Read and check the experiment file at `path`.

    Raises
    ------
    UsageError
        The file is missing, is not TOML, or says something that cannot be; one line per fault,
        each with the file's name and the key's path.
    """
    return check_text(_text(path), name=str(path))


def check_text(text: str, *, name: str) -> Experiment:
    """Check an experiment's TOML text; `name` stands for the file in what is said about it."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(_syntax_fault(name, str(error))) from None
    try:
        return Experiment.model_validate(document)
    except ValidationError as error:
        faults = [f"{name}: {_fault(detail)}" for detail in error.errors()]
        raise UsageError("\n".join(faults)) from None


def _text(path: Path) -> str:
    if not path.exists():
        raise UsageError(
            f"There is no experiment file {path}; 'worthit experiments' lists those at hand."
        )
    if not path.is_file():
        raise UsageError(f"{path} is a folder; an experiment is a TOML file.")
    if path.stat().st_size > LARGEST_FILE_BYTES:
        raise UsageError(f"{path} is too large for an experiment file; name a TOML file.")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8 text; an experiment is a TOML file.") from None


def _syntax_fault(name: str, message: str) -> str:
    """Put the line that ``tomllib`` names at its end in front, where editors look for it."""
    found = re.fullmatch(r"(?P<what>.*) \(at line (?P<line>\d+), column (?P<col>\d+)\)", message)
    if found is None:
        return f"{name}: this is not TOML: {message}."
    place = f"{name}:{found['line']}:{found['col']}"
    return f"{place}: this is not TOML: {_lower(found['what'])}; correct this line."


def _fault(detail: ErrorDetails) -> str:
    """Turn one finding of pydantic's into a sentence that begins with the key's path."""
    context: dict[str, Any] = detail.get("ctx", {})
    path: KeyPath = tuple(context.get("at", detail["loc"]))
    if "key" in context:
        path = (*path, context["key"])
    return f"{_spelling(path)}: {_problem(path, detail, context)}"


def _problem(path: KeyPath, detail: ErrorDetails, context: dict[str, Any]) -> str:
    kind, said, given = detail["type"], detail["msg"], detail["input"]
    if kind == "extra_forbidden":
        return f"unknown key{_suggestion(str(path[-1]), _known_keys(path))}"
    if kind == "missing":
        return f"missing; {_expected(path)}"
    if context.get("known"):
        found = str(context.get("key", context.get("name")))
        return f"{said}{_suggestion(found, context['known'])}"
    if kind in OUR_REMEDIES:
        return f"{said}{OUR_REMEDIES[kind]}"
    found = "a table or list" if isinstance(given, dict | list) else repr(given)
    return f"{found} was found; {_lower(said)}."


def _suggestion(found: str, known: list[str]) -> str:
    close = difflib.get_close_matches(found, known, n=1, cutoff=0.6)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; known are {', '.join(known)}."


def _known_keys(path: KeyPath) -> list[str]:
    """Give the keys of the table that the last key of `path` stands in."""
    model = TABLES[str(path[0])] if len(path) > 1 else Experiment
    return sorted(model.model_fields)


def _spelling(path: KeyPath) -> str:
    """Spell ``("arms", 1, "env")`` as it is written: ``arms[1].env``."""
    spelled = ""
    for key in path:
        spelled += f"[{key}]" if isinstance(key, int) else f".{key}" if spelled else key
    return spelled


def _expected(path: KeyPath) -> str:
    if path == ("arms",):
        return "write at least one [[arms]] with a name."
    if path in {("load",), ("load", "rates_per_s")}:
        return "write [load] with rates_per_s = [10, 40]."
    return "write it."


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]
