"""docker-compose.yml and deploy/ against the specification and the code that they start."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import socket
import subprocess
import sys
import threading
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlsplit

import click
import jsonschema
import pytest
import yaml

from deploy import make_env
from reference_service.settings import Settings
from tests.support.project import compose_file
from tests.support.project.compose_file import example_settings, services, strings
from tests.support.project.source_tree import ROOT

SECRETS = {
    "POSTGRES_PASSWORD": "pg-secret",
    "REDIS_PASSWORD": "redis-secret",
    "JUPYTER_TOKEN": "t",
}
ONE_SHOT = {"init"}
OWN_MODULES = {"recorder": "worthit.recorder", "simulator": "worthit.simulator"}

LISTENING = {
    "postgres": {5432},
    "redis": {6379},
    "jaeger": {4317, 4318, 13133, 16685, 16686},
    "collector": {4317, 4318, 13133},
    "recorder": {4317, 4318},
    "simulator": {8080},
    "service": {8000},
    "service-replica": {8000},
    "locust-master": {5557, 8089},
    "jupyter": {8888},
}
"""Ports inside each container; the tests below hold them to what is configured or started."""


def test_the_file_is_what_the_specification_allows() -> None:
    """docker-compose.yml is valid under the Compose specification's own JSON schema, 2020-12."""
    vendored = files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json"
    schema = json.loads(vendored.read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(schema)

    faults = [
        f"{e.json_path}: {e.message}" for e in validator.iter_errors(compose_file.document())
    ]

    assert faults == []
    broken = {"services": {"a": {"image": "x", "prots": ["1:1"]}}}
    assert not validator.is_valid(broken)


def test_only_the_loopback_is_published() -> None:
    """Every published port is bound to 127.0.0.1, once, and leads to one that is listened on."""
    published = [(name, port) for name, s in services().items() for port in s.get("ports", [])]
    hosts = [port.split(":")[0] for _, port in published]
    outside = [port.split(":")[1] for _, port in published]

    assert set(hosts) == {"127.0.0.1"}
    assert len(outside) == len(set(outside))
    for name, port in published:
        assert int(port.split(":")[2]) in LISTENING[name], (name, port)


def test_no_secret_stands_in_a_file() -> None:
    """Passwords come from .env alone: required by Compose, empty in the example, in no image."""
    text = compose_file.FILE.read_text(encoding="utf-8")
    required = set(re.findall(r"\$\{([A-Z_]+):\?", text))
    named = re.findall(
        r"^\s*([A-Z_]*(?:PASSWORD|TOKEN|SECRET)[A-Z_]*):\s*(\S+)", text, re.MULTILINE
    )

    assert required == set(SECRETS)
    assert {name: example_settings()[name] for name in required} == dict.fromkeys(required, "")
    assert all(value.startswith("${") for _, value in named)
    assert re.findall(r"://[^:/\s]*:(?!\$\{)[^@\s]+@", text) == []
    assert ".env" in (ROOT / ".gitignore").read_text(encoding="utf-8").split()
    assert (ROOT / ".dockerignore").read_text(encoding="utf-8").split("\n")[1] == "*"


def test_every_variable_is_in_the_example() -> None:
    """.env.example names exactly the variables that docker-compose.yml asks for, same defaults."""
    text = compose_file.FILE.read_text(encoding="utf-8")
    asked = {match["name"]: match["rest"] for match in compose_file.VARIABLE.finditer(text)}
    example = example_settings()

    assert set(asked) == set(example)
    for name in set(asked) - set(SECRETS):
        assert example[name] == asked[name], name


def test_a_missing_secret_stops_compose_with_the_remedy() -> None:
    """Without a secret Compose is told to say how to get one."""
    text = compose_file.FILE.read_text(encoding="utf-8")
    messages = set(re.findall(r"\$\{[A-Z_]+:\?([^}]*)\}", text))

    assert messages == {"run python deploy/make_env.py first"}
    with pytest.raises(KeyError, match="REDIS_PASSWORD"):
        compose_file.environment("redis", {})


def test_make_env_fills_each_secret_and_nothing_else(tmp_path: Path) -> None:
    """Each secret is random and its own, other settings stay, an existing .env is not touched."""
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    (tmp_path / ".env.example").write_text(example, encoding="utf-8")

    assert make_env.main(tmp_path) == 0
    written = (tmp_path / ".env").read_text(encoding="utf-8")
    assert make_env.main(tmp_path) == 0

    values = dict(line.split("=", 1) for line in written.splitlines() if line[:1].isupper())
    secrets = [values[name] for name in SECRETS]
    assert written == (tmp_path / ".env").read_text(encoding="utf-8")
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600
    assert len(set(secrets)) == len(SECRETS)
    assert all(re.fullmatch(r"[0-9a-f]{48}", secret) for secret in secrets)
    kept = {k: v for k, v in values.items() if k not in SECRETS}
    assert kept == {k: v for k, v in example_settings().items() if k not in SECRETS}


def test_make_env_asked_for_help_writes_nothing(tmp_path: Path) -> None:
    """--help prints and ends; so does an option that does not exist."""
    (tmp_path / "deploy").mkdir()
    shutil.copy(ROOT / "deploy/make_env.py", tmp_path / "deploy")
    shutil.copy(ROOT / ".env.example", tmp_path)
    script = [sys.executable, str(tmp_path / "deploy/make_env.py")]

    helped = subprocess.run([*script, "--help"], capture_output=True, text=True, check=True)
    refused = subprocess.run([*script, "--force"], capture_output=True, text=True, check=False)

    assert "Write .env" in helped.stdout
    assert refused.returncode == 2
    assert not (tmp_path / ".env").exists()
    subprocess.run(script, check=True, capture_output=True)
    assert (tmp_path / ".env").exists()


def test_every_service_is_watched_limited_and_restarted() -> None:
    """Each long-running service has a health check, a restart and limits of three kinds."""
    for name, service in services().items():
        limits = service["deploy"]["resources"]["limits"]
        assert {"cpus", "memory", "pids"} == set(limits), name
        if name in ONE_SHOT:
            assert service["restart"] == "no"
            continue
        assert service["restart"] == "unless-stopped", name
        assert {"test", "interval", "timeout", "retries", "start_period"} <= set(
            service["healthcheck"]
        ), name


def test_containers_can_do_little() -> None:
    """All but PostgreSQL write nowhere but /tmp and volumes, and have no capabilities."""
    for name, service in services().items():
        if name != "postgres":
            assert service["read_only"] is True, name
            assert service["cap_drop"] == ["ALL"], name
            assert service["security_opt"] == ["no-new-privileges:true"], name


def test_the_order_of_start_is_said_by_health() -> None:
    """Nothing waits merely for a start: one-shot ones must have ended well, others be healthy."""
    for name, service in services().items():
        for other, wait in service.get("depends_on", {}).items():
            expected = "service_completed_successfully" if other in ONE_SHOT else "service_healthy"
            assert wait == {"condition": expected}, (name, other)
            assert other in services()


def test_the_named_service_and_its_replicas_are_one_definition() -> None:
    """The replicas differ from the named instance by name, port, scale and build alone."""
    named, replica = services()["service"], services()["service-replica"]
    own = {"container_name", "ports", "scale", "build"}

    assert {k: v for k, v in named.items() if k not in own} == {
        k: v for k, v in replica.items() if k not in own
    }
    assert named["container_name"] == "ai_companion_service_dev"
    assert replica["scale"] == 0
    assert "container_name" not in replica
    assert named["networks"]["default"]["aliases"] == ["chat"]


def test_nothing_scalable_has_a_container_name() -> None:
    """Compose refuses two containers of one name, so what may be scaled has none."""
    named = {name for name, s in services().items() if "container_name" in s}

    assert named == {"postgres", "redis", "service"}
    assert all("scale" not in services()[name] for name in named)


def test_the_write_ups_own_commands_find_what_they_name() -> None:
    """Its containers have their names, Redis keeps KEYS, GET and MONITOR, hits are logged.

    The write-up types ``docker exec -it ai_companion_redis_dev redis-cli -a $REDIS_PASSWORD``,
    ``docker logs ai_companion_service_dev`` and asks http://localhost:8000/chat.
    """
    conf = (ROOT / "deploy/redis/redis.conf").read_text(encoding="utf-8")
    names = {
        key: one["container_name"] for key, one in services().items() if "container_name" in one
    }

    assert names == {
        "postgres": "ai_companion_postgres_dev",
        "redis": "ai_companion_redis_dev",
        "service": "ai_companion_service_dev",
    }
    assert re.findall(r"^\s*(rename-command|user |aclfile).*", conf, re.MULTILINE) == []
    assert example_settings()["LOG_LEVEL"] == "DEBUG"
    assert services()["service"]["ports"] == ["127.0.0.1:8000:8000"]
    assert "REDIS_PASSWORD" in example_settings()


def test_commands_of_the_service_parse() -> None:
    """Serving, creating the schema and filling it are commands that the service's parser takes."""
    program = importlib.import_module("reference_service.__main__").main
    assert isinstance(program, click.Group)
    script = compose_file.command("init")[2]
    calls = [call.split()[3:] for call in script.replace("exec ", "").split("&&")]

    served = program.make_context("serve", compose_file.command("service")[3:]).params
    assert (served["host"], {served["port"]}) == ("0.0.0.0", LISTENING["service"])
    assert [verb for verb, *_ in calls] == ["init-db", "seed"]
    for verb, *words in calls:
        program.commands[verb].make_context(verb, words)


@pytest.mark.parametrize(("name", "module"), OWN_MODULES.items())
def test_commands_of_our_own_parts_parse(name: str, module: str) -> None:
    """The recorder's and the simulator's own parsers take their commands; both listen outside."""
    words = compose_file.command(name)
    parser = importlib.import_module(f"{module}.__main__").command
    assert isinstance(parser, click.Command)

    context = parser.make_context(module, words[3:])

    ports = {value for key, value in context.params.items() if key.endswith("port")}
    assert words[:3] == ["python", "-m", module]
    assert context.params["host"] == "0.0.0.0"
    assert ports == LISTENING[name]


def test_the_services_environment_is_the_services() -> None:
    """Each variable is a setting or OpenTelemetry's, and together they validate."""
    known = {name.upper() for name in Settings.model_fields}
    shown = compose_file.environment("service", SECRETS)
    settings = Settings(_env_file=None, **{k.lower(): v for k, v in shown.items()})
    prepared = compose_file.environment("init", SECRETS)

    others = (set(shown) | set(prepared)) - known
    assert {"OTEL_"} == {name[:5] for name in others}
    assert settings.database_url.get_secret_value() == prepared["DATABASE_URL"]
    assert shown["REDIS_URL"] == "redis://:redis-secret@redis:6379/0"


def test_addresses_name_services_and_ports_that_listen() -> None:
    """Each URL in an environment or a command leads to a service of the file and a port it has."""
    aliases = {"chat": "service"}
    found = []
    for name, service in services().items():
        texts = strings(service.get("environment", {})) + strings(service.get("command", []))
        for text in (compose_file.filled(t, SECRETS) for t in texts):
            if "://" in text:
                parts = urlsplit(text)
                host = aliases.get(parts.hostname or "", parts.hostname)
                found.append((name, host, parts.port))

    assert all(port in LISTENING[host] for _, host, port in found)
    assert len(found) >= 8


def test_health_checks_ask_a_port_of_their_own() -> None:
    """Each HTTP health check asks 127.0.0.1 on a port that its own container listens on."""
    asked = set()
    for name, service in services().items():
        for text in strings(service.get("healthcheck", {}).get("test", [])):
            for port in re.findall(r"(?:http://|/dev/tcp/)127\.0\.0\.1[:/](\d+)", text):
                assert int(port) in LISTENING[name], name
                asked.add(name)

    assert asked >= {"service", "recorder", "simulator", "collector", "locust-master", "jupyter"}


def test_no_health_check_starts_an_interpreter() -> None:
    """Python's start cost 0.5 s of CPU on a busy machine, seven times every five seconds."""
    programs = {
        service["healthcheck"]["test"][1].split()[0].rpartition("/")[2]
        for name, service in services().items()
        if name not in ONE_SHOT and service["healthcheck"]["test"][0] == "CMD"
    }

    assert programs == {"bash", "wget", "pg_isready"}


@pytest.mark.parametrize(
    ("answer", "healthy"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", True),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", False),
        (b"", False),
        (None, False),
    ],
)
def test_the_service_is_healthy_when_it_answers_200(
    answer: bytes | None,
    healthy: bool,  # noqa: FBT001 - a parameter of the test's
) -> None:
    """The check of the file, run by a real bash: 200, 503, closed at once, nothing listening."""
    check = services()["service"]["healthcheck"]["test"][1:]
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        if answer is None:
            server.close()
        else:
            threading.Thread(target=_answer_once, args=(server, answer), daemon=True).start()
        command = [word.replace("/8000", f"/{port}").replace("$$", "$") for word in check]
        ended = subprocess.run(command, capture_output=True, timeout=20, check=False)

    assert (ended.returncode == 0) is healthy


def _answer_once(server: socket.socket, answer: bytes) -> None:
    connection, _ = server.accept()
    with connection:
        asked = b""
        while not asked.endswith(b"\r\n\r\n"):
            asked += connection.recv(1000)
        assert asked.startswith(b"GET /readyz HTTP/1.0\r\n")
        connection.sendall(answer)


def test_what_is_mounted_exists() -> None:
    """Bound files exist, read-only; a service's command names the file where it is mounted."""
    declared = set(compose_file.document()["volumes"])
    used = set()
    for name, service in services().items():
        for volume in service.get("volumes", []):
            source, target, *mode = volume.split(":")
            if not source.startswith("./"):
                used.add(source)
                continue
            assert mode == ["ro"], (name, volume)
            if source != "./runs":
                assert (ROOT / source).exists(), volume
                assert (
                    any(target in text for text in strings(service["command"]))
                    or target == "/docker-entrypoint-initdb.d"
                ), volume
    assert used == declared


def test_the_collector_sends_every_trace_to_both() -> None:
    """Traces go to Jaeger and to the recorder, unsampled, through parts that are all defined."""
    config = yaml.safe_load((ROOT / "deploy/otel-collector/config.yaml").read_text())
    pipelines = config["service"]["pipelines"]
    hosts = {key: urlsplit(value["endpoint"]) for key, value in config["exporters"].items()}

    assert {hosts[name].hostname for name in pipelines["traces"]["exporters"]} == {
        "jaeger",
        "recorder",
    }
    for url in hosts.values():
        assert url.port in LISTENING[url.hostname or ""]
    for pipeline in pipelines.values():
        for kind in ("receivers", "processors", "exporters"):
            assert set(pipeline[kind]) <= set(config[kind])
        assert [p for p in pipeline["processors"] if "sampl" in p] == []
    protocols = config["receivers"]["otlp"]["protocols"].values()
    ports = {int(p["endpoint"].rpartition(":")[2]) for p in protocols}
    ports.add(int(config["extensions"]["health_check"]["endpoint"].rpartition(":")[2]))
    assert ports == LISTENING["collector"]


def test_jaeger_listens_where_the_others_look() -> None:
    """Jaeger's configuration has the ports that the rest relies on, and parts that are defined."""
    text = (ROOT / "deploy/jaeger/config.yaml").read_text(encoding="utf-8")
    config = yaml.safe_load(text)
    ports = {int(port) for port in re.findall(r"endpoint: 0\.0\.0\.0:(\d+)", text)}
    storage = config["extensions"]["jaeger_storage"]["backends"]

    assert ports == LISTENING["jaeger"]
    assert set(config["service"]["extensions"]) == set(config["extensions"])
    assert config["extensions"]["jaeger_query"]["storage"]["traces"] in storage
    assert config["exporters"]["jaeger_storage_exporter"]["trace_storage"] in storage


def test_redis_and_postgres_listen_where_the_others_look() -> None:
    """redis.conf has Redis' port; PostgreSQL loads what its start-up script then creates."""
    conf = (ROOT / "deploy/redis/redis.conf").read_text(encoding="utf-8")
    sql = (ROOT / "deploy/postgres/10-extensions.sql").read_text(encoding="utf-8")
    extensions = set(re.findall(r"CREATE EXTENSION IF NOT EXISTS (\w+);", sql))

    assert {int(port) for port in re.findall(r"^port (\d+)$", conf, re.MULTILINE)} == {6379}
    assert extensions == {"vector", "pg_stat_statements"}
    assert "shared_preload_libraries=pg_stat_statements" in compose_file.command("postgres")


def test_the_password_of_redis_is_not_on_its_command_line() -> None:
    """The variable is left for the container's shell, so that `docker top` shows no password."""
    words = compose_file.command("redis", SECRETS)

    assert "redis-secret" not in " ".join(words)
    assert "requirepass $REDIS_PASSWORD" in words[2]
    assert words[2].endswith("exec redis-server /tmp/redis.conf")
