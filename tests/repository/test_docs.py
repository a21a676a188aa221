"""What README.md and docs/ say can be typed, can be typed; what they link to is there."""

from __future__ import annotations

import asyncio
import base64
import importlib
import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from analysis.rundir.run import Run, open_run
from tests.support.project import documented_commands
from tests.support.project.documented_commands import (
    NOT_RUN,
    RUN_ELSEWHERE,
    RUN_HERE,
    fenced,
    inline,
    pages,
)
from tests.support.project.source_tree import ROOT, spelled, tracked_files
from tests.support.runs.synthetic_run import Truth, write_run
from tests.support.servers.otlp_receiver import receiver
from worthit.__main__ import VERBS, main
from worthit.export.messages import messages

HTTP_ADDRESS = "http://127.0.0.1:4318"
GRPC_ADDRESS = "grpc://127.0.0.1:4317"
TRACE_SHOWN = "0af7651916cd"
LONGEST_LINE = 120


@pytest.fixture(name="folder", scope="module")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the pages assume it: a run, traces of somebody's, claims and experiments."""
    folder = tmp_path_factory.mktemp("reader")
    truth = Truth(rates_per_s=(20.0,), pairs=6, block_s=1.0)
    run = open_run(write_run(folder / "runs" / "RUN", truth))
    _write_traces(run, folder)
    for shown in ("claims", "experiments"):
        (folder / shown).symlink_to(ROOT / shown)
    return folder


def _write_traces(run: Run, folder: Path) -> None:
    """The run's spans as OTLP JSON and as a recorder's file."""
    message = next(iter(messages(run, None, spans_each=10**6)))
    whole = ExportTraceServiceRequest.FromString(message.payload)
    document = MessageToDict(whole)
    for resource in document["resourceSpans"]:
        for span in resource["scopeSpans"][0]["spans"]:
            for key in {"traceId", "spanId", "parentSpanId"} & set(span):
                span[key] = _hexadecimal(span[key])
    (folder / "traces.json").write_text(json.dumps(document), encoding="utf-8")
    size, prefix = len(message.payload), bytearray()
    while size > 0x7F:
        prefix.append(size & 0x7F | 0x80)
        size >>= 7
    (folder / "traces.otlp").write_bytes(bytes(prefix) + bytes([size]) + message.payload)


def _hexadecimal(text: str) -> str:
    """Ids are base64 in protobuf's JSON and hexadecimal in OTLP's."""
    return base64.b64decode(text).hex()


def test_every_command_is_run_or_has_its_reason() -> None:
    """No fenced command is missing from the one list, and the list holds none that no page has."""
    written = {command for page in pages() for command in fenced(page)}

    assert sorted(written - documented_commands.listed()) == []
    assert sorted(documented_commands.listed() - written) == []
    assert {*RUN_HERE} & {*RUN_ELSEWHERE} == {*RUN_HERE} & {*NOT_RUN} == set()
    assert len(written) > 20


def test_the_tests_that_the_list_names_are_there() -> None:
    """Each command that is run elsewhere names a test function that exists."""
    for command, test in RUN_ELSEWHERE.items():
        file, _, function = test.partition("::")
        assert f"def {function}(" in (ROOT / file).read_text(encoding="utf-8"), command


@pytest.mark.parametrize("command", RUN_HERE)
async def test_the_command_works(
    command: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Typed in a folder as the page assumes it, the command ends well and says something."""
    monkeypatch.chdir(folder)
    async with receiver() as there:
        typed = command.replace(HTTP_ADDRESS, there.url).replace(GRPC_ADDRESS, there.url)
        typed = typed.replace(TRACE_SHOWN, _first_trace(folder))
        words = shlex.split(typed)
        code = await asyncio.to_thread(main, words[1:])

    said = capsys.readouterr()
    assert code == 0 or (code == 3 and "check" in words), said.err
    assert said.out.strip()
    assert ("export" in words) == bool(there.spans)


def _first_trace(folder: Path) -> str:
    first: str = open_run(folder / "runs" / "RUN").spans["trace_id"].iloc[0]
    return first


def _options(words: list[str]) -> list[str]:
    """Options of ours in a command: what follows ``--`` belongs to somebody else's."""
    own = words[: words.index("--")] if "--" in words else words
    return [word.partition("=")[0] for word in own if word.startswith("--")]


def _unknown(command: str) -> str | None:
    """What in a command line does not exist, None when all does."""
    words = [word.strip("[]") for word in shlex.split(command)]
    if words[0] == "worthit" and words[1] in VERBS:
        verb = importlib.import_module(VERBS[words[1]][0]).command
        assert isinstance(verb, click.Command)
        known = {name for parameter in verb.params for name in parameter.opts} | {"--help"}
        return next((option for option in _options(words) if option not in known), None)
    if words[0] == "worthit":
        return None if words[1] in {"--help", "--version", "VERB", "COMMAND"} else words[1]
    if words[0] == "make":
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
        return None if words[1] in targets else words[1]
    if words[:2] == ["python", "-m"]:
        place = ROOT / words[2].replace(".", "/")
        there = place.with_suffix(".py").exists() or (place / "__main__.py").exists()
        return None if there else words[2]
    return None


def test_commands_in_running_text_exist() -> None:
    """Each verb, option, make target and module that a page names in passing exists."""
    found = {
        f"{spelled(page)}: {command}: {unknown}"
        for page in pages()
        for command in [*inline(page), *fenced(page)]
        if (unknown := _unknown(command)) is not None
    }

    assert found == set()
    assert _unknown("worthit export RUN --nowhere URL") == "--nowhere"
    assert _unknown("make coffee") == "coffee"


def _anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as the usual renderers make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings
    }


def test_every_link_leads_somewhere() -> None:
    """Each relative link or picture of a page is a file of the project, each anchor a heading."""
    dead = []
    for page in pages():
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
            file, _, anchor = target.partition("#")
            if re.match(r"https?:", target):
                continue
            linked = (page.parent / file).resolve() if file else page
            if not linked.exists() or (anchor and anchor not in _anchors(linked)):
                dead.append(f"{spelled(page)}: {target}")

    assert dead == []


def test_every_page_is_reached_from_the_index() -> None:
    """docs/index.md, with the pages it links to, leads to every page there is."""
    seen: set[Path] = set()
    waiting = [ROOT / "docs/index.md"]
    while waiting:
        page = waiting.pop()
        if page in seen or page.suffix != ".md" or not page.exists():
            continue
        seen.add(page)
        targets = re.findall(r"\]\(([^)\s#]+)[^)]*\)", page.read_text(encoding="utf-8"))
        waiting += [(page.parent / target).resolve() for target in targets if "://" not in target]

    assert sorted(spelled(page) for page in set(pages()) - seen - {ROOT / "README.md"}) == []


def test_the_index_of_decisions_names_each_page_by_its_title() -> None:
    """docs/decisions/README.md links to every page beside it once, with the page's title."""
    folder = ROOT / "docs/decisions"
    titles = {
        page.name: page.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
        for page in folder.glob("*.md")
        if page.name != "README.md"
    }
    index = (folder / "README.md").read_text(encoding="utf-8")

    assert sorted((file, title) for title, file in re.findall(r"\[(.+?)\]\((.+?)\)", index)) == (
        sorted(titles.items())
    )


def test_every_decision_says_what_it_rejected() -> None:
    """Each page has context, decision, consequences and rejected options, under those headings."""
    found = {
        page.name: headings
        for page in sorted((ROOT / "docs/decisions").glob("[!R]*.md"))
        if (headings := re.findall(r"^## (\w+)", page.read_text(encoding="utf-8"), re.MULTILINE))
        != ["Context", "Decision", "Consequences", "Rejected"]
    }

    assert found == {}


def test_the_catalogue_of_experiments_is_current() -> None:
    """docs/experiments.md lists every file of experiments/ with the question that it asks."""
    page = (ROOT / "docs/experiments.md").read_text(encoding="utf-8")
    files = sorted((ROOT / "experiments").glob("*.toml"))
    asked = [
        (f"experiments/{file.name}", tomllib.loads(file.read_text(encoding="utf-8"))["question"])
        for file in files
    ]

    assert re.findall(r"^\| `(experiments/.+?)` \| (.+?) \|$", page, re.MULTILINE) == asked


def test_the_python_api_page_is_current() -> None:
    """docs/python-api.md is what `python -m tests.support.project.python_api` writes."""
    # in a process of its own, because importing Locust patches sockets
    written = subprocess.run(
        [sys.executable, "-m", "tests.support.project.python_api"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert written.returncode == 0, written.stderr
    assert written.stdout == (ROOT / "docs/python-api.md").read_text(encoding="utf-8"), (
        "run: python -m tests.support.project.python_api > docs/python-api.md"
    )


def test_lines_of_pages_wrap() -> None:
    """No line of a page is longer than 120 characters, tables, pictures and addresses excepted."""
    kept_whole = re.compile(r"^(\||!\[|https?:)")
    found = [
        f"{spelled(page)}:{number}: {len(line)}"
        for page in [*pages(), ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
        if page.name != documented_commands.GENERATED
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1)
        if len(line) > LONGEST_LINE and not kept_whole.match(line)
    ]

    assert found == []


def test_every_page_that_the_code_names_is_there() -> None:
    """A message, comment or docstring that sends its reader to docs/ names a page that exists."""
    found = [
        f"{spelled(file)}: {name}"
        for file in tracked_files()
        if file.suffix in {".py", ".toml", ".yml", ".yaml", ".jinja", ".j2"}
        for name in re.findall(r"docs/[\w/-]+\.(?:md|json)", file.read_text(encoding="utf-8"))
        if not (ROOT / name).exists()
    ]

    assert found == []


def test_the_readme_shows_the_two_commands_first() -> None:
    """README.md begins with one sentence, one picture, and `make demo` and `make test`."""
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    commands = list(fenced(ROOT / "README.md"))

    blocks = "\n".join(lines).split("\n\n")
    assert [block[:9] for block in blocks[:4]] == [
        "# worthit",
        "`worthit`",
        "![Left: t",
        "```bash\nm",
    ]
    assert blocks[1].endswith(".")
    assert blocks[1].count(". ") == 0
    assert commands[:2] == ["make demo", "make test"]
