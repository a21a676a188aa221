"""The installed wheel, used in a repository whose packages have the names of ours."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.support.load.locust_process import end_of, free_port, recorded, stub_server
from tests.support.project.foreign_repository import (
    NAMES,
    ForeignRepository,
    make_foreign_repository,
    names_in,
)
from tests.support.project.source_tree import ROOT, tracked_files

pytestmark = pytest.mark.integration


@pytest.fixture(name="theirs", scope="module")
def _theirs(tmp_path_factory: pytest.TempPathFactory) -> ForeignRepository:
    """Somebody else's repository with the wheel installed."""
    return make_foreign_repository(tmp_path_factory.mktemp("foreign"))


def start(theirs: ForeignRepository, *command: str) -> subprocess.Popen[str]:
    """Start a command in their folder."""
    return subprocess.Popen(
        command,
        cwd=theirs.folder,
        env=theirs.variables(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_the_wheel_has_three_packages_and_all_of_their_files(theirs: ForeignRepository) -> None:
    """Every tracked file of the packages is in it, with the scenarios, experiments and claims."""
    names = set(names_in(theirs.wheel))
    tops = {name.partition("/")[0] for name in names}
    moved = {
        "experiments": "worthit/experiments/files",
        "loadtests": "worthit/scenarios",
        "claims": "worthit/claims",
    }
    wanted = set()
    for path in tracked_files():
        top, _, rest = path.relative_to(ROOT).as_posix().partition("/")
        if top in {"worthit", "analysis", "reference_service", *moved} and rest:
            wanted.add(f"{moved.get(top, top)}/{rest}")

    assert {top for top in tops if ".dist-info" not in top} == {
        "worthit",
        "analysis",
        "reference_service",
    }
    assert wanted - names == set()
    assert {
        "worthit/scenarios/chat.py",
        "worthit/experiments/files/demo.toml",
        "worthit/claims/background.toml",
        "worthit/load/page/page.html",
        "analysis/report/templates/page.css",
    } <= names


def test_the_plugin_records_a_master_and_a_worker_there(
    theirs: ForeignRepository, tmp_path: Path
) -> None:
    """Their locustfile uses their packages, the plugin ours, and each request has its row."""
    plugin = theirs.run(theirs.worthit, "plugin").strip()
    port = str(free_port())
    locust = (theirs.python, "-m", "locust", "-f", f"locustfile.py,{plugin}", "--headless")
    with stub_server() as stub:
        master = start(
            theirs, *locust, "--master", "--master-bind-host", "127.0.0.1",
            "--master-bind-port", port, "--expect-workers", "1", "--users", "2",
            "--spawn-rate", "2", "--only-summary", "--host", stub.url,
            "--worthit-out", str(tmp_path), "--threshold", "requests: count>20",
        )  # fmt: skip
        worker = start(
            theirs, *locust, "--worker", "--master-host", "127.0.0.1", "--master-port", port
        )
        code, output = end_of(master)
        worker_code, worker_output = end_of(worker)
        seen = stub.seen()

    rows = recorded(tmp_path)
    assert (code, worker_code) == (0, 0), output + worker_output
    assert Path(plugin).is_relative_to(theirs.environment)
    assert seen["requests"] > 20
    assert 0 <= len(rows) - seen["requests"] <= 2  # the last ones may not have been sent
    assert seen["without_traceparent"] == 0


def test_a_recording_is_made_and_read_there(theirs: ForeignRepository, tmp_path: Path) -> None:
    """``record``, ``report`` and ``shares``, by both ways to start them, leave theirs alone."""
    said = json.loads(
        theirs.run(
            theirs.worthit, "record", "--json", "--out", str(tmp_path), "--name", "shop", "--",
            theirs.python, "service.py",
        )
    )  # fmt: skip
    run = Path(said["run"])

    assert (said["spans"], said["command_exit_code"]) == (240, 0)
    theirs.run(theirs.worthit, "report", str(run))
    assert (run / "report.html").stat().st_size > 10_000
    for command in ((theirs.worthit,), (theirs.python, "-m", "worthit")):
        shares = json.loads(theirs.run(*command, "shares", str(run), "--json"))
        found = {row["name"]: row["share"] for row in shares["shares"]}
        assert set(found) == {"GET /shop", "look up"}


def test_their_packages_would_be_noticed(theirs: ForeignRepository) -> None:
    """Importing any of theirs without saying so ends a command with an error."""
    for name in NAMES:
        ended = subprocess.run(
            [theirs.python, "-c", f"import {name}"],
            cwd=theirs.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "was imported, and not by its own repository" in ended.stderr


def test_every_other_command_starts_there(theirs: ForeignRepository) -> None:
    """The experiments, a dry run of one, the scenarios' arguments: all from the wheel."""
    listed = json.loads(theirs.run(theirs.worthit, "experiments", "--json"))
    files = [Path(row["file"]) for row in listed]

    assert len(files) == len(list((ROOT / "experiments").glob("*.toml")))
    assert all(file.is_relative_to(theirs.environment) for file in files)
    assert "arms" in theirs.run(theirs.worthit, "run", "--dry-run", "--json", str(files[0]))
    assert "--arrival-rate" in theirs.run(theirs.worthit, "plugin", "--arguments")
