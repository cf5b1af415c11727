"""The history of benchmarks: a text file with one JSON object per line, one line per measurement."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import mpirefine

CHECKOUT = Path(mpirefine.__file__).resolve().parents[1]
CPU_INFO = Path("/proc/cpuinfo")


def git_id() -> str:
    """Commit of the checkout that the program runs from, with + for changed files; "unknown" without git."""
    words = ["git", "-C", str(CHECKOUT), "describe", "--always", "--dirty=+", "--abbrev=8"]
    try:
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def processor() -> str:
    """Model name of the processor."""
    if CPU_INFO.exists():
        for line in CPU_INFO.read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def append_history(path: Path, benchmark: str, figures: Mapping[str, object]) -> None:
    """Append a line to `path`: date (UTC), version, git id, machine, processor, cores, and a benchmark's figures.

    OSError when the file cannot be written.
    """
    line = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": mpirefine.__version__,
        "git": git_id(),
        "machine": platform.node(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "benchmark": benchmark,
        "figures": figures,
    }
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
