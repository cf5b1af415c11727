"""A fixed small set and what both ways make of it, to see that a change of the code that is meant to change no result
changes none.

`python -m tests.program.equality` writes the expected numbers anew, where results are meant to change.
"""

import tempfile
from pathlib import Path

import h5py
import numpy as np
import scipy.fft

from tests.program.small import ROOT, command

FOLDER = ROOT / "tests/data/equality"
EXPECTED = FOLDER / "expected.npz"
ITERATIONS = 2
WAYS = {
    "likelihood": ["--delta", "12"],
    "eman2": ["--preset", "eman2", "--orientgen", "eman:delta=20:inc_mirror=0:perturb=0"],
}


def refined(way, ranks, folder):
    """Label (p,) of every particle and maps (m, z, y, x) of the last iteration."""
    models = f"{FOLDER / 'seed_0.mrc'},{FOLDER / 'seed_1.mrc'}"
    done = command(
        "--input",
        FOLDER / "particles.star",
        "--models",
        models,
        "--targetres",
        30,
        "--iter",
        ITERATIONS,
        "--patience",
        0,
        "--path",
        folder,
        *WAYS[way],
        ranks=ranks,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with h5py.File(Path(folder) / "iterations" / f"{ITERATIONS:02d}.h5") as file:
        return {"label": file["assignments/model"][:], "map": file["volumes/map"][:]}


def rounding():
    """Numbers whose last bits tell how this processor's libraries round: where they differ, near ties between poses
    fall otherwise.
    """
    values = np.random.default_rng(1).standard_normal((64, 64), dtype=np.float32)
    return np.concatenate([(values @ values).ravel(), np.abs(scipy.fft.rfft2(values)).ravel()])


def main():
    """Write the expected numbers, of one rank."""
    with tempfile.TemporaryDirectory() as folder:
        found = {way: refined(way, 1, Path(folder) / way) for way in WAYS}
    np.savez_compressed(
        EXPECTED,
        rounding=rounding(),
        **{f"{way}/{name}": values for way in WAYS for name, values in found[way].items()},
    )


if __name__ == "__main__":
    main()
