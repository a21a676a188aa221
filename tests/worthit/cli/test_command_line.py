"""The command line: verbs, errors as sentences, exit codes."""

from __future__ import annotations

import errno
import json
import re
import sys
from pathlib import Path

import click
import pytest

import worthit.__main__ as cli
from analysis.errors import InputError, NotEnoughDataError
from worthit.__main__ import VERBS, main
from worthit.cli.terminal import reference
from worthit.errors import PartError, UsageError, WorthitError

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every verb can be loaded, has a usage line and explains itself."""
    assert main([verb, "--help"]) == 0

    said = capsys.readouterr().out
    assert said.startswith(f"Usage: worthit {verb}")
    assert len(said.splitlines()) > 4


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (UsageError("No such arm."), 2, "No such arm."),
        (PartError("Redis died."), 1, "Redis died."),
        (InputError("Not a run."), 2, "Not a run."),
        (NotEnoughDataError("Three more blocks."), 1, "Three more blocks."),
        (OSError(errno.ENOSPC, "No space left", "/x/y"), 1, "The disk is full"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), 1, "/x cannot be used"),
        (ValueError("boom"), 1, "failed unexpectedly (ValueError: boom)"),
        (KeyboardInterrupt(), 130, "Stopped by Ctrl-C"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_errors_become_a_sentence_and_a_code(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    said: str,
) -> None:
    """Whatever a verb raises ends in one sentence on stderr and its exit code."""

    @click.command()
    def fail() -> None:
        raise error

    monkeypatch.setattr(cli.worthit, "get_command", lambda *_: fail)
    monkeypatch.delenv(cli.DEBUG_VARIABLE, raising=False)

    assert code == main(["demo"])
    captured = capsys.readouterr()
    assert "" == captured.out
    assert said in captured.err
    assert "Traceback" not in captured.err


def test_a_verb_that_cannot_be_loaded_leaves_the_others_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With one broken module, that verb says so and the others and the help still work."""
    monkeypatch.setitem(sys.modules, "worthit.cli.demo", None)

    assert main(["demo"]) == 1
    assert "'worthit demo' cannot be loaded" in capsys.readouterr().err
    assert main(["--help"]) == 0
    assert main(["experiments", "--json"]) == 0


@pytest.mark.parametrize("arguments", [["dem"], ["experiments", "--jsn"], ["run"]])
def test_wrong_usage_is_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown verb, an unknown option and a missing argument end with 2, in words."""
    assert 2 == main(arguments)
    assert re.search(r"Error: |worthit: Name an experiment file", capsys.readouterr().err)


def test_json_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    """``--json`` prints one JSON document on stdout and nothing else."""
    assert main(["experiments", "--json"]) == 0

    names = {row["name"] for row in json.loads(capsys.readouterr().out)}
    assert names >= {"demo", "demo-quick"}


def test_the_page_of_the_command_line_is_current() -> None:
    """docs/command-line.md is what ``python -m worthit.cli.terminal.reference`` writes."""
    written = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")

    assert written == reference.page(), (
        "run: python -m worthit.cli.terminal.reference > docs/command-line.md"
    )


def test_worthit_errors_have_codes() -> None:
    """Each class of error carries the exit code that DESIGN.md names for its cause."""
    assert [int(kind.exit_code) for kind in (WorthitError, UsageError, PartError)] == [1, 2, 1]
