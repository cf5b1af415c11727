"""Full-size maps against a reconstruction that shares no code with the program, from the poses and classes it wrote."""

import mrcfile
import numpy as np
import pytest
import starfile
from scipy.spatial.transform import Rotation

from mpirefine.maths.fourier.fsc import fsc
from mpirefine.program.run import start
from tests.program.small import make_set
from tests.program.test_refine import options

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quiet")]
PARTICLES, NX, APIX = 400, 48, 5.0
PAD = 2


def weak_phase_ctf(rows, optics, fx, fy):
    """CTF (h, k) of one particle, from the formulas of RELION's documentation; positive at low frequency."""
    volts, cs = float(optics.rlnVoltage) * 1e3, float(optics.rlnSphericalAberration) * 1e7
    wave = 12.2643247 / np.sqrt(volts * (1 + volts * 0.978466e-6))
    s2, angle = fx**2 + fy**2, np.arctan2(fy, fx) - np.radians(rows.rlnDefocusAngle)
    mean, half = (rows.rlnDefocusU + rows.rlnDefocusV) / 2, (rows.rlnDefocusU - rows.rlnDefocusV) / 2
    gamma = np.pi * wave * s2 * (mean + half * np.cos(2 * angle)) - np.pi / 2 * cs * wave**3 * s2**2
    contrast = float(optics.rlnAmplitudeContrast)
    return np.sqrt(1 - contrast**2) * np.sin(gamma) + contrast * np.cos(gamma)


def direct_reconstruction(folder, tables, model):
    """Map (z, y, x): CTF-weighted samples of each particle added to the nearest voxels of a padded transform."""
    particles, (optics,) = tables["particles"], tables["optics"].itertuples()
    images, big = mrcfile.read(folder / "particles.mrcs"), PAD * NX
    fy, fx = np.meshgrid(np.fft.fftfreq(NX), np.fft.rfftfreq(NX), indexing="ij")
    points = np.stack([fx, fy, 0 * fx], -1).reshape(-1, 3)
    values, weights = np.zeros((big,) * 3, complex), np.zeros((big,) * 3)
    for rows in particles[particles.rlnClassNumber == model + 1].itertuples():
        image = images[int(rows.rlnImageName.split("@")[0]) - 1]
        x, y = NX // 2 - rows.rlnOriginXAngst / APIX, NX // 2 - rows.rlnOriginYAngst / APIX
        ctf = weak_phase_ctf(rows, optics, fx / APIX, fy / APIX)
        sample = (np.fft.rfft2(image) * np.exp(2j * np.pi * (fx * x + fy * y)) * ctf).ravel()
        angles = rows.rlnAngleRot, rows.rlnAngleTilt, rows.rlnAnglePsi
        view = Rotation.from_euler("ZYZ", angles, degrees=True).inv().as_matrix()
        x, y, z = np.rint(points @ view * big).astype(int).T
        for sign, value in ((1, sample), (-1, sample.conj())):
            np.add.at(values, (sign * z % big, sign * y % big, sign * x % big), value)
            np.add.at(weights, (sign * z % big, sign * y % big, sign * x % big), (ctf**2).ravel())
    padded = np.fft.fftshift(np.fft.ifftn(values / (weights + 0.1 * weights.mean() + 1e-3)).real)
    middle = slice((big - NX) // 2, (big + NX) // 2)
    return padded[middle, middle, middle]


@pytest.mark.ranks(1, 2)
def test_full_size_maps_are_as_good(team, shared_tmp):
    """Within 2 % of the FSC with the true map, mean over the rings where that of the direct one exceeds 0.5."""
    folder = team.from_root(make_set, shared_tmp / "set", PARTICLES, 2, NX, 0.5, APIX)
    run = shared_tmp / "run"
    start(options(folder, path=run, held_out=0, iter=2, targetres=25), team)
    if not team.is_root:
        return
    tables, axis = starfile.read(run / "particles.star"), np.arange(NX) - NX // 2
    radius = np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2)
    mask = np.clip((0.42 * NX - radius) / 4 + 0.5, 0, 1)
    for model in (0, 1):
        truth = mrcfile.read(folder / f"truth_{model}.mrc") * mask
        direct = fsc(direct_reconstruction(folder, tables, model) * mask, truth)
        own = fsc(mrcfile.read(run / f"threed_02_0{model + 1}_full.mrc") * mask, truth)
        clear = np.flatnonzero(direct[1 : NX // 2] > 0.5) + 1
        assert len(clear) > 8
        assert own[clear].mean() > 0.98 * direct[clear].mean()
