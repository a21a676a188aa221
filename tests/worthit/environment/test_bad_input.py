"""What goes wrong around the parts ends in one sentence and leaves nothing behind."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from worthit.environment import postgres as postgres_part
from worthit.environment.jaeger import Jaeger, find_jaeger
from worthit.environment.postgres import Postgres
from worthit.environment.recorder import Recorder
from worthit.environment.redis import Redis
from worthit.environment.server import child_environment
from worthit.errors import PartError, UsageError, WorthitError
from worthit.process.workspace import Workspace

pytestmark = pytest.mark.integration

JAEGER = """#!{python}
import http.server, json, sys
if "--config" in sys.argv:
    settings = json.load(open(sys.argv[2].removeprefix("file:")))
    address = settings["extensions"]["jaeger_query"]["http"]["endpoint"]
else:
    named = dict(part.removeprefix("--").split("=") for part in sys.argv[1:])
    address = named["query.http-server.host-port"]
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(address.split(":")[1])), Page).serve_forever()
"""
"""Stands in for Jaeger's binary, which no wheel brings: it reads what Jaeger would be told."""


@pytest.fixture(name="taken")
def _taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def run_module(module: str, *arguments: str) -> tuple[int, list[str]]:
    """Run `python -m MODULE`; its exit code and the lines it printed on stderr."""
    ended = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=child_environment(),
    )
    return ended.returncode, ended.stderr.splitlines()


def test_a_port_in_use_is_one_sentence(taken: int, tmp_path: Path) -> None:
    """Simulator and recorder name the port and what to do, and exit with 1."""
    simulator = run_module(
        "worthit.simulator", "--port", str(taken), "--log", str(tmp_path / "log")
    )
    recorder = run_module(
        "worthit.recorder", "--http-port", str(taken), "--out", str(tmp_path / "out")
    )

    rest = (
        f" cannot listen on 127.0.0.1:{taken}, the port is in use; "
        "end what listens there or choose another port."
    )
    assert simulator == (1, ["The simulator" + rest])
    assert recorder == (1, ["The recorder" + rest])


def test_a_grpc_port_in_use_is_one_sentence(taken: int, tmp_path: Path) -> None:
    """GRPC's own library is chatty; our sentence is the last line."""
    with Workspace() as workspace:
        http_port = str(workspace.free_port())
    code, lines = run_module(
        "worthit.recorder",
        *("--http-port", http_port, "--grpc-port", str(taken), "--out", str(tmp_path / "out")),
    )

    assert code == 1
    assert lines[-1] == (
        f"The recorder (gRPC) cannot listen on 127.0.0.1:{taken}, the port is in use; "
        "end what listens there or choose another port."
    )


@pytest.mark.parametrize(
    ("module", "option"), [("worthit.simulator", "--log"), ("worthit.recorder", "--out")]
)
def test_a_file_that_cannot_be_written_is_one_sentence(module: str, option: str) -> None:
    """The file and the reason are named."""
    with Workspace() as workspace:
        port = str(workspace.free_port())
    port_option = "--port" if module == "worthit.simulator" else "--http-port"

    code, lines = run_module(module, port_option, port, option, "/nonexistent/file")

    assert code == 1
    assert len(lines) == 1
    assert "/nonexistent/file: No such file or directory" in lines[0]


async def test_a_part_takes_another_port_when_one_is_taken(
    taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A port lost between choosing and listening is no failure: another is taken."""
    async with Workspace() as workspace:
        honest = Workspace.free_port
        given = [taken]
        monkeypatch.setattr(
            Workspace, "free_port", lambda self: given.pop() if given else honest(self)
        )
        async with Redis(workspace) as redis:
            assert str(taken) not in redis.url
        given = [taken]
        async with Postgres(workspace) as postgres:
            assert str(taken) not in postgres.url()
        given = [taken]
        async with Recorder(workspace) as recorder:
            assert str(taken) not in recorder.endpoint


async def test_a_fixed_port_in_use_is_an_error(taken: int) -> None:
    """A port that somebody asked for is not silently another."""
    async with Workspace() as workspace:
        for ports in ({"http_port": taken}, {"grpc_port": taken}):
            with pytest.raises(PartError, match=f"The port {taken} of 127.0.0.1 is in use"):
                await Recorder(workspace, **ports).start()


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (Postgres, "missing; reinstall .* in DATABASE_URL"),
        (Redis, "No Redis server was found: .* in REDIS_URL"),
    ],
)
async def test_a_wheel_without_its_binary_is_a_sentence(
    part: type[Postgres | Redis], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing server is said to be missing, with both ways out."""
    empty = importlib.machinery.ModuleSpec("empty", None, is_package=True)
    empty.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: empty)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    async with _open_before(monkeypatch) as workspace:
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(PartError, match=message):
            await part(workspace).start()


def _open_before(monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace whose guard still finds the real Python."""
    monkeypatch.setattr(
        "worthit.process.workspace.sys.executable", os.path.realpath("/proc/self/exe")
    )
    return Workspace()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to run it as somebody else")
async def test_root_runs_postgres_from_a_folder_closed_to_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A clone under /root: the binaries are copied to where PostgreSQL's user can reach them."""
    monkeypatch.setattr(postgres_part, "_can_run", lambda _root, _identity: False)
    async with Workspace() as workspace, Postgres(workspace) as postgres:
        assert postgres.version.startswith("18.")
        assert str(workspace.path) in " ".join(postgres.process.tree()[0].cmdline()[:1])


async def test_too_little_room_for_postgres_is_said_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is half done: what is needed, what is there, what to do."""
    monkeypatch.setattr(postgres_part, "NEEDED_BYTES", 1 << 62)
    async with Workspace() as workspace:
        with pytest.raises(PartError, match=r"has \d+ MB free; free some there, or name another"):
            await Postgres(workspace).start()

        assert list(workspace.logs.iterdir()) == []


def test_a_missing_jaeger_is_a_sentence() -> None:
    """Not on PATH, or named wrongly: what to install, or to leave out."""
    with pytest.raises(UsageError, match=r"A Jaeger binary .* is not there .* leave out --jaeger"):
        find_jaeger({"PATH": "/nonexistent"})
    with pytest.raises(UsageError, match="JAEGER_BIN names /nonexistent/j, which is not there"):
        find_jaeger({"PATH": os.defpath, "JAEGER_BIN": "/nonexistent/j"})


@pytest.mark.parametrize("name", ["jaeger", "jaeger-all-in-one"])
async def test_a_jaeger_on_the_path_is_started(name: str, tmp_path: Path) -> None:
    """Either version's binary is found, told where to listen, and ended."""
    binary = tmp_path / name
    binary.write_text(JAEGER.format(python=sys.executable), encoding="utf-8")
    binary.chmod(0o755)
    found = find_jaeger({"PATH": str(tmp_path)})

    async with Workspace() as workspace:
        async with Jaeger(workspace, found) as jaeger:
            assert jaeger.process.alive
        assert not jaeger.process.alive

    assert found == str(binary)


@pytest.mark.parametrize(
    ("folder", "reason"),
    [("/nonexistent", "No such file or directory"), ("/dev/null", "Not a directory")],
)
def test_a_tmpdir_that_cannot_be_written_is_a_sentence(
    folder: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is named with the reason; another folder is not taken without a word."""
    monkeypatch.setenv("TMPDIR", folder)

    with pytest.raises(WorthitError, match=f"that TMPDIR names, {folder}: {reason}; free some"):
        Workspace().open()


def test_a_temporary_folder_that_is_not_there_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A TMPDIR that vanished is named, with what to do."""
    monkeypatch.setattr("tempfile.tempdir", "/nonexistent")

    with pytest.raises(WorthitError, match="A temporary folder could not be made in /"):
        Workspace().open()
