"""Optics groups that differ in box, pixel size, beam tilt and magnification, from the particle file to the results."""

import mrcfile
import numpy as np
import pandas
import pytest
import starfile

from mpirefine.data.grid import Grid
from mpirefine.data.lens import Lens
from mpirefine.maths.fourier.filters import resample
from mpirefine.maths.fourier.fsc import fsc
from mpirefine.maths.image.aberrations import odd_phase, with_tilt
from mpirefine.maths.image.resampling import Resampler, shift_to_image
from mpirefine.program.run import start
from mpirefine.storage.mrc import read_volume, write_stack
from mpirefine.storage.star import read_star
from tests.arrays import load_npz
from tests.program.small import make_set
from tests.program.test_refine import options

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quiet")]
PARTICLES, NX, APIX = 80, 48, 5.0
TILT = (2.0, -1.0)  # mrad
PLAIN = Lens("plain", Grid(NX, APIX))
FINE = Lens("fine", Grid(60, 4.0))
BENT = Lens("bent", Grid(NX, APIX), ((1.03, 0.0), (0.0, 1.0)), with_tilt((), TILT, 2.7, 300.0))


def record(images, lens):
    """Images (p, y, x) of PLAIN as another lens records them."""
    inverse = tuple(map(tuple, np.linalg.inv(lens.magnification)))
    made = Resampler(Lens("", PLAIN.grid, inverse), lens.grid)(images)
    fy, fx = lens.grid.frequencies()
    (a, b), (c, d) = lens.magnification
    phase = odd_phase(lens, a * fx + b * fy, c * fx + d * fy)
    return np.fft.irfft2(np.fft.rfft2(made) * np.exp(1j * phase), s=made.shape[1:]).astype(np.float32)


def mixed_set(folder, lens):
    """The set `folder`/base, and `folder`/mixed, in which every second particle was recorded with `lens`."""
    base = make_set(folder / "base", PARTICLES, 2, NX, 1.0, APIX)
    tables, images = starfile.read(base / "particles.star"), mrcfile.read(base / "particles.mrcs")
    (folder / "mixed").mkdir()
    write_stack(folder / "mixed/a.mrcs", images[::2], APIX)
    write_stack(folder / "mixed/b.mrcs", record(images[1::2], lens), lens.grid.apix)
    particles = tables["particles"]
    particles["rlnImageName"] = [f"{row // 2 + 1:06d}@{'ab'[row % 2]}.mrcs" for row in range(PARTICLES)]
    particles["rlnOpticsGroup"] = [1 + row % 2 for row in range(PARTICLES)]
    optics = {
        "rlnOpticsGroup": [1, 2],
        "rlnOpticsGroupName": ["first", "other"],
        "rlnVoltage": [300.0] * 2,
        "rlnSphericalAberration": [2.7] * 2,
        "rlnAmplitudeContrast": [0.1] * 2,
        "rlnImagePixelSize": [APIX, lens.grid.apix],
        "rlnImageSize": [NX, lens.grid.nx],
        "rlnBeamTiltX": [0.0, TILT[0] if lens.odd else 0.0],
        "rlnBeamTiltY": [0.0, TILT[1] if lens.odd else 0.0],
    }
    for place, value in enumerate(np.ravel(lens.magnification)):
        optics[f"rlnMagMat{place // 2}{place % 2}"] = [float(place in (0, 3)), value]
    made = {"optics": pandas.DataFrame(optics), "particles": particles}
    starfile.write(made, folder / "mixed/particles.star")


@pytest.mark.ranks(1, 2)
@pytest.mark.parametrize("lens", [FINE, BENT], ids=["fine", "bent"])
def test_half_of_the_particles_of_another_lens(team, shared_tmp, lens):
    """Labels are right in both groups, shifts are in the frame of each group's images, full-size maps are made from all
    of them, and the log says what is corrected.
    """
    team.from_root(mixed_set, shared_tmp, lens)
    base, run = shared_tmp / "base", shared_tmp / "run"
    mixed = dict(input=shared_tmp / "mixed/particles.star", held_out=0, maxshift=5, targetres=20, verbose=1)
    start(options(base, path=run, **mixed), team)
    if not team.is_root:
        return
    truth, found = load_npz(base / "truth.npz"), read_star(run / "particles.star")["particles"]
    right = found.floats("rlnClassNumber") - 1 == truth["label"]
    assert right[::2].mean() > 0.9 and right[1::2].mean() > 0.9
    origin = np.stack([found.floats(f"rlnOrigin{axis}Angst") for axis in "XY"], 1)
    wanted = truth["shift"] * APIX
    wanted[1::2] = shift_to_image(lens, wanted[1::2])
    off = np.hypot(*(origin + wanted).T)
    assert np.median(off[::2]) < 3 and np.median(off[1::2]) < 3
    full = read_volume(run / "threed_02_01_full.mrc")[0]
    true = resample(read_volume(base / "truth_0.mrc")[0], PLAIN.grid, lens.grid)
    assert full.shape == (lens.grid.nx,) * 3
    assert fsc(full, true)[1:9].min() > 0.8
    log = (run / "run.log").read_text()
    if lens is FINE:
        assert "40 particles of 48 px, 5.000 Å/px, 40 particles of 60 px, 4.000 Å/px; 2 maps" in log
        assert "images of different boxes and pixel sizes are brought to" in log
    else:
        assert "lens errors that are corrected: magnification by 3 % of optics group other" in log
        assert "too small to be corrected in matching: beam tilt of optics group other (1.1°)" in log
