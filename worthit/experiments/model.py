"""What may stand in an experiment file, and what everything left out means.

The only place in worthit where an experiment's keys, defaults and limits are written. Read
with ``worthit.experiments.reading``, which turns what is wrong into a sentence.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from worthit.contract.scenario_arguments import Value as Setting
from worthit.experiments.scenarios import check_knobs, check_scenario

SERVICE_SETTINGS: Final = frozenset(
    {
        "REDIS_ENABLED",
        "PERSONALITY_TTL_SECONDS",
        "PERSONALITY_PREWARM",
        "PREFERENCES_CACHE_ENABLED",
        "MEMORY_CACHE_ENABLED",
        "CONVERSATION_BUFFER_ENABLED",
        "RATE_LIMIT_ENABLED",
        "RATE_LIMIT_PER_MINUTE",
        "PIPELINE",
        "LLM_MODEL",
        "EMBEDDING_MODEL",
        "DB_POOL_MIN",
        "DB_POOL_MAX",
    }
)
"""The service's settings that an arm may set, as docs/service.md lists them.

A closed list, because a misspelt setting would make two arms the same without a word."""

RESERVED_SETTINGS: Final = frozenset(
    {
        "DATABASE_URL",
        "REDIS_URL",
        "LLM_BASE_URL",
        "LLM_API_KEY",
        "LATENCY_PROFILE",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_EXPORTER_OTLP_HEADERS",
        "OTEL_SERVICE_NAME",
        "OTEL_SDK_DISABLED",
        "API_KEY",
    }
)
"""Settings that worthit itself gives to every arm."""

FIXED_SETTINGS: Final = frozenset(
    {
        "CHATS_MAX_IN_FLIGHT",
        "CONVERSATION_TTL_SECONDS",
        "CONVERSATION_TURNS",
        "DB_POOL_MAX_WAITING",
        "DB_POOL_TIMEOUT_SECONDS",
        "DB_STATEMENT_TIMEOUT_MS",
        "EMBEDDING_DIMENSIONS",
        "EMBEDDING_TIMEOUT_SECONDS",
        "FALLBACK_MAX_CONCURRENCY",
        "FALLBACK_MAX_WAITING",
        "FALLBACK_WAIT_SECONDS",
        "LATENCY_SEED",
        "LLM_MAX_CONNECTIONS",
        "LLM_PROVIDER",
        "LLM_RETRIES",
        "LLM_TIMEOUT_SECONDS",
        "LOG_CONTENT",
        "LOG_LEVEL",
        "MAX_BODY_BYTES",
        "MEMORIES_PER_REPLY",
        "MEMORY_TTL_SECONDS",
        "OTEL_METRIC_EXPORT_INTERVAL",
        "PERSONALITY_NEGATIVE_TTL_SECONDS",
        "PREFERENCES_TTL_SECONDS",
        "REDIS_MAX_CONNECTIONS",
        "REDIS_TIMEOUT_MS",
        "SHUTDOWN_SECONDS",
    }
)
"""The service's other settings: in every arm of every run they have the service's own defaults.

With the two sets above these are all that the service knows; a test holds this."""

REDIS_SETTINGS: Final = (
    "REDIS_ENABLED",
    "PREFERENCES_CACHE_ENABLED",
    "MEMORY_CACHE_ENABLED",
    "CONVERSATION_BUFFER_ENABLED",
    "RATE_LIMIT_ENABLED",
)
"""An arm that turns any of these on is given a Redis of its own."""

MAX_ARMS_AT_ONCE: Final = 4
"""More services than this are not up at the same time: memory, and a fair share of two cores."""


def _as_text(value: object) -> object:
    """Environment values are text; TOML's ``false`` and ``20`` are what a user writes."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    return value


def _as_knobs(knobs: dict[str, Setting]) -> dict[str, Setting]:
    check_knobs(knobs)
    return knobs


EnvironmentValue: TypeAlias = Annotated[str, BeforeValidator(_as_text)]
ArmName: TypeAlias = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._=-]{0,39}$")]
RatePerSecond: TypeAlias = Annotated[float, Field(gt=0, le=5000)]
Knobs: TypeAlias = Annotated[dict[str, Setting], AfterValidator(_as_knobs)]


class _Table(BaseModel):
    """A table of the file: unknown keys are an error, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Arm(_Table):
    """One configuration of the service under test."""

    name: ArmName
    baseline: bool = False
    """What the other arms are compared with; the first arm if no arm says so."""
    env: dict[str, EnvironmentValue] = {}
    knobs: Knobs = {}
    """Knobs of the scenario for this arm alone."""
    instances: int | None = Field(default=None, ge=1, le=16)
    """Processes of the service; the experiment's own number if absent."""
    fault: Literal["redis-hangs", "redis-gone"] | None = None
    """What happens to this arm's Redis once its warm-up is over, until the load's end."""

    @field_validator("env")
    @classmethod
    def _known(cls, env: dict[str, str]) -> dict[str, str]:
        for key in env:
            if key in RESERVED_SETTINGS:
                raise PydanticCustomError(
                    "reserved_setting", "{key} is set by worthit for every arm", {"key": key}
                )
            if key not in SERVICE_SETTINGS:
                raise PydanticCustomError(
                    "unknown_setting",
                    "unknown setting {key} of the service",
                    {"key": key, "known": sorted(SERVICE_SETTINGS)},
                )
        return env

    @property
    def uses_redis(self) -> bool:
        """Whether this arm is given a Redis."""
        return any(self.env.get(key, "false").lower() == "true" for key in REDIS_SETTINGS)


class Load(_Table):
    """The arrivals: how many, how long, in which order."""

    rates_per_s: Annotated[tuple[RatePerSecond, ...], Field(min_length=1, max_length=50)]
    """The steps, one offered rate each, in the order they are run."""
    arrivals: Literal["poisson", "even"] = "poisson"
    block_s: float = Field(default=10.0, ge=0.5, le=3600)
    """Length of one block; arrivals belong to the block of their intended time."""
    blocks: int = Field(default=6, ge=1, le=500)
    """Blocks of each arm at each step; under 6 there is no interval."""
    order: Literal["ABBA", "ABAB"] = "ABBA"
    """ABBA cancels a drift that is linear in time; ABAB is for experiments about drift itself."""
    warmup_s: float = Field(default=10.0, ge=0, le=3600)
    """One block of every arm before the first step, recorded and never counted."""
    warmup_rate_per_s: RatePerSecond | None = None
    """The first step's rate if absent."""
    pause_s: float = Field(default=0.0, ge=0, le=600)
    """No arrivals for this long between steps, for a backlog to drain."""
    find_limit: bool = False
    """The highest rates may be more than the machine can send: such steps are set aside, and the
    run is judged by those below."""
    knobs: Knobs = {}
    """Knobs of the scenario, such as ``cold_fraction``."""


class Data(_Table):
    """How the database is filled before the run, the same for every arm."""

    personalities: int | None = Field(default=None, ge=1, le=2_000_000)
    """As many as the arrivals can ask for, if absent."""
    users: int = Field(default=500, ge=1, le=1_000_000)
    memories_per_user: int = Field(default=5, ge=0, le=1000)


class Sweep(_Table):
    """One arm repeated with each of several values of one setting."""

    arm: ArmName
    """The arm that is repeated; it is replaced by one arm per value."""
    set: Annotated[str, Field(pattern=r"^(env\.[A-Z_]+|knobs\.[a-z_]+|instances)$")]
    """``env.NAME``, ``knobs.name`` or ``instances``."""
    values: Annotated[tuple[Setting, ...], Field(min_length=1, max_length=30)]

    def arms_of(self, arm: Arm) -> list[Arm]:
        """Give one arm per value if `arm` is the one to repeat, else the arm itself."""
        if arm.name != self.arm and not arm.name.startswith(f"{self.arm}."):
            return [arm]
        kind, _, key = self.set.partition(".")
        short = (key or kind).lower().removeprefix("personality_").removesuffix("_seconds")
        return [
            Arm.model_validate(
                {
                    **arm.model_dump(),
                    "name": f"{arm.name}.{short.replace('_', '-')}={_spelled(value)}",
                    "baseline": arm.baseline and index == 0,
                    **_change(arm, kind, key, value),
                }
            )
            for index, value in enumerate(self.values)
        ]


def _change(arm: Arm, kind: str, key: str, value: Setting) -> dict[str, object]:
    if kind == "env":
        return {"env": {**arm.env, key: value}}
    if kind == "knobs":
        return {"knobs": {**arm.knobs, key: value}}
    return {"instances": value}


def _spelled(value: Setting) -> str:
    return str(value).lower().replace("+", "")


def _sweep_fault(error: ValidationError, index: int) -> PydanticCustomError:
    """Say of the sweep what is wrong with an arm that it makes."""
    fault = error.errors()[0]
    context = fault.get("ctx", {})
    if "key" in context:
        place = "values" if fault["type"] == "knob_value" else "set"
        context = {"name": context["key"], "known": context.get("known", [])}
        what = fault["msg"]
    else:
        place, context = "values", {}
        what = (
            f"an arm of the sweep would have the {fault['loc'][0]} {fault['input']!r}; "
            f"{fault['msg'][:1].lower()}{fault['msg'][1:]}"
        )
    kind = fault["type"] if context else "sweep_value"
    return PydanticCustomError(
        kind, "{what}", {**context, "what": what, "at": ("sweep", index, place)}
    )


class Experiment(_Table):
    """What was changed, how it is loaded, for how long, and what is claimed."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,47}$")]
    question: str = Field(min_length=1, max_length=200)
    note: str = ""
    """What a reader of the report should know about the plan."""
    scenario: Annotated[str, AfterValidator(check_scenario)] = "chat"
    profile: Literal["seed", "native"] = "seed"
    seed: int = Field(default=1, ge=0, lt=2**31)
    instances: int = Field(default=1, ge=1, le=16)
    cpu_profile: bool = False
    """Whether the service's stacks are sampled during every measured block."""
    cached_operation: str | None = None
    """The span of the operation that the change is about."""
    cached_collection: str | None = None
    """The table whose queries the change is meant to save."""
    claims: tuple[str, ...] = ()
    """Files of claims to be checked when the run is done, relative to the experiment's file."""
    thresholds: tuple[str, ...] = ()
    """Limits to be kept, in k6's words: ``response_time: p(95)<6000``."""
    load: Load
    data: Data = Data()
    arms: Annotated[tuple[Arm, ...], Field(min_length=1, max_length=30)]
    sweep: Annotated[tuple[Sweep, ...], Field(max_length=3)] = ()

    @model_validator(mode="after")
    def _arms_are_distinct(self) -> Experiment:
        names = [arm.name for arm in self.arms]
        for index, name in enumerate(names):
            if name in names[:index]:
                raise PydanticCustomError(
                    "arm_twice",
                    "two arms are named {name}",
                    {"name": name, "at": ("arms", index, "name")},
                )
        for index, arm in enumerate(self.arms):
            if arm.fault is not None and not arm.uses_redis:
                raise PydanticCustomError(
                    "fault_without_redis",
                    "the arm {name} has no Redis that could fail",
                    {"name": arm.name, "at": ("arms", index, "fault")},
                )
        baselines = [index for index, arm in enumerate(self.arms) if arm.baseline]
        if len(baselines) > 1:
            raise PydanticCustomError(
                "baseline_twice",
                "two arms are the baseline",
                {"at": ("arms", baselines[1], "baseline")},
            )
        for index, sweep in enumerate(self.sweep):
            if sweep.arm not in names:
                raise PydanticCustomError(
                    "sweep_arm",
                    "the sweep repeats an arm named {name}, and there is none",
                    {"name": sweep.arm, "at": ("sweep", index, "arm"), "known": names},
                )
        return self

    @model_validator(mode="after")
    def _sweeps_make_arms(self) -> Experiment:
        arms = list(self.arms)
        for index, sweep in enumerate(self.sweep):
            try:
                arms = [variant for arm in arms for variant in sweep.arms_of(arm)]
            except ValidationError as error:
                raise _sweep_fault(error, index) from None
            names = [arm.name for arm in arms]
            for place, name in enumerate(names):
                if name in names[:place]:
                    raise PydanticCustomError(
                        "arm_twice",
                        "two arms are named {name}",
                        {"name": name, "at": ("sweep", index, "values")},
                    )
        return self

    def swept_arms(self) -> list[Arm]:
        """Give the arms with each swept one replaced by one per value."""
        arms = list(self.arms)
        for sweep in self.sweep:
            arms = [variant for arm in arms for variant in sweep.arms_of(arm)]
        return arms
