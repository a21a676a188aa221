"""On what machine, with which versions, from which commit was this measured?"""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import psutil

from worthit.contract.manifest import Machine

COMMIT_TIMEOUT_S: Final = 5.0
"""A hanging git (a network file system) must not hold up a run."""


def machine() -> Machine:
    """Give the facts that decide whether two runs may be compared."""
    return Machine(
        cpus=_cpus(),
        cpu_model=_cpu_model(),
        memory_bytes=psutil.virtual_memory().total,
        os=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
    )


def versions(postgres: str, redis: str) -> dict[str, str | None]:
    """Give the versions of what took part; None for what is not there."""
    return {
        "worthit": _version("worthit"),
        "postgres": postgres or None,
        "redis": redis or None,
        "locust": _version("locust"),
        "opentelemetry-sdk": _version("opentelemetry-sdk"),
    }


def git_commit(folder: Path) -> str | None:
    """Give the commit of the source tree, with ``+changes`` when it differs; None outside one."""
    head = _git(folder, "rev-parse", "HEAD")
    if head is None:
        return None
    return f"{head}+changes" if _git(folder, "status", "--porcelain", "-uno") else head


def _cpus() -> int | None:
    """Give the processors this process may use, which a container may have fewer of."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        ended = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMIT_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return ended.stdout.strip() if ended.returncode == 0 else None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
