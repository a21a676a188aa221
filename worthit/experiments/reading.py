"""Read an experiment file, or say in a sentence a line what is wrong with it and where."""

from __future__ import annotations

import difflib
import re
import tomllib
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from worthit.errors import UsageError
from worthit.experiments.model import Arm, Data, Experiment, Load, Sweep
from worthit.experiments.toml_lines import Path as KeyPath
from worthit.experiments.toml_lines import line_of

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
"""How the sentence about one of our own faults ends."""

LARGEST_FILE_BYTES: Final = 1_000_000
"""An experiment is a page of text; a larger file is something else handed over by mistake."""


def read_experiment(path: Path) -> Experiment:
    """Read and check the experiment file at `path`.

    Raises
    ------
    UsageError
        The file is missing, is not TOML, or says something that cannot be; one line a fault, each
        with the file's name and line.
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
        faults = [_fault(text, name, detail) for detail in error.errors()]
        raise UsageError("\n".join(sentence for _, sentence in sorted(faults))) from None


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
    return f"{place}: this is not TOML: {_lower(found['what'])}; mend this line."


def _fault(text: str, name: str, detail: ErrorDetails) -> tuple[int, str]:
    """Turn one finding of pydantic's into (line, sentence)."""
    context: dict[str, Any] = detail.get("ctx", {})
    path: KeyPath = tuple(context.get("at", detail["loc"]))
    if "key" in context:
        path = (*path, context["key"])
    line = line_of(text, path)
    return line, f"{name}:{line}: {_sentence(path, detail, context)}"


def _sentence(path: KeyPath, detail: ErrorDetails, context: dict[str, Any]) -> str:
    where = _spelling(path)
    kind = detail["type"]
    if kind == "extra_forbidden":
        known = sorted(_known_keys(path))
        return f"unknown key '{path[-1]}'{_inside(path)}{_suggestion(str(path[-1]), known)}"
    if kind == "missing":
        return f"'{where}' is missing; {_expected(path)}"
    if kind in {"unknown_setting", "sweep_arm", "unknown_scenario", "unknown_knob"}:
        found = str(context.get("key", context.get("name")))
        return f"{detail['msg']}{_suggestion(found, context['known'])}"
    if kind in OUR_REMEDIES:
        return f"{detail['msg']}{OUR_REMEDIES[kind]}"
    given = detail["input"]
    found = "a table or list" if isinstance(given, dict | list) else repr(given)
    return f"'{where}' is {found}, which will not do: {_lower(detail['msg'])}."


def _suggestion(found: str, known: list[str]) -> str:
    close = difflib.get_close_matches(found, known, n=1, cutoff=0.6)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; known are {', '.join(known)}."


def _known_keys(path: KeyPath) -> set[str]:
    table = path[0] if len(path) > 1 else None
    model = TABLES.get(str(table), Experiment) if table is not None else Experiment
    return set(model.model_fields)


def _inside(path: KeyPath) -> str:
    if len(path) == 1:
        return ""
    table = path[0]
    return f" in [[{table}]]" if len(path) > 2 else f" in [{table}]"  # noqa: PLR2004 - name, index, key


def _spelling(path: KeyPath) -> str:
    """Spell ``("arms", 1, "env")`` as a user would: ``arms[1].env``."""
    spelled = ""
    for key in path:
        spelled += f"[{key}]" if isinstance(key, int) else f".{key}" if spelled else key
    return spelled


def _expected(path: KeyPath) -> str:
    field = Experiment.model_fields.get(str(path[0])) if len(path) == 1 else None
    if path == ("arms",):
        return "write at least one [[arms]] with a name."
    if path in {("load",), ("load", "rates_per_s")}:
        return "write [load] with rates_per_s = [10, 40]."
    if field is not None and field.description:
        return field.description
    return "write it."


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]
