"""Command lines as users of e2refinemulti type them, run to the end on a small set: the right maps, EMAN2's files,
taken up again.
"""

import json
from dataclasses import replace

import numpy as np
import pytest

from mpirefine.data.emanctf import EmanCTF
from mpirefine.maths.eman2.ctf import from_params, phase_flip
from mpirefine.program.cli import Parser
from mpirefine.program.options import Options, add_to
from mpirefine.program.run import resume, start
from mpirefine.program.validation import validate
from mpirefine.storage.eman2 import lst
from mpirefine.storage.images import open_images, write_images
from mpirefine.storage.particle_file import read_particles
from mpirefine.storage.stack import ParticleStack
from tests.arrays import load_npz
from tests.eman_lists import write_lst
from tests.program.small import make_set

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quiet")]
PARTICLES = 48
COARSE = "--orientgen=eman:delta=30:inc_mirror=0:perturb=0"
LINES = {
    "of now": "--preset eman2 --input={set}/particles.lst --models={set}/seed_0.mrc,{set}/seed_1.mrc --sym=c1,c2 "
    "--iter=1 --targetres=30 --sep=1 "
    "--mass=300 --simcmp=frc:snrweight=1:maxres=30 --classkeep=0.9 --m3dkeep=0.8 --parallel=thread:4 " + COARSE,
    "of 2011, twostage": "--preset eman2-2011 --input={set}/particles.star "
    "--models={set}/seed_0.mrc,{set}/seed_1.mrc --iter=1 --sym=c1 --twostage=2 "
    "--simalign=rotate_translate_flip --simaligncmp=ccc --simralign=refine --simraligncmp=ccc --simcmp=ccc --sep=2 "
    "--classiter=1 --classaligncmp=ccc --classcmp=ccc --m3diter=2 --targetres=30 " + COARSE,
    "of 2011, usefilt": "--preset=eman2-2011 --input={set}/particles.lst --usefilt={set}/filtered.hdf "
    "--models={set}/seed_0.mrc,{set}/seed_1.mrc "
    "--iter=1 --sym=c2,c1 --simcmp=frc:snrweight=1:maxres=30 --simaligncmp=ccc --classiter=0 --classkeep=0.8 "
    "--classkeepsig --shrink=2 --prefilt --m3diter=1 --targetres=30 " + COARSE,
    "of 2011, automask3d and mass": "--preset=eman2-2011 --input={set}/particles.star "
    "--models={set}/seed_0.mrc,{set}/seed_1.mrc --iter=2 --sym=c1 "
    "--mass=300,320 --automask3d=0.6,5,2,2,10 --simcmp=ccc --simaligncmp=ccc --twostage=2 --classiter=0 --pad=40 "
    "--m3diter=1 --m3dpostprocess=filter.lowpass.gauss:cutoff_freq=0.04 --targetres=30 " + COARSE,
    "back-projection": "--input={set}/particles.star --models={set}/seed_0.mrc,{set}/seed_1.mrc --iter=1 --sym=c1,c2 "
    "--recon=back_projection --classiter=0 --targetres=30 " + COARSE,
    "own defaults": "--input={set}/particles.star --models={set}/seed_0.mrc,{set}/seed_1.mrc --iter=1 "
    "--classaverager=mean --classautomask "
    "--classrefsf --recon=fourier:mode=gauss_5 --projector=gauss_fft:mode=2 --prethreshold --treeclassify "
    "--targetres=30 "
    "--setformat=lst --mapformat=hdf " + COARSE,
}


def eman_set(folder):
    """The set, its particles as EMAN2 keeps them (HDF, phases flipped, CTF in the headers, a list), and a filtered
    twin.
    """
    folder = make_set(folder, particles=PARTICLES)
    source = read_particles(folder / "particles.star")
    images = ParticleStack(source.table).read(np.arange(PARTICLES))
    ctfs = [replace(ctf, dsbg=0.005, snr=(1.0,) * 20) for ctf in from_params(source.table.ctf, source.grid.apix)]
    flipped = [phase_flip(image, ctf) for image, ctf in zip(images, ctfs)]
    write_images(folder / "particles.hdf", flipped, source.grid.apix, [{"ctf": ctf.to_text()} for ctf in ctfs])
    shells = np.fft.fftfreq(32)[:, None] ** 2 + np.fft.rfftfreq(32) ** 2
    low = [
        np.fft.irfft2(np.fft.rfft2(image) * np.exp(-shells / 0.2**2), s=image.shape).astype(np.float32)
        for image in flipped
    ]
    write_images(folder / "filtered.hdf", low, source.grid.apix)
    write_lst(folder / "particles.lst", [lst.Entry(i, "particles.hdf") for i in range(PARTICLES)])
    return folder


def options(line, **changes):
    parser = Parser()
    add_to(parser, full=True)
    found = Options.typed({**vars(parser.parse_args(line.split())), "verbose": 0, **changes})
    validate(found)
    return found


def labels(folder, suffix):
    """Map of each particle, from 0."""
    if suffix == ".lst":
        return np.array([entry.header["class"] for entry in lst.read_lst(folder / "particles.lst")]) - 1
    found = (folder / "particles.star").read_text().split("data_particles")[1]
    column = int(found[found.index("_rlnClassNumber") :].split("#")[1].split()[0]) - 1
    return np.array([int(line.split()[column]) for line in found.splitlines() if "@" in line]) - 1


@pytest.mark.ranks(1)
@pytest.mark.parametrize("name", ["of now", "of 2011, twostage", "own defaults"])
def test_lines_that_users_type(team, shared_tmp, name):
    check_line(team, shared_tmp, name)


@pytest.mark.ranks(2)
@pytest.mark.parametrize("name", ["of 2011, usefilt", "of 2011, automask3d and mass", "back-projection"])
def test_lines_on_two_ranks(team, shared_tmp, name):
    check_line(team, shared_tmp, name)


def check_line(team, shared_tmp, name):
    """Collective. A run to its end, its labels and files."""
    folder, run = team.from_root(eman_set, shared_tmp / "set"), shared_tmp / "run"
    wanted = options(LINES[name].format(set=folder), path=str(run))
    assert wanted.by_classes
    start(wanted, team)
    if not team.is_root:
        return
    suffix = ".lst" if "lst" in LINES[name] else ".star"
    found, truth = labels(run, suffix), load_npz(folder / "truth.npz")["label"]
    assert (found == truth).mean() > 0.75
    maps = sorted(path.name for path in run.glob("threed_*") if "half" not in path.name)
    assert len(maps) == 2 * (wanted.iter + 1) and all(path.endswith(wanted.map_suffix) for path in maps)
    assert len(list((run / "sets").iterdir())) == 2
    check_files(run, wanted)


def check_files(run, wanted):
    """EMAN2's files of the last iteration agree with each other."""
    number = f"{wanted.iter:02d}.hdf"
    with open_images(run / f"projections_{number}") as views, open_images(run / f"classes_{number}") as classes:
        assert views.count == classes.count
        models = [views.value(i, "model_id") for i in range(views.count)]
        assert (
            models == sorted(models)
            and set(models) == {1, 2}
            and models == [classes.value(i, "model_id") for i in range(classes.count)]
        )
        held = sum(
            np.size(classes.value(i, name))
            for i in range(classes.count)
            for name in ("class_ptcl_idxs", "exc_class_ptcl_idxs")
            if classes.value(i, name) is not None
        )
    with open_images(run / f"classmx_{number}") as matrix, open_images(run / f"cls_result_{number}") as results:
        planes, after = matrix.read(range(7)), results.read(range(7))
    sep = wanted.sep or 1
    assert planes.shape == after.shape == (7, PARTICLES, sep) and held == PARTICLES * sep
    assert (
        (planes[0] == after[0]).all()
        and (planes[1] == 1).all()
        and set(np.unique(after[1])) <= {0, 1}
        and (planes[6] == 1).all()
    )
    page = (run / "report.html").read_text()
    assert page.count("data:image/png") == 3 and "is spread over" not in page
    told = json.loads((run / "0_refine_parms.json").read_text())
    assert told["input"] == wanted.input and told["orientgen"].startswith("eman:delta=30")


@pytest.mark.ranks(1)
def test_a_run_is_taken_up_again(team, shared_tmp):
    folder = team.from_root(eman_set, shared_tmp / "set")
    line = LINES["of 2011, automask3d and mass"].format(set=folder)
    start(options(line, path=str(shared_tmp / "whole")), team)
    start(options(line, path=str(shared_tmp / "half"), iter=1), team)
    resume(shared_tmp / "half", team, {"iter": 2, "verbose": 0})
    for m in (1, 2):
        maps = []
        for run in ("whole", "half"):
            with open_images(shared_tmp / run / f"threed_02_{m:02d}.mrc") as file:
                maps.append(file.read([0])[0])
        np.testing.assert_allclose(maps[0], maps[1], atol=1e-4 * np.abs(maps[0]).max())


@pytest.mark.ranks(1)
def test_the_headers_of_eman2_are_read(team, shared_tmp):
    folder = team.from_root(eman_set, shared_tmp / "set")
    table, star = read_particles(folder / "particles.lst").table, read_particles(folder / "particles.star").table
    assert table.ctf.flipped.all() and star.ctf.flipped is None
    np.testing.assert_allclose(table.ctf.defocus_u, star.ctf.defocus_u, rtol=1e-4)
    assert isinstance(table.eman_ctf[0], EmanCTF) and table.eman_ctf[table.eman_index[5]].snr[0] == 1.0
