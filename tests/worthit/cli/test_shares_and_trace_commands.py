import json
from collections import Counter
from pathlib import Path
from typing import Any

import click
import jsonschema
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from analysis.errors import InputError
from tests.support.runs.synthetic_run import INVALID, Truth, write_run
from tests.support.traces import awkward_traces, trace_files
from tests.support.traces.span_tables import spans
from worthit.cli import shares, trace
from worthit.errors import UsageError

SMALL = Truth(rates_per_s=(10.0,), pairs=2)
"""Four blocks that count."""
SCHEMAS = Path(__file__).parents[3] / "docs" / "schemas"


def _call(command: click.Command, *arguments: object) -> Result:
    result = CliRunner().invoke(
        command, [str(argument) for argument in arguments], standalone_mode=False
    )
    if result.exception is not None:
        raise result.exception
    return result


@pytest.fixture(name="run", scope="module")
def _run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("run"))


def test_shares_of_a_run_leave_warm_up_out_and_carry_intervals(run: Path) -> None:
    """The JSON keeps its schema, shares add up to 1, and warm-up requests do not count."""
    manifest = json.loads((run / "manifest.json").read_text())

    document = json.loads(_call(shares.command, run, "--json", "--by", "all").stdout)

    jsonschema.validate(document, json.loads((SCHEMAS / "shares.schema.json").read_text()))
    assert 1 == pytest.approx(sum(row["share"] for row in document["shares"]))
    first = document["shares"][0]
    assert "chat sim-chat" == first["name"]
    assert first["share_low"] < first["share"] < first["share_high"]
    assert manifest.get("verdict", {"verdict": "UNJUDGED"})["verdict"] == document["verdict"]
    assert document["requests"] < manifest["recorded"]["requests"]
    assert document["other_definitions"].startswith("By another definition")


def test_shares_by_arm_keep_the_schema_and_the_table_is_text(run: Path) -> None:
    """Arms are apart without being asked for; without --json a user reads the table."""
    document = json.loads(_call(shares.command, run, "--json").stdout)

    jsonschema.validate(document, json.loads((SCHEMAS / "shares.schema.json").read_text()))
    assert {"off", "on"} == {row["arm"] for row in document["shares"]} == set(document["interval"])
    text = _call(shares.command, run, "--rules", "crisp").stdout
    assert "self share" in text
    assert "share of a request" in text
    assert "chat sim-chat" in text
    assert "95 % interval over" in text


@pytest.mark.parametrize("options", [("--by", "all"), ("--rules", "crisp")])
def test_shares_in_parts_are_the_shares_of_the_whole(run: Path, options: tuple[str, ...]) -> None:
    """--partitions changes not a byte of the answer, whatever is asked."""
    whole = _call(shares.command, run, "--json", *options).stdout

    assert whole == _call(shares.command, run, "--json", *options, "--partitions", 3).stdout


def test_awkward_traces_in_parts_have_the_same_issues(tmp_path: Path) -> None:
    """Issues are added up over parts, with the same examples, and empty parts do no harm."""
    table = awkward_traces.draw(np.random.default_rng(3), 15)
    table.to_parquet(tmp_path / "spans.parquet")

    whole = _call(shares.command, tmp_path, "--json").stdout

    assert {"cycle", "repeated span", "unfinished span"} < {
        row["issue"] for row in json.loads(whole)["trace_quality"]
    }
    assert whole == _call(shares.command, tmp_path, "--json", "--partitions", 12).stdout


def test_what_is_left_out_of_parts_is_said(tmp_path: Path) -> None:
    """--skip-damaged names the same damaged file with and without --partitions."""
    (tmp_path / "good.json").write_bytes(trace_files.text(trace_files.jaeger()))
    (tmp_path / "bad.json").write_bytes(b"{")

    whole = _call(shares.command, tmp_path, "--json", "--skip-damaged").stdout
    parts = _call(shares.command, tmp_path, "--json", "--skip-damaged", "--partitions", 2).stdout

    assert 1 == len(json.loads(whole)["damaged"])
    assert whole == parts
    with pytest.raises(InputError, match=r"bad\.json"):
        _call(shares.command, tmp_path, "--partitions", 2)


def test_an_invalid_run_says_so_first_and_in_the_exit_code(tmp_path: Path) -> None:
    """INVALID stands above the numbers and ends with 4."""
    run = write_run(tmp_path / "run", damage=INVALID)
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["verdict"] = {"verdict": "INVALID", "reasons": ["The load came late."]}
    (run / "manifest.json").write_text(json.dumps(manifest))

    result = _call(shares.command, run)

    assert "INVALID: The load came late." == result.stdout.splitlines()[0]
    assert 4 == result.return_value
    assert 4 == _call(trace.command, run).return_value


def test_a_trace_is_shown_as_a_tree(tmp_path: Path) -> None:
    """Any trace file is shown, the chosen request as a tree and as JSON that keeps its schema."""
    file = tmp_path / "traces"
    file.write_bytes(trace_files.text(trace_files.jaeger()))

    text = _call(trace.command, file, "--slowest").stdout.splitlines()
    document = json.loads(
        _call(trace.command, file, "--id", trace_files.TRACE[:6], "--json").stdout
    )

    assert f"Trace {trace_files.TRACE}, the slowest request" == text[0]
    assert text[3].startswith("POST /chat")
    assert text[4].startswith("  SELECT carts")
    jsonschema.validate(document, json.loads((SCHEMAS / "trace.schema.json").read_text()))
    assert [0, 1] == [span["depth"] for span in document["spans"]]
    assert "asked for" == document["chosen_as"]


def test_wrong_usage_and_bad_files_are_sentences(tmp_path: Path) -> None:
    """Contradicting options and unreadable files raise sentences."""
    with pytest.raises(UsageError, match="--slowest and --id both choose the request"):
        _call(trace.command, tmp_path, "--slowest", "--id", "7")
    with pytest.raises(InputError, match="is empty; a run directory or trace files"):
        _call(shares.command, tmp_path)


def test_damage_is_left_out_when_asked_and_said(tmp_path: Path) -> None:
    """--skip-damaged reads the rest and lists what it left out."""
    (tmp_path / "good").write_bytes(trace_files.text(trace_files.zipkin()))
    (tmp_path / "bad").write_text('{"resourceSpans": [')
    (tmp_path / "README.md").write_text("nothing")

    document = json.loads(_call(shares.command, tmp_path, "--skip-damaged", "--json").stdout)

    assert 1 == document["requests"]
    (sentence,) = document["damaged"]
    assert "bad is not whole JSON" in sentence
    text = _call(shares.command, tmp_path, "--skip-damaged").stdout
    assert "README.md is text that holds no traces" in text
    with pytest.raises(InputError, match="ask for the rest with --skip-damaged"):
        _call(shares.command, tmp_path)


def _shares(*arguments: object) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(_call(shares.command, *arguments, "--json").stdout)
    return document


def _judged(run: Path, verdict: str, *reasons: str) -> Path:
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["verdict"] = {"verdict": verdict, "reasons": list(reasons)}
    (run / "manifest.json").write_text(json.dumps(manifest))
    return run


def _number_anew(run: Path) -> None:
    """Number the blocks of each arm from 0, as a recording of somebody else's service may."""
    manifest = json.loads((run / "manifest.json").read_text())
    count: Counter[str] = Counter()
    numbers = {}
    for block in manifest["blocks"]:
        numbers[block["block"]] = block["block"] = count[block["arm"]]
        count[block["arm"]] += 1
    (run / "manifest.json").write_text(json.dumps(manifest))
    for table in ("spans", "requests"):
        rows = pd.read_parquet(run / f"{table}.parquet")
        rows.assign(block=rows["block"].map(numbers)).to_parquet(run / f"{table}.parquet")


def test_blocks_that_two_arms_number_alike_are_kept_apart(tmp_path: Path) -> None:
    """Where each arm has a block 0, shares are those of the run with one number a block."""
    through, anew = (write_run(tmp_path / name, SMALL) for name in ("through", "anew"))
    _number_anew(anew)

    expected, actual = _shares(through), _shares(anew)

    assert len(json.loads((through / "manifest.json").read_text())["blocks"]) > 2
    assert expected == actual == _shares(anew, "--partitions", 2)


def test_every_run_that_is_named_is_judged_and_counts_for_itself(tmp_path: Path) -> None:
    """Two runs, by name, in a folder or by their spans: twice the blocks, the worst verdict."""
    runs = tmp_path / "runs"
    first = _judged(write_run(runs / "first", SMALL), "VALID")
    second = _judged(write_run(runs / "second", SMALL), "INVALID", "The load came late.")
    one = _shares(first)

    both = _shares(first, second)

    assert 2 * one["requests"] == both["requests"]
    assert "2 blocks of spans" in one["interval"]["off"]
    assert "4 blocks of spans" in both["interval"]["off"]
    assert ("INVALID", ["second: The load came late."]) == (both["verdict"], both["reasons"])
    assert both == _shares(runs) == _shares(first / "spans.parquet", second / "spans.parquet")
    assert both == _shares(runs, "--partitions", 3)
    assert 4 == _call(trace.command, second / "spans.parquet").return_value


def test_traces_beside_a_run_are_no_part_of_it(tmp_path: Path) -> None:
    """Other traces count with a run's, all of them, and the run's warm-up still does not."""
    run = _judged(write_run(tmp_path / "run", SMALL), "SUSPECT", "Short.")
    (tmp_path / "other").write_bytes(trace_files.text(trace_files.jaeger()))

    both = _shares(run, tmp_path / "other")

    assert _shares(run)["requests"] + 1 == both["requests"]
    assert ("SUSPECT", ["Short."]) == (both["verdict"], both["reasons"])


def test_a_folder_of_runs_with_a_damaged_one_is_read_when_asked(tmp_path: Path) -> None:
    """--skip-damaged leaves a broken run out and says so; without, it is an error."""
    whole, broken = (write_run(tmp_path / name, SMALL) for name in ("whole", "broken"))
    (broken / "requests.parquet").unlink()

    with pytest.raises(InputError, match=r"requests\.parquet: the table is missing"):
        _shares(tmp_path)
    rest = _shares(tmp_path, "--skip-damaged")
    assert _shares(whole)["shares"] == rest["shares"]
    assert 1 == len(rest["damaged"])
    with pytest.raises(InputError, match=r"Nothing is left to be read\. .*table is missing"):
        _shares(broken, "--skip-damaged")


def test_a_deep_trace_is_as_wide_as_a_shallow_one(tmp_path: Path) -> None:
    """Beyond twenty levels the level is a number: 3,000 of them still make lines of 200."""
    spans = [
        {"traceId": "a" * 16, "id": f"{i + 1:016x}", "name": "step", "timestamp": i + 1,
         "duration": 4000 - i, **({"parentId": f"{i:016x}"} if i else {})}
        for i in range(3000)
    ]  # fmt: skip
    (tmp_path / "deep").write_bytes(trace_files.text(spans))

    lines = _call(trace.command, tmp_path / "deep").stdout.splitlines()

    assert max(map(len, lines)) < 200
    assert any(line.startswith(" " * 40 + "(2999) step") for line in lines)


def _questions(*arguments: object) -> list[dict[str, Any]]:
    document = _shares(*arguments)
    jsonschema.validate(document, json.loads((SCHEMAS / "shares.schema.json").read_text()))
    found: list[dict[str, Any]] = document["questions"]
    return found


@pytest.fixture(name="tail", scope="module")
def _tail(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hundred requests: ten wait 80 ms for the database, the others 10 ms."""
    rows: list[dict[str, object]] = []
    for n in range(100):
        took = 80 if n < 10 else 10
        trace = f"{n:032x}"
        rows.append({"id": "r", "trace": trace, "takes": took + 20 + n * 1e-3, "name": "GET /"})
        rows.append({"id": "d", "trace": trace, "parent": "r", "takes": took, "name": "db"})
    folder = tmp_path_factory.mktemp("tail")
    spans(*rows).to_parquet(folder / "spans.parquet")
    return folder


def test_slowest_explains_what_makes_requests_slow(tail: Path) -> None:
    """--slowest 10% names the operation that differs, in words and as JSON."""
    (found,) = _questions(tail, "--slowest", "10%")

    assert ("slowest", 10) == (found["question"], found["facts"]["slow_requests"])
    assert ("db", pytest.approx(1, abs=0.01)) == (
        found["rows"][0]["name"],
        found["rows"][0]["explains"],
    )
    text = _call(shares.command, tail, "--slowest", "10").stdout.replace("\u202f", " ")
    assert "What makes the slowest 10 % slow: 10 requests of " in text


def test_what_if_replays_every_request(tail: Path) -> None:
    """--what-if OPERATION=0 takes the operation's time out; two of them are two answers."""
    half, gone = _questions(tail, "--what-if", "db=0.5", "--what-if", "db=0")

    mean = {row["statistic"]: row for row in gone["rows"]}["mean"]
    assert (37.0, 20.0) == (round(mean["before_ms"]), round(mean["after_ms"]))
    assert (0.5, 0) == (half["facts"]["factor"], gone["facts"]["factor"])
    text = _call(shares.command, tail, "--what-if", "db=0").stdout
    assert "If db took none of its own time, 100 of 100 requests would be faster" in text


def test_waits_and_repeated_statements_are_listed(tmp_path: Path) -> None:
    """--waits finds a wait for the pool, --repeated the statement that a request runs often."""
    call = {"parent": "r", "kind": "CLIENT", "db": "postgresql", "takes": 2, "name": "SELECT"}
    spans(
        {"id": "r", "takes": 90, "kind": "SERVER", "name": "GET /cart"},
        {"id": "p", "parent": "r", "takes": 7, "name": "pool.acquire"},
        *({**call, "id": f"q{n}", "start": 10 + 3 * n} for n in range(4)),
    ).to_parquet(tmp_path / "spans.parquet")

    waits, repeated = _questions(tmp_path, "--waits", "--repeated")

    assert [("pool", "pool.acquire", 7.0)] == [
        (row["wait"], row["name"], row["total_ms"]) for row in waits["rows"]
    ]
    assert [("GET /cart", 4)] == [(row["caller"], row["max_repeats"]) for row in repeated["rows"]]
    text = _call(shares.command, tmp_path, "--waits", "--repeated").stdout
    assert "What requests wait for" in text
    assert "(N+1 queries)" in text


def test_clocks_that_differ_beyond_doubt_are_corrected_and_said(tmp_path: Path) -> None:
    """A callee 500 ms ahead: shares and trace put it into its caller, and say so."""
    spans(
        {"id": "a" * 16, "takes": 100, "service": "web", "start": 1000, "kind": "CLIENT"},
        {
            "id": "b" * 16,
            "parent": "a" * 16,
            "takes": 96,
            "service": "db",
            "start": 1502,
            "kind": "SERVER",
        },
    ).to_parquet(tmp_path / "spans.parquet")
    said = "The clock of db is about 500 ms ahead of that of web: 1 of 1 calls lie outside"

    right = _shares(tmp_path)

    assert [("web", "db")] == [(row["caller"], row["callee"]) for row in right["clock_skew"]]
    assert right["clock_skew"] == _shares(tmp_path, "--partitions", 2)["clock_skew"]
    (db,) = (row for row in right["shares"] if row["service"] == "db")
    assert 96 == pytest.approx(db["critical_ms"])
    for command in (shares.command, trace.command):
        text = _call(command, tmp_path).stdout.replace("\u202f", " ")
        assert f"{said} their caller's span. Its spans were moved." in text
    document = json.loads(_call(trace.command, tmp_path, "--json").stdout)
    jsonschema.validate(document, json.loads((SCHEMAS / "trace.schema.json").read_text()))
    assert [0, 2] == [round(span["start_ms"]) for span in document["spans"]]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--slowest", "60%"), "a part above 0% and below 50%"),
        (("--what-if", "db"), "OPERATION=FACTOR from 0 to 1"),
        (("--what-if", "bd=0.5"), "No operation is called bd; there are"),
        (("--slowest", "1%"), "100 requests have fewer than 5 above"),
        (("--waits", "--partitions", "2"), "leave out --partitions"),
    ],
)
def test_what_cannot_be_asked_is_wrong_usage(
    tail: Path, arguments: tuple[str, ...], said: str
) -> None:
    """A value that cannot be, an unknown operation and too few requests end with 2."""
    with pytest.raises((UsageError, click.UsageError)) as raised:
        _call(shares.command, tail, *arguments)

    assert said in str(raised.value)
    assert 2 == raised.value.exit_code
