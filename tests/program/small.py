"""A simulated set on disk, and command lines run as a user would."""

import atexit
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from mpirefine.program import cli
from mpirefine.program.declaration import flag_of
from mpirefine.storage.images import open_images

ROOT = Path(__file__).resolve().parent.parent.parent
PARTICLES = 60


def make_set(folder, particles=PARTICLES, states=2, box=32, snr=2.0, apix=8.0, **more):
    """particles.star, particles.mrcs, seed_K.mrc, truth.npz in a new folder; `more` are options of the tool."""
    shutil.copytree(simulated(particles, states, box, snr, apix, tuple(more.items())), folder)
    return Path(folder)


@functools.cache
def simulated(particles, states, box, snr, apix, more):
    """A temporary folder with a set, simulated once for the session."""
    folder = tempfile.mkdtemp(prefix="mpirefine_set_")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    asked = {
        "particles": particles,
        "states": states,
        "box": box,
        "apix": apix,
        "snr": snr,
        "seed-resolution": 50,
        **dict(more),
    }
    words = [word for name, value in asked.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    tool = str(ROOT / "tools/make_phantom_set")
    subprocess.run([sys.executable, tool, folder, *words], check=True, env=clean_environment())
    return folder


def clean_environment():
    """Without what this process's own MPI left in the environment."""
    left = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("OMPI_", "PMIX_", "ORTE_", "PRTE_")) or "MCA" in name
    }
    left = {
        name: value
        for name, value in left.items()
        if not name.startswith(("OMPI_MCA_ess", "OMPI_MCA_orte", "OMPI_MCA_pmix"))
    }
    return {
        **left,
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "OMPI_MCA_rmaps_base_oversubscribe": "1",
        "OMPI_MCA_btl_vader_single_copy_mechanism": "none",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
    }


def command(*words, ranks=None, before=(), cwd=None, timeout=120):
    """Run `python -m mpirefine words`, under mpirun when `ranks` is given; the finished process."""
    launcher = ["mpirun", "-n", str(ranks)] if ranks else []
    return subprocess.run(
        [*before, *launcher, sys.executable, "-m", "mpirefine", *map(str, words)],
        cwd=cwd,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def basic(folder, **changes):
    """Words of a refinement of a set that takes seconds."""
    values = {
        "input": folder / "particles.star",
        "models": f"{folder / 'seed_0.mrc'},{folder / 'seed_1.mrc'}",
        "iter": 2,
        "delta": 12,
        "maxshift": 2,
        "targetres": 30,
        **changes,
    }
    flags = [(flag_of(name), value) for name, value in values.items()]
    return [word for flag, value in flags for word in ([flag] if value is True else [flag, str(value)])]


def run(line, *more):
    """A command in this process."""
    assert cli.main([*line.split(), *map(str, more)]) == 0


def read(path):
    """Images and headers of a file."""
    with open_images(path) as file:
        return file.read(range(file.count)), [file.header(i) for i in range(file.count)]


def alike(a, b):
    """Correlation of two arrays."""
    return np.corrcoef(np.ravel(a), np.ravel(b))[0, 1]
