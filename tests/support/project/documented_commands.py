"""Every command of README.md and docs/: which test runs it, or why none can. The one list.

``python -m tests.support.project.documented_commands`` prints the commands that are in no list.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.support.project.source_tree import ROOT

RUN_HERE = (
    "worthit export runs/RUN --otlp http://127.0.0.1:4318",
    "worthit export runs/RUN --otlp http://127.0.0.1:4318 --slowest 20",
    "worthit export runs/RUN --otlp http://127.0.0.1:4318 --arm off",
    "worthit export runs/RUN --otlp grpc://127.0.0.1:4317 --trace 0af7651916cd",
    "worthit shares runs/RUN",
    "worthit trace runs/RUN --slowest",
    "worthit shares traces.json",
    "worthit trace traces.json --slowest",
    "worthit shares traces.otlp",
    "worthit compare runs/RUN:off runs/RUN:on",
    "worthit check runs/RUN --claims claims/background.toml",
    "worthit experiments",
    "worthit run demo-quick --dry-run",
)
"""Run by tests/repository/test_docs.py on a small run directory, addresses and ids replaced."""

_SET = "tests/repository/test_compose_processes.py::test_the_set_works_by_its_own_commands"
_UP = "tests/worthit/environment/test_jaeger_part.py::test_up_with_jaeger_sends_traces_to_both"
_MAKE_ENV = "tests/repository/test_compose.py::test_make_env_fills_each_secret_and_nothing_else"

_DEMO = "tests/endtoend/test_demo.py::test_the_run_is_believed_and_told"
_TWO = "tests/worthit/run/test_record_command.py::test_two_locusts_of_one_script_are_two_arms"
_PLUGIN = (
    "tests/worthit/load/test_plugin.py"
    "::test_every_request_of_a_strangers_locustfile_is_traced_and_recorded"
)
_CHECK = "tests/worthit/cli/test_check_and_compare.py::test_a_claim_that_does_not_hold_ends_with_3"
_REPORT = "tests/analysis/report/test_report.py::"
_TYPED = "tests/worthit/cli/test_report_command.py::"
_NOTEBOOK = "tests/notebooks/test_notebooks.py::test_a_notebook_runs_on_a_fresh_run"
_WORKFLOW = "tests/repository/test_github_actions.py::test_a_run_decides_how_the_step_ends"
_IMPORT = "tests/worthit/run/test_importing.py::"
_MARKS = "tests/worthit/run/test_marked_blocks.py::"
_OFF_ON = "tests/worthit/run/test_off_on_script.py::test_a_restarted_service_is_compared_by_blocks"
_RECORD = "tests/worthit/run/test_record_as_documented.py::"
_FOREIGN = (
    "tests/worthit/run/test_foreign_services.py"
    "::test_a_service_with_nothing_changed_gets_a_right_answer"
)

RUN_ELSEWHERE: dict[str, str] = {
    "worthit history runs/* --worse-by 2 --figure history.png": "tests/worthit/cli/test_history.py"
    "::test_the_newest_of_nine_runs_is_worse_and_ends_with_3",
    "make demo": _DEMO,
    ".venv/bin/worthit demo --quick --json > outcome.json": _WORKFLOW,
    ".venv/bin/worthit demo": _DEMO,
    "worthit report runs/RUN --jaeger-url http://127.0.0.1:16686": _REPORT
    + "test_single_requests_can_be_copied_and_found_in_jaeger",
    "worthit check RUN --claims claims/background.toml": _CHECK,
    "worthit check RUN --claims claims/background.toml --json": _CHECK,
    "worthit check RUN --claims FILE --junit report.xml": _CHECK,
    "worthit report runs/RUN": _DEMO,
    "worthit report runs/RUN --open": _TYPED
    + "test_the_short_page_is_written_beside_the_report_and_opened",
    "worthit report runs/RUN --brief": _TYPED
    + "test_the_short_page_is_written_beside_the_report_and_opened",
    "worthit report runs/RUN --markdown": _TYPED + "test_markdown_is_all_there_is_on_stdout",
    "worthit report runs/RUN --json": _TYPED
    + "test_json_is_one_document_that_keeps_to_the_schema",
    "worthit report runs/RUN --notebook": _TYPED + "test_notebooks_are_executed_beside_the_report",
    "python -m analysis.report.notebooks runs/RUN": _NOTEBOOK,
    "worthit import traces.json --name checkout --arm-from service.version": _IMPORT
    + "test_the_arm_is_what_an_attribute_of_the_resource_says",
    "worthit import --name checkout --arm off=before.json --arm on=after.json"
    " --block-seconds 10": _IMPORT + "test_report_check_and_export_work_on_imported_traces",
    "worthit compare before.json after.json --block-seconds 10": _IMPORT
    + "test_compare_takes_trace_files",
    "worthit record --for 120 --name checkout": _RECORD
    + "test_a_running_service_is_recorded_for_a_while",
    "worthit record --name checkout --settle 0.5 -- ./off-and-on.sh": _MARKS
    + "test_a_script_marks_its_blocks",
    "worthit record --campaign cache --arm off --name off-0 -- ./start-and-load.sh": _OFF_ON,
    "worthit report --campaign cache": _OFF_ON,
    "worthit compare --campaign cache": _OFF_ON,
    "worthit mark $arm": _MARKS + "test_a_script_marks_its_blocks",
    "worthit mark off": _MARKS + "test_a_script_marks_its_blocks",
    "worthit mark on": _MARKS + "test_a_script_marks_its_blocks",
    "opentelemetry-instrument flask --app catalog run": _FOREIGN,
    "worthit mark --end": _MARKS + "test_a_script_marks_its_blocks",
    "worthit record --name checkout -- ./start-and-load.sh": _RECORD
    + "test_a_script_and_its_children_are_led_to_the_recorder",
    'locust -f yours.py,"$(worthit plugin)"': _PLUGIN,
    'locust -f yours.py,"$(worthit plugin)" --worthit-out out/': _PLUGIN,
    'locust -f yours.py,"$(worthit plugin)" --headless -t 60s --worthit-arm off': _TWO,
    'locust -f yours.py,"$(worthit plugin)" --headless -t 60s --worthit-arm on': _TWO,
    "locust -f loadtests personality_lookup --headless --host http://127.0.0.1:8000"
    " --arrival-rate 100 --duration 20s": "tests/worthit/load/test_commands.py"
    "::test_every_scenario_speaks_the_services_language",
    "locust -f checkout.py --headless --host http://127.0.0.1:8000 --arrival-rate 50 --duration 4s"
    " --buy-fraction 0.5 --worthit-out out/": "tests/repository/test_add_a_scenario.py"
    "::test_the_scenario_runs_as_written",
    "python -c 'import json; from analysis.questions.published import schema;"
    " print(json.dumps(schema(), indent=1))' > docs/schemas/findings.schema.json": (
        "tests/repository/test_add_a_question.py::test_the_schema_describes_the_answer"
    ),
    "python3 deploy/make_env.py": _MAKE_ENV,
    "python test_redis_cache.py": _SET,
    "locust -f loadtests": _SET,
    "worthit up --port 8000": _UP,
    "worthit up --jaeger": _UP,
}
"""Command -> the test that runs it, perhaps shorter, or with what the command does in parts."""

_ENGINE = "needs a container engine; the file's commands are run by hand in " + _SET
_RUNNER = "a step of a GitHub workflow; without its variables the command is in another list"
_REGISTRY = "downloads the locked dependencies; each fresh clone does it before it can run a test"

_BY_HAND = "needs another language; recorded by hand against pg_stat_statements"
_NO_SDK = "needs a language that the project's machines do not have"
_LOAD_TOOL = (
    "the tool is not ours; the schedule is tested by tests/worthit/run/test_marked_blocks.py"
)

NOT_RUN: dict[str, str] = {
    "make test": "it is what runs the tests",
    ".venv/bin/python -m pytest": "it is what runs the tests",
    "python3 -m venv .venv": _REGISTRY,
    ".venv/bin/python -m pip install --require-hashes --only-binary :all:"
    " -r requirements.lock": _REGISTRY,
    ".venv/bin/python -m pip install --no-deps --no-build-isolation -e .": _REGISTRY,
    "docker compose up --detach --build --wait": _ENGINE,
    "docker compose cp recorder:/recorded/traces.otlp .": _ENGINE,
    "docker compose up --detach --scale service-replica=3 --scale locust-worker=4": _ENGINE,
    "docker compose down": _ENGINE,
    "docker exec -it -e REDISCLI_AUTH ai_companion_redis_dev redis-cli": _ENGINE,
    'docker logs ai_companion_service_dev 2>&1 | grep -i "cache\\|redis"': _ENGINE,
    "REDIS_ENABLED=false docker compose up --detach --wait": _ENGINE,
    "export REDISCLI_AUTH=$(sed -n 's/^REDIS_PASSWORD=//p' .env)": "sets a variable of the shell"
    " for the line after it",
    "make setup": _REGISTRY,
    '.venv/bin/worthit check "${{ steps.measure.outputs.run }}" --claims claims/background.toml'
    " --junit claims.xml": _RUNNER,
    '.venv/bin/worthit report "${{ steps.measure.outputs.run }}" --markdown > summary.md'
    " || [ $? = 4 ]": _RUNNER,
    "pip install opentelemetry-distro opentelemetry-exporter-otlp": _REGISTRY,
    "opentelemetry-bootstrap -a install": _REGISTRY,
    "npm install @opentelemetry/api @opentelemetry/auto-instrumentations-node": _BY_HAND,
    "node --require @opentelemetry/auto-instrumentations-node/register app.js": _BY_HAND,
    "java -javaagent:opentelemetry-javaagent.jar -jar inventory.jar": _BY_HAND,
    ". $HOME/.otel-dotnet-auto/instrument.sh": _NO_SDK,
    "dotnet run --project Orders": _NO_SDK,
    "worthit record --name checkout --schedule blocks.csv -- k6 run load.js": _LOAD_TOOL,
    "worthit record --name checkout --schedule blocks.csv -- jmeter -n -t plan.jmx": _LOAD_TOOL,
    ". .venv/bin/activate": "changes the shell that the next line is typed into",
}
"""Command -> why no test runs it."""


BLOCK = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
SHELLS = {"bash", "sh", "shell", "console"}
OURS = re.compile(r"(?:\.venv/bin/)?(?:worthit|make|locust|python -m|docker) [-\w]")
"""A line that begins with one of the programs that these pages are about."""

GENERATED = "command-line.md"
"""Written from the commands themselves, and held equal to them by a test of its own."""


def pages() -> list[Path]:
    """README.md and every page below docs/."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def fenced(page: Path) -> Iterator[str]:
    """Each command of the page's code blocks: all of a bash block, and ours in blocks of any kind.

    Continued lines are joined; comments, and what stands three spaces further right, are cut off.
    """
    text = page.read_text(encoding="utf-8")
    for kind, block in BLOCK.findall(text):
        for line in block.replace(" \\\n", " ").splitlines():
            command = re.sub(r"\s+#\s.*$|\s{3,}.*$", "", line.strip().removeprefix("run: "))
            if kind in SHELLS and command and not command.startswith("#"):
                yield from re.split(r"\s+&&\s+", command)
            elif OURS.match(command) and page.name != GENERATED:
                yield command


def inline(page: Path) -> Iterator[str]:
    """Each command in the page's running text: code that begins with a program of ours."""
    text = re.sub(
        r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )
    for code in re.findall(r"`([^`\n]+)`", text):
        if re.match(r"(worthit|make|python -m|locust) \S", code):
            yield code


def listed() -> set[str]:
    """Every command that is in one of the lists."""
    return {*RUN_HERE, *RUN_ELSEWHERE, *NOT_RUN}


if __name__ == "__main__":
    for path in pages():
        for found in fenced(path):
            if found not in listed():
                sys.stdout.write(f"{path.relative_to(ROOT)}: {found}\n")
