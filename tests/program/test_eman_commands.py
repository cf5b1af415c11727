"""The commands that stand for EMAN2's programs: a chain of them on a planted set, on 1 and 2 ranks; help; and what is
told of wrong input.
"""

import subprocess
import sys

import numpy as np
import pytest

from mpirefine.data.rotations import rotation_from_eman
from mpirefine.errors import RefineError
from mpirefine.maths.eman2.projectors import standard
from mpirefine.maths.image.phantom import random_rotations, states
from mpirefine.program.catalogue import KINDS, registry
from mpirefine.program.eman2 import support
from mpirefine.storage.eman2 import lst
from mpirefine.storage.images import write_images
from tests.eman_lists import write_lst
from tests.program.small import alike, clean_environment, command, make_set, read, run

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quiet")]


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Two maps and forty particles of them in a project folder, with the truth."""
    folder, rng = tmp_path_factory.mktemp("planted"), np.random.default_rng(12)
    maps = states(32, 2, rng)
    label, shift = np.arange(40) % 2, rng.uniform(-2, 2, (40, 2))
    rotations = random_rotations(40, rng)
    images = np.stack([standard(maps[m], r[None], s[None], 5.0)[0] for m, r, s in zip(label, rotations, shift)])
    images = images / images.std() + 0.7 * rng.standard_normal(images.shape)
    for m in (0, 1):
        write_images(folder / f"map_{m}.hdf", [maps[m]], 5.0)
    write_images(folder / "p.hdf", list(images.astype(np.float32)), 5.0)
    write_lst(folder / "p.lst", [lst.Entry(i, "p.hdf") for i in range(40)])
    return folder, maps, label, rotations


CHAIN = [
    "project map_0.hdf map_1.hdf --outfile={0}projections.hdf --orientgen=eman:delta=30:inc_mirror=0 "
    "--postprocess=normalize.circlemean",
    "simmx {0}projections.hdf p.lst {0}simmx.hdf --saveali --align=rotate_translate_flip:maxshift=3 --ralign=refine "
    "--twostage=2 --kept=6",
    "classify {0}simmx.hdf {0}classmx.hdf --sep=2",
    "classaverage --input=p.lst --classmx={0}classmx.hdf --ref={0}projections.hdf --output={0}classes.hdf "
    "--resultmx={0}result.hdf --iter=0 "
    "--keep=0.9 --align=rotate_translate_flip:maxshift=3",
    "make3d --input={0}classes.hdf --output={0}threed_1.hdf --input_model=1 --pad=40",
    "make3d --input={0}classes.hdf --output={0}threed_2.hdf --input_model=2",
    "proc {0}threed_1.hdf {0}masked.mrc --process=mask.sharp:outer_radius=12",
    "proc {0}classes.hdf {0}small.hdf --process=math.fft.resample:n=2",
    "fsc {0}threed_1.hdf map_0.hdf --out={0}fsc.txt",
]
SCRIPT = "from mpirefine.program import cli\nfor line in open('chain.txt'):\n    assert cli.main(line.split()) == 0\n"


def test_a_chain_on_one_and_two_ranks(planted, monkeypatch):
    """Planted particles get the right map and direction, the maps come back; two ranks write the same files."""
    folder, maps, label, rotations = planted
    monkeypatch.chdir(folder)
    for line in CHAIN:
        run(line.format(""))
    heads, simmx, classes = read("projections.hdf")[1], read("simmx.hdf")[0], read("classes.hdf")[1]
    best = simmx[0].argmin(axis=1)
    model = np.array([head["model_id"] for head in heads])
    assert (model[best] == label + 1).mean() > 0.8
    axis = np.array([head["xform.projection"][2, :3] for head in heads])[best]
    angle = np.degrees(
        np.arccos(np.clip(np.abs((axis * rotations[:, 2]).sum(axis=1)), 0, 1))
    )  # the same view from behind is a mirror image
    assert np.median(angle) < 15
    for m in (1, 2):
        (volume,) = read(f"threed_{m}.hdf")[0]
        assert alike(volume, maps[m - 1]) > 0.8
    curve = np.loadtxt("fsc.txt")
    assert curve[1:5, 1].min() > 0.7
    empty = [n for n, head in enumerate(classes) if head["ptcl_repr"] == 0]
    assert empty and all("xform.projection" in classes[n] and classes[n]["model_id"] == model[n] for n in empty)
    (folder / "two").mkdir(exist_ok=True)
    (folder / "chain.txt").write_text("\n".join(line.format("two/") for line in CHAIN))
    (folder / "chain.py").write_text(SCRIPT)
    done = subprocess.run(
        ["mpirun", "-n", "2", sys.executable, "chain.py"],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=100,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    for path in (folder / "two").iterdir():
        if path.suffix == ".txt":
            np.testing.assert_allclose(np.loadtxt(path), np.loadtxt(path.name), atol=1e-4)
            continue
        (ours, heads), (other, told) = read(path), read(path.name)
        np.testing.assert_allclose(ours, other, atol=2e-4 * np.abs(other).max())
        for head, wanted in zip(heads, told):
            assert head.keys() == wanted.keys()
            for name in (
                "ptcl_repr",
                "model_id",
                "class_ptcl_idxs",
                "exc_class_ptcl_idxs",
                "xform.projection",
                "threed_ptcl_idxs",
            ):
                np.testing.assert_array_equal(head.get(name), wanted.get(name))


def test_translations_of_views_are_undone(planted, monkeypatch, rng):
    """A view with a translation shows the map there: make3d moves the image back."""
    monkeypatch.chdir(planted[0])
    views = np.concatenate([random_rotations(40, rng), np.zeros((40, 3, 1))], axis=2)
    views[:, :2, 3] = rng.uniform(-3, 3, (40, 2))
    write_images(
        "moved.hdf",
        list(standard(planted[1][0], views[:, :, :3], views[:, :2, 3], 5.0)),
        5.0,
        [{"xform.projection": v} for v in views],
    )
    run("make3d --input=moved.hdf --output=back.hdf --iter=1")
    assert alike(read("back.hdf")[0][0], planted[1][0]) > 0.93


def test_projections_without_views_and_models_from_0(planted, monkeypatch):
    """EMAN2 counted maps from 0 until 2013; references of elsewhere have no headers at all."""
    monkeypatch.chdir(planted[0])
    view = np.concatenate([rotation_from_eman(10.0, 20.0, 30.0), np.zeros((3, 1))], axis=1)
    images = [np.eye(32, dtype=np.float32)] * 3
    for first in (0, 1):
        write_images("refs.hdf", images, 5.0, [{"xform.projection": view, "model_id": first + m} for m in (0, 0, 1)])
        found = support.read_projections("refs.hdf")
        assert found[1].model.tolist() == [0, 0, 1] and found[2] == 5.0
        np.testing.assert_allclose(found[1].rotation[2], view[:, :3], atol=1e-6)
    write_images("refs.hdf", images, 5.0)
    assert support.read_projections("refs.hdf")[1].model.tolist() == [0, 0, 0]


def test_averages_of_filtered_twins(planted, monkeypatch):
    """Aligned by the twins, averaged from the particles: twice as bright ones make the same averages on the grey scale
    of the references.
    """
    monkeypatch.chdir(planted[0])
    run("project map_0.hdf --outfile=r.hdf --orientgen=eman:delta=60")
    count = len(read("r.hdf")[0])
    matrix = np.zeros((7, 40, 1), np.float32)
    matrix[0, :, 0], matrix[1], matrix[6] = np.arange(40) % count, 1, 1
    write_images("c.hdf", list(matrix), 1.0)
    run("proc p.hdf twins.hdf --process=filter.lowpass.gauss:cutoff_abs=0.2")
    line = (
        "classaverage --input=p.hdf --classmx=c.hdf --ref=r.hdf --iter=0 --output={} --resultmx={} "
        "--align=rotate_translate_flip:maxshift=3"
    )
    run(line.format("a.hdf", "ra.hdf"), "--usefilt=twins.hdf")
    run(line.format("b.hdf", "rb.hdf").replace("--input=p.hdf", "--input=twins.hdf"))
    assert np.abs(read("ra.hdf")[0] - read("rb.hdf")[0]).max() < 1e-3  # the same poses ...
    sharp = [np.abs(np.fft.rfft2(read(name)[0])[:, 8:24, 10:]).mean() for name in ("a.hdf", "b.hdf")]
    assert sharp[0] > 2 * sharp[1]  # ... and the noise of the originals


@pytest.mark.parametrize("kind", KINDS)
def test_help_lists_every_component(kind, capsys):
    run(f"help {kind}")
    short = capsys.readouterr().out
    run(f"help {kind} -v")
    told = capsys.readouterr().out
    names = list(registry(kind))
    assert [line.split()[0] for line in short.splitlines()] == names and all(
        len(line.split()) > 1 for line in short.splitlines()
    )
    for name in names:
        assert any(
            line.split(":")[0] == name.split(":")[0] for line in told.splitlines() if not line.startswith(" ")
        ), name
    assert sum(line.startswith("    ") for line in told.splitlines()) >= len(names)
    run("help", kind, names[0])
    alone = capsys.readouterr().out
    assert alone.rstrip() in told and not any(line.startswith(names[-1]) for line in alone.splitlines())


def test_help_of_all_kinds(capsys):
    run("help")
    told = capsys.readouterr().out
    assert all(f"{kind} " in told for kind in KINDS) and "NAME" in told


WRONG = [
    ("help cpms", "unknown kind of components 'cpms': did you mean cmps"),
    ("help cmps cc", "unknown comparator 'cc': did you mean ccc"),
    ("project nothing.hdf", "nothing.hdf: cannot be read"),
    ("project p.hdf", "p.hdf: 32 x 32 voxels, but a map must be cubic"),
    ("project map_0.hdf --sym=c1,c2", "--sym has 2 values for 1 maps"),
    ("project map_0.hdf small.hdf", "different boxes: map_0.hdf 32, small.hdf 20"),
    ("project map_0.hdf --orientgen=eman:delt=3", "eman has no parameter 'delt'"),
    ("project map_0.hdf --sym=q3", "unknown symmetry 'q3'"),
    ("simmx map_0.hdf p.hdf o.hdf", "map_0.hdf: holds maps"),
    ("simmx p.hdf wide.hdf o.hdf", "wide.hdf: images of 40 px, the references have 32"),
    ("simmx p.hdf p.hdf o.hdf --mask=wide.hdf", "--mask wide.hdf: 40 x 40 pixels, the references have 32 x 32"),
    ("simmx p.hdf p.hdf o.hdf --cmp=frc:snrweight=1", "frc: snrweight needs particles with a CTF"),
    ("simmx p.hdf p.hdf o.hdf --shrink=0", "--shrink 0"),
    ("simmx p.hdf p.hdf o.hdf --twostage=-1", "--twostage -1"),
    ("simmx p.hdf p.hdf o.hdf --align=rotate", "unknown aligner 'rotate'"),
    ("simmx p.hdf p.hdf o.hdf --ralign=refine:stepx=a", "refine:stepx=a: must be float"),
    ("simmx p.hdf p.hdf o.tif", "o.tif: '.tif' is no format"),
    ("classify nothing.hdf o.hdf", "nothing.hdf: cannot be read"),
    ("classify map_0.hdf o.hdf", "map_0.hdf: 1 images of shape"),
    ("classify c.hdf o.hdf --sep=2", "--sep 2: must be 1 to 1"),
    ("classaverage --input=p.hdf --classmx=few.hdf --ref=p.hdf", "few.hdf: 39 rows for 40"),
    ("classaverage --input=p.hdf --classmx=c.hdf --ref=two.hdf", "c.hdf: class 3 (from 0), but two.hdf holds 2"),
    ("classaverage --input=p.hdf --classmx=half.hdf --ref=p.hdf", "half.hdf: class 3.5 is no whole number"),
    (
        "classaverage --input=p.hdf --classmx=c.hdf --ref=p.hdf --averager=ctf.auto",
        "ctf.auto needs a CTF in the header",
    ),
    ("classaverage --input=p.hdf --classmx=c.hdf --ref=p.hdf --keep=1.5", "--keep 1.5: a share is"),
    ("classaverage --input=p.hdf --classmx=c.hdf --ref=p.hdf --iter=-1", "--iter -1"),
    ("make3d --input=p.hdf", "p.hdf: no image with xform.projection"),
    ("make3d --input=views.hdf --input_model=7", "and model_id 7"),
    ("make3d --input=views.hdf --recon=wiener_fourier", "weights by the SNR, and the images have none"),
    ("make3d --input=views.hdf --iter=0", "--iter 0"),
    ("make3d --input=views.hdf --keep=0", "--keep 0: a share"),
    ("make3d --input=views.hdf --outsize=0", "--outsize 0: must be more than 0"),
    ("make3d --input=views.hdf --setsf=text.txt", "text.txt: not a table"),
    ("proc p.hdf o.hdf --first=3 --last=40", "p.hdf holds images 0 to 39"),
    ("proc p.hdf o.hdf --process=filter.lowpass.gaus:cutoff_abs=1", "did you mean filter.lowpass.gauss"),
    ("proc p.hdf o.hdf --clip=-2", "--clip -2"),
    ("fsc map_0.hdf small.hdf", "small.hdf: 1 maps of 20 voxels: give a single map of 32"),
    ("fsc map_0.hdf p.hdf", "p.hdf: 32 x 32 voxels"),
    ("eotest --input=p.hdf --models=map_0.hdf,map_1.hdf", "eotest refines one map"),
    ("make3d --input=x --inptu=x", "unknown option --inptu: did you mean --input"),
    ("make3d --input=views.hdf --output=none/o.hdf", "none/o.hdf: there is no folder"),
    ("classaverage --input=p.hdf --classmx=c.hdf --ref=p.hdf --resultmx=o.png", "o.png: '.png' is no format"),
]


@pytest.mark.parametrize("line, told", WRONG)
def test_wrong_input_is_told_in_one_line(planted, monkeypatch, line, told):
    monkeypatch.chdir(planted[0])
    matrix = np.zeros((1, 40, 1), np.float32)
    matrix[0, 5] = 3
    write_images("c.hdf", matrix, 1.0)
    write_images("few.hdf", matrix[:, 1:], 1.0)
    write_images("half.hdf", np.where(matrix == 3, 3.5, 0).astype(np.float32), 1.0)
    write_images("wide.hdf", [np.eye(40, dtype=np.float32)] * 2, 5.0)
    write_images("two.hdf", [np.eye(32, dtype=np.float32)] * 2, 5.0)
    write_images(
        "views.hdf", [np.eye(32, dtype=np.float32)] * 2, 5.0, [{"xform.projection": np.eye(3, 4), "model_id": 1}] * 2
    )
    write_images("small.hdf", [np.ones((20, 20, 20), np.float32)], 5.0)
    (planted[0] / "text.txt").write_text("no numbers\n")
    with pytest.raises(RefineError) as caught:
        run(line)
    assert told in str(caught.value) and len(str(caught.value).splitlines()) == 1 and caught.value.exit_status == 2


def test_two_ranks_tell_it_once(planted):
    done = command(*"simmx p.hdf p.hdf o.hdf --cmp=frc:snrweight=1".split(), ranks=2, cwd=planted[0])
    assert done.returncode == 2 and "Traceback" not in done.stderr and done.stderr.count("mpirefine: error: ") == 1


def test_even_and_odd_particles_apart(tmp_path, monkeypatch):
    """Each half has its particles, refines a map of its own with both halves in it, and the curve tells how they
    agree.
    """
    folder = make_set(tmp_path / "set", particles=20, states=1)
    monkeypatch.chdir(tmp_path)
    line = (
        f"eotest --input={folder}/particles.star --models={folder}/seed_0.mrc --path=eo --iter=1 --targetres=30 "
        "--simcmp=ccc --classiter=0 "
        "--simalign=rotate_translate_flip:maxshift=3 --classalign=rotate_translate_flip:maxshift=3 "
        "--orientgen=eman:delta=45 --verbose=0"
    )
    run(line + " --check")
    assert not (tmp_path / "eo").exists()
    run(line)
    sets = [(tmp_path / f"eo/sets/particles_{name}.star").read_text().splitlines() for name in ("even", "odd")]
    rows = [[int(word.split("@")[0]) for row in text for word in row.split() if "@" in word] for text in sets]
    assert sorted(rows[0] + rows[1]) == list(range(1, 21)) and min(map(len, rows)) > 3
    for name in ("even", "odd"):
        assert (tmp_path / f"eo/{name}/threed_01_01.mrc").exists() and (tmp_path / f"eo/{name}/particles.star").exists()
        assert all(read(tmp_path / f"eo/{name}/threed_01_01_half{half}.mrc")[0][0].any() for half in (1, 2))
    maps = [read(tmp_path / f"eo/{name}/threed_01_01.mrc")[0][0] for name in ("even", "odd")]
    assert 0.3 < alike(*maps) < 0.999
    curve = np.loadtxt(tmp_path / "eo/fsc_eotest.txt")
    assert curve.shape == (17, 2) and curve[1:3, 1].min() > 0.7 and curve[5, 0] == pytest.approx(5 / 256, rel=1e-3)
