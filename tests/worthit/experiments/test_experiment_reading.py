"""Experiment files: what is accepted, and what is said about the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.runs.experiments import SMALL, experiment
from worthit.contract.exit_codes import ExitCode
from worthit.errors import UsageError
from worthit.experiments import catalogue
from worthit.experiments.model import FIXED_SETTINGS, RESERVED_SETTINGS, SERVICE_SETTINGS
from worthit.experiments.reading import check_text, read_experiment

ROOT = Path(__file__).parents[3]


def test_values_are_read_with_their_defaults() -> None:
    """What the file leaves out has the documented default, and settings become text."""
    found = experiment()

    assert (
        found.scenario,
        found.profile,
        found.instances,
        found.load.arrivals,
        found.load.order,
    ) == ("chat", "seed", 1, "poisson", "ABBA")
    assert [a.env for a in found.arms] == [{"REDIS_ENABLED": "false"}, {"REDIS_ENABLED": "true"}]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "blocks = 4",
            "bloks = 4",
            "x.toml: load.bloks: unknown key; did you mean 'blocks'?",
        ),
        (
            "[load]",
            'profil = "seed"\n[load]',
            "x.toml: profil: unknown key; did you mean 'profile'?",
        ),
        (
            "rates_per_s = [5, 20]",
            "rates_per_s = [\n  5,\n  -20,\n]",
            ("x.toml: load.rates_per_s[1]: -20 was found; input should be greater than 0."),
        ),
        (
            "REDIS_ENABLED = true",
            "REDIS_ENABELD = true",
            (
                "x.toml: arms[1].env.REDIS_ENABELD: unknown setting REDIS_ENABELD of the service; "
                "did you mean 'REDIS_ENABLED'?"
            ),
        ),
        (
            "REDIS_ENABLED = true",
            'DATABASE_URL = "x"',
            (
                "x.toml: arms[1].env.DATABASE_URL: DATABASE_URL is set by worthit for every arm; "
                "take it out."
            ),
        ),
        (
            'name = "on"',
            'name = "off"',
            "x.toml: arms[1].name: two arms are named off; change one of them.",
        ),
        (
            "rates_per_s = [5, 20]\n",
            "",
            "x.toml: load.rates_per_s: missing; write [load] with rates_per_s = [10, 40].",
        ),
        (
            "blocks = 4",
            "blocks = ",
            "x.toml:6:10: this is not TOML: invalid value; correct this line.",
        ),
        (
            "block_s = 2",
            "block_s = 0.1",
            ("x.toml: load.block_s: 0.1 was found; input should be greater than or equal to 0.5."),
        ),
    ],
    ids=[
        "misspelt key",
        "unknown key at the root",
        "negative rate",
        "misspelt setting",
        "reserved setting",
        "arm twice",
        "missing key",
        "syntax",
        "too short a block",
    ],
)
def test_a_fault_is_told_with_its_keys_path(old: str, new: str, said: str) -> None:
    """A fault ends in one sentence that begins with the file and the key's path, exit code 2."""
    assert old in SMALL

    with pytest.raises(UsageError) as caught:
        check_text(SMALL.replace(old, new), name="x.toml")

    assert said == str(caught.value)
    assert ExitCode.WRONG_USAGE == caught.value.exit_code


def test_every_fault_is_told_at_once() -> None:
    """Two faults are two lines."""
    text = SMALL.replace("blocks = 4", "bloks = 4").replace('name = "small"', "name = 3")

    with pytest.raises(UsageError) as caught:
        check_text(text, name="x.toml")

    assert [line.split(": ")[1] for line in str(caught.value).splitlines()] == [
        "name",
        "load.bloks",
    ]


SWEEP = '[[sweep]]\narm = "on"\nset = "{set}"\nvalues = {values}\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            SMALL + SWEEP.format(set="env.REDIS_ENABELD", values="[true]"),
            (
                "x.toml: sweep[0].set: unknown setting REDIS_ENABELD of the service; "
                "did you mean 'REDIS_ENABLED'?"
            ),
        ),
        (
            SMALL + SWEEP.format(set="knobs.cold_fracton", values="[0.5]"),
            (
                "x.toml: sweep[0].set: no scenario has a knob cold_fracton; "
                "did you mean 'cold_fraction'?"
            ),
        ),
        (
            SMALL + SWEEP.format(set="knobs.cold_fraction", values="[0.5, -1]"),
            (
                "x.toml: sweep[0].values: the knob cold_fraction is -1; "
                "fraction from 0 to 1 was expected."
            ),
        ),
        (
            SMALL + SWEEP.format(set="instances", values="[1, 0]"),
            (
                "x.toml: sweep[0].values: an arm of the sweep would have the instances 0; "
                "input should be greater than or equal to 1."
            ),
        ),
        (
            SMALL + SWEEP.format(set="instances", values="[2, 2]"),
            "x.toml: sweep[0].values: two arms are named on.instances=2; change one of them.",
        ),
        (
            SMALL + SWEEP.format(set="env.LLM_MODEL", values=f"['{'m' * 40}']"),
            (
                "x.toml: sweep[0].values: an arm of the sweep would have the name "
                f"'on.llm-model={'m' * 40}'; string should match "
                "pattern '^[a-z0-9][a-z0-9._=-]{0,39}$'."
            ),
        ),
        (
            SMALL.replace("[load]", "[load]\nknobs = { cold_fraction = 'x' }"),
            (
                "x.toml: load.knobs.cold_fraction: the knob cold_fraction is 'x'; "
                "fraction from 0 to 1 was expected."
            ),
        ),
        (
            SMALL + "knobs = { popular = 1.5 }",
            (
                "x.toml: arms[1].knobs.popular: the knob popular is 1.5; "
                "whole number from 1 was expected."
            ),
        ),
        (
            SMALL.replace("[load]", 'scenario = "chatt"\n[load]'),
            "x.toml: scenario: there is no scenario chatt; did you mean 'chat'?",
        ),
    ],
    ids=[
        "misspelt setting",
        "misspelt knob",
        "value of a knob",
        "no instance",
        "one value twice",
        "too long a name",
        "knob is text",
        "half a user",
        "misspelt scenario",
    ],
)
def test_what_would_fail_later_is_told_with_its_keys_path(text: str, said: str) -> None:
    """Sweeps, knobs and scenarios that cannot be are refused before anything is started."""
    with pytest.raises(UsageError) as caught:
        check_text(text, name="x.toml")

    assert said == str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "There is no experiment file .*; 'worthit experiments' lists those at hand."),
        (b"\xff\xfe\x00", "is not UTF-8 text; an experiment is a TOML file."),
        (b"# x\n" * 300_000, "is too large for an experiment file; name a TOML file."),
    ],
    ids=["missing", "not text", "too large"],
)
def test_a_file_that_cannot_be_one_is_refused(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    """A missing, binary or huge file is refused in a sentence."""
    file = tmp_path / "x.toml"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(UsageError, match=said):
        read_experiment(file)


def test_the_service_settings_are_those_of_the_contract() -> None:
    """The settings an arm may name are on docs/service.md, others by their kind."""
    page = (ROOT / "docs" / "service.md").read_text(encoding="utf-8")
    table = page.split("## Settings")[1].split("For whoever operates it:")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| ")]
    named = {name.strip() for row in rows[1:] for name in row.split(",")}

    assert named == SERVICE_SETTINGS | ((RESERVED_SETTINGS | FIXED_SETTINGS) & named)
    assert named >= SERVICE_SETTINGS


def test_what_comes_along_is_found_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outside a clone experiments and claims are those that come along; a file here goes first."""
    monkeypatch.chdir(tmp_path)
    names = ("rate-sweep", "rate-sweep.toml", "experiments/rate-sweep.toml")
    shipped = ROOT / "experiments" / "rate-sweep.toml"
    claims = Path("claims/background.toml")

    assert {shipped} == {catalogue.experiment_file(Path(name)) for name in names}
    assert Path("rate-swep.toml") == catalogue.experiment_file(Path("rate-swep.toml"))
    assert ROOT / claims == catalogue.claims_file(claims)
    assert ROOT / claims == catalogue.claims_file(claims, tmp_path / "x.toml")
    (tmp_path / "claims").mkdir()
    (tmp_path / claims).touch()
    assert claims == catalogue.claims_file(claims)
    assert tmp_path / claims == catalogue.claims_file(claims, tmp_path / "x.toml")
