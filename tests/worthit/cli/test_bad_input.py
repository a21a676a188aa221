"""What a user may get wrong ends in one sentence and its exit code; nothing is left."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.runs.experiments import SMALL
from worthit.__main__ import main
from worthit.contract.exit_codes import ExitCode

ROOT = Path(__file__).parents[3]

pytestmark = pytest.mark.integration


@pytest.fixture(name="file")
def _file(tmp_path: Path) -> Path:
    """An experiment file that is in order."""
    file = tmp_path / "small.toml"
    file.write_text(SMALL, encoding="utf-8")
    return file


def damaged(folder: Path, content: str) -> Path:
    """A folder with nothing but this manifest."""
    folder.mkdir()
    (folder / "manifest.json").write_text(content, encoding="utf-8")
    return folder


@pytest.mark.parametrize("verb", ["report", "shares", "compare"])
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: folder, "nothing was found"),
        (lambda folder: damaged(folder, '{"format_'), "not readable as JSON"),
        (lambda folder: damaged(folder, '{"format_version": 99}'), "format version 99"),
        (
            lambda folder: damaged(folder, json.dumps({"format_version": 1, "run_id": "x"})),
            "table is missing",
        ),
    ],
    ids=["missing", "cut off", "another version", "without tables"],
)
def test_a_run_that_cannot_be_read_is_told(
    verb: str,
    make: Callable[[Path], Path],
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A missing or damaged run directory: exit 2, one sentence naming it, nothing on stdout."""
    folder = make(tmp_path / "run")
    arguments = [str(folder)] * (2 if verb == "compare" else 1)

    assert main([verb, *arguments]) == ExitCode.WRONG_USAGE
    captured = capsys.readouterr()
    assert captured.out == ""
    if verb != "shares" or "nothing" not in said:
        assert str(folder) in captured.err
    assert "Traceback" not in captured.err


def test_an_unknown_key_starts_nothing(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A misspelt key: exit 2, file and key, and no folder of runs is made."""
    file.write_text(SMALL.replace("blocks = 4", "bloks = 4"), encoding="utf-8")

    assert main(["run", str(file), "--out", str(tmp_path / "runs")]) == ExitCode.WRONG_USAGE
    assert f"{file}: load.bloks: unknown key" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("DATABASE_URL", "postgresql://a:b@127.0.0.1:1/x", "unset it to use the embedded one"),
        ("LLM_BASE_URL", "http://127.0.0.1:1/v1", "unset it to use the simulator"),
    ],
)
def test_a_server_of_ones_own_that_is_not_there_is_told(
    *,
    variable: str,
    value: str,
    said: str,
    file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """An address where nobody listens: exit 1, the variable's name, and nothing in the folder."""
    monkeypatch.setenv(variable, value)
    out = tmp_path / "runs"

    assert main(["run", str(file), "--out", str(out), "--quiet"]) == ExitCode.TOOL_FAILED
    told = capsys.readouterr().err
    assert variable in told
    assert said in told
    assert [] == list(out.iterdir())


def test_a_disk_without_room_is_told_before_anything_starts(file: Path, tmp_path: Path) -> None:
    """On a file system of 20 MB a run is refused with found, needed and a way out."""
    small = tmp_path / "small"
    small.mkdir()
    script = (
        f"mount -t tmpfs -o size=20m none {small} && "
        f"{sys.executable} -m worthit run {file} --out {small} --quiet; code=$?; "
        f"ls -A {small} | grep . && exit 99; exit $code"
    )
    isolate = shutil.which("unshare")
    if isolate is None:
        pytest.skip("unshare is missing, which makes a small file system for this test")
    allowed = subprocess.run([isolate, "-rm", "true"], capture_output=True, check=False)
    if allowed.returncode != 0:
        pytest.skip("this machine does not let a test mount a small file system")
    ended = subprocess.run(
        [isolate, "-rm", "bash", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=60,
    )

    assert ended.returncode == ExitCode.TOOL_FAILED, ended.stderr
    assert "MB free and this run needs about" in ended.stderr
    assert "--out DIR" in ended.stderr


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ("{ DB_POOL_MIN = 9, DB_POOL_MAX = 2 }", "DB_POOL_MIN is 9, above DB_POOL_MAX = 2"),
        ('{ DB_POOL_MAX = "many" }', "DB_POOL_MAX is 'many'; expected a whole number."),
        ('{ REDIS_ENABLED = "maybe" }', "REDIS_ENABLED is 'maybe'; expected true or false."),
        ("{ DB_POOL_MAX = 0 }", "DB_POOL_MAX is '0'; expected at least 1."),
    ],
)
def test_settings_that_cannot_be_are_found_by_a_dry_run(
    env: str, said: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The service itself is asked, before any part is up, and the arm is named."""
    file.write_text(SMALL.replace("{ REDIS_ENABLED = true }", env), encoding="utf-8")

    assert main(["run", str(file), "--dry-run"]) == ExitCode.WRONG_USAGE

    told = capsys.readouterr()
    assert f"arm 'on': {said}" in told.err
    assert told.out == ""


def test_a_mistyped_command_is_told_the_one_that_was_meant(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With no command near it, the list is named."""
    assert main(["recrod"]) == ExitCode.WRONG_USAGE
    assert "There is no command 'recrod'. Did you mean 'record'?" in capsys.readouterr().err
    assert main(["xyzzy"]) == ExitCode.WRONG_USAGE
    assert "'worthit --help' lists them." in capsys.readouterr().err


def test_one_run_to_compare_is_told_how_its_arms_are_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A run by itself has two arms to compare; the sentence writes them out."""
    assert main(["compare", "runs/mine"]) == ExitCode.WRONG_USAGE
    assert "runs/mine:off runs/mine:on" in capsys.readouterr().err


def test_experiments_that_come_along_go_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    """The demo and its quick form have names of their own, and each is run by its name."""
    names = []
    for called in ("demo", "demo-quick"):
        assert main(["run", called, "--dry-run", "--json"]) == ExitCode.DONE
        names.append(json.loads(capsys.readouterr().out)["name"])

    assert names == ["demo", "demo-quick"]
