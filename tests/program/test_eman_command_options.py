"""Options of EMAN2's sub-programs: parts of a matrix, masks and CTF of its columns, classes by patterns, halves and
draws of classes, references of their own, and maps that start from a map.
"""

import numpy as np
import pytest

from mpirefine.data.emanctf import EmanCTF
from mpirefine.data.rotations import rotation_from_eman
from mpirefine.errors import RefineError
from mpirefine.maths.eman2.ctf import ctf_image
from mpirefine.maths.eman2.projectors import standard
from mpirefine.maths.eman2.score_patterns import NO_PATTERN, pattern_scores
from mpirefine.maths.image.phantom import random_rotations, states
from mpirefine.storage.images import write_images
from tests.program.small import alike, command, read, run

pytestmark = pytest.mark.usefixtures("quiet")
BOX, PARTICLES, VIEWS = 24, 12, 4
SCORE = "simmx r.hdf p.hdf {} --saveali --align=rotate_translate_flip:maxshift=2"


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A map, four views of it as references, and particles of these views in turn, turned by 20 degrees each."""
    folder, rng = tmp_path_factory.mktemp("options"), np.random.default_rng(4)
    (volume,) = states(BOX, 1, rng)
    views = random_rotations(VIEWS, rng)
    turned = np.stack([rotation_from_eman(0.0, 0.0, 20.0 * i) @ views[i % VIEWS] for i in range(PARTICLES)])
    heads = [{"xform.projection": np.concatenate([v, np.zeros((3, 1))], axis=1), "model_id": 1} for v in views]
    write_images(folder / "map.hdf", [volume], 4.0)
    write_images(folder / "r.hdf", list(standard(volume, views, None, 4.0)), 4.0, heads)
    particles = standard(volume, turned, None, 4.0)
    particles += 0.2 * particles.std() * rng.standard_normal(particles.shape).astype(np.float32)
    write_images(folder / "p.hdf", list(particles), 4.0)
    return folder


@pytest.fixture
def here(planted, monkeypatch):
    monkeypatch.chdir(planted)


def test_parts_of_a_matrix_make_the_whole(here):
    run(SCORE.format("whole.hdf"))
    whole = read("whole.hdf")[0]
    run(SCORE.format("parts.hdf"), "--init")
    assert read("parts.hdf")[0].shape == whole.shape and not read("parts.hdf")[0].any()
    run(SCORE.format("parts.hdf"), "--range=1,2,3,9")
    first = read("parts.hdf")[0]
    np.testing.assert_allclose(first[:, 2:9, 1:3], whole[:, 2:9, 1:3], atol=1e-3)
    assert np.count_nonzero(first[0]) == 14
    first[0, 3, 1] = 5.0  # what is there is kept
    write_images("parts.hdf", list(first), 1.0)
    run(SCORE.format("parts.hdf"), "--fillzero", "--range=0,0,4,11")
    run(SCORE.format("parts.hdf"), "--fillzero")
    parts = read("parts.hdf")[0]
    assert parts[0, 3, 1] == 5.0
    whole[0, 3, 1] = 5.0
    np.testing.assert_allclose(parts, whole, atol=1e-3)


def test_parts_of_a_matrix_on_three_ranks(here, planted):
    run(SCORE.format("one.hdf"), "--range=0,1,3,8")
    done = command(*SCORE.format("three.hdf").split(), "--range=0,1,3,8", ranks=3, cwd=planted)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(read("three.hdf")[0], read("one.hdf")[0], atol=1e-4)


def test_excluded_particles_have_a_row_of_zeros(here, planted):
    (planted / "bad.txt").write_text("3\n7\n")
    run(SCORE.format("some.hdf"), "--exclude=bad.txt")
    score = read("some.hdf")[0][0]
    assert not score[[3, 7]].any() and (np.delete(score, [3, 7], axis=0) != 0).all()


def test_references_times_the_particles_ctf(here):
    """Exact copies of a reference times |CTF| score −1 with --prectf, and worse without."""
    ctf = EmanCTF(1.5, 0.0, 0.0, 50, 10, 300, 2.7, 4.0, 0.01)
    references = read("r.hdf")[0]
    seen = np.fft.irfft2(np.fft.rfft2(references) * ctf_image(ctf, "ABS", BOX), s=(BOX, BOX)).astype(np.float32)
    write_images("seen.hdf", list(seen), 4.0, [{"ctf": ctf.to_text()}] * VIEWS)
    line = "simmx r.hdf seen.hdf {} --cmp=ccc --align=translational"
    run(line.format("plain.hdf"))
    run(line.format("times.hdf"), "--prectf")
    plain, times = (np.diag(read(name)[0][0]) for name in ("plain.hdf", "times.hdf"))
    assert (times < -0.999).all() and (plain > times + 0.001).all()
    with pytest.raises(RefineError, match="--prectf needs particles with a CTF"):
        run("simmx r.hdf p.hdf x.hdf --prectf")


def test_a_mask_for_each_reference(here):
    """A particle whose right half moved by two pixels: masked to its left half, the second aligner finds no move."""
    reference = read("r.hdf")[0]
    left = np.zeros((VIEWS, BOX, BOX), np.float32)
    left[:, :, : BOX // 2] = 1
    torn = np.where(left > 0, reference, np.roll(reference, 3, axis=2)).astype(np.float32)
    write_images("left.hdf", list(left), 4.0)
    write_images("torn.hdf", list(torn), 4.0)
    line = "simmx r.hdf torn.hdf {} --saveali --align=translational:maxshift=1 --ralign=refine:stepaz=0.1"
    run(line.format("free.hdf"))
    run(line.format("masked.hdf"), "--colmasks=left.hdf")
    free, masked = (np.abs(read(name)[0][1].diagonal()) for name in ("free.hdf", "masked.hdf"))
    assert masked.mean() < 0.5 * free.mean() and masked.mean() < 0.5


def test_classes_by_patterns(here):
    """Rows of scores of two patterns; the best score of one particle is that of the other kind."""
    rng = np.random.default_rng(1)
    patterns = np.array([[-1, -0.6, 0.2, 0.3, 0.9, -0.5], [-0.8, 0.9, -0.9, -0.7, -0.3, 0.8]])
    kind = np.arange(30) % 2
    rows = 5 + patterns[kind] * rng.uniform(0.8, 1.2, (30, 1)) + 0.02 * rng.standard_normal((30, 6))
    rows[7, 0] = rows[7].min() - 0.02
    write_images("rows.hdf", [rows.astype(np.float32), *np.zeros((5, 30, 6), np.float32)], 1.0)
    run("classify rows.hdf plain.hdf")
    run("classify rows.hdf pattern.hdf --simvec --noalign")
    plain, pattern = read("plain.hdf")[0], read("pattern.hdf")[0]
    assert (plain[0, :, 0] == 2 * kind).sum() == 29 and (pattern[0, :, 0] == 2 * kind).all()
    assert len(plain) == 7 and len(pattern) == 2
    scores = pattern_scores(rows)
    assert (scores[:, [1, 3, 4, 5]] == NO_PATTERN).all()
    assert scores[np.arange(30), 2 * kind].max() < 0.1 < 10 < scores[np.arange(30), 2 - 2 * kind].min()


def averaged(*more, name="a.hdf"):
    """Images and headers of class averages; particle i is in class i % VIEWS."""
    matrix = np.zeros((7, PARTICLES, 1), np.float32)
    matrix[0, :, 0], matrix[1], matrix[6] = np.arange(PARTICLES) % VIEWS, 1, 1
    write_images("c.hdf", list(matrix), 1.0)
    run(f"classaverage --input=p.hdf --classmx=c.hdf --ref=r.hdf --iter=0 --output={name}", *more)
    return read(name)


def test_even_and_odd_particles(here):
    _, all_heads = averaged()
    _, even = averaged("--even")
    _, odd = averaged("--odd")
    for number in range(VIEWS):
        members = [np.ravel(heads[number].get("class_ptcl_idxs", [])) for heads in (all_heads, even, odd)]
        assert (members[1] % 2 == 0).all() and (members[2] % 2 == 1).all()
        assert sorted([*members[1], *members[2]]) == sorted(members[0])


def test_draws_with_repetition(here, planted):
    """As many particles as the class has, some more than once; the same for one seed on any ranks, and others else."""
    whole, heads = averaged()
    drawn, again = averaged("--resample"), averaged("--resample", "--seed=1", name="b.hdf")
    for number in range(VIEWS):
        members = np.ravel(drawn[1][number]["class_ptcl_idxs"])
        assert len(members) == heads[number]["ptcl_repr"] == drawn[1][number]["ptcl_repr"]
        assert set(members) <= set(np.ravel(heads[number]["class_ptcl_idxs"]))
    assert any(len(set(np.ravel(h["class_ptcl_idxs"]))) < h["ptcl_repr"] for h in drawn[1])
    assert np.abs(drawn[0] - again[0]).max() > 1e-3 and np.abs(drawn[0] - whole).max() > 1e-3
    line = "classaverage --input=p.hdf --classmx=c.hdf --ref=r.hdf --iter=0 --output=d.hdf --resample"
    done = command(*line.split(), ranks=2, cwd=planted)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(read("d.hdf")[0], averaged("--resample")[0], atol=1e-4 * np.abs(whole).max())


def test_one_class(here):
    whole, heads = averaged()
    one, head = averaged("--oneclass=2", name="one.hdf")
    np.testing.assert_array_equal(one[0], whole[2])
    assert len(one) == 1 and head[0]["projection_image_idx"] == 2
    assert np.array_equal(head[0]["class_ptcl_idxs"], heads[2]["class_ptcl_idxs"])


def test_references_of_the_second_aligner(here):
    """References moved by a pixel: the averages are moved with them."""
    references, heads = read("r.hdf")
    write_images("moved.hdf", list(np.roll(references, 1, axis=2)), 4.0, heads)
    line = ("--align=rotate_translate_flip:maxshift=2", "--ralign=refine")
    plain, focused = averaged(*line)[0], averaged(*line, "--focused=moved.hdf", name="f.hdf")[0]
    for before, after in zip(plain, focused):
        assert alike(after, np.roll(before, 1, axis=1)) > 0.97 > alike(after, before)


MAKE = "make3d --input=views.hdf --output={} --iter=1 "


@pytest.fixture
def views(here):
    """Sixty projections of the map with their views, and the map."""
    (volume,) = read("map.hdf")[0]
    rotations = random_rotations(60, np.random.default_rng(9))
    heads = [{"xform.projection": np.concatenate([r, np.zeros((3, 1))], axis=1), "ptcl_repr": 1} for r in rotations]
    write_images("views.hdf", list(standard(volume, rotations, None, 4.0)), 4.0, heads)
    return volume


def test_a_larger_box_of_the_reconstruction(views):
    """The map is the same, finer in Fourier space: nearer to the truth at its edges."""
    run(MAKE.format("small.hdf"), "--preprocess=none", "--pad=24,24")
    run(MAKE.format("wide.hdf"), "--preprocess=none", "--padvol=36,36,36")
    small, wide = read("small.hdf")[0][0], read("wide.hdf")[0][0]
    assert small.shape == wide.shape == (BOX,) * 3
    assert alike(wide, views) > alike(small, views) and alike(wide, small) > 0.9


def test_a_map_to_start_from(views):
    """With a huge weight the map is that of --start, with a small one that of the averages."""
    blob = np.zeros((BOX,) * 3, np.float32)
    blob[8:12, 14:18, 5:9] = 1
    write_images("start.hdf", [blob], 4.0)
    run(MAKE.format("plain.hdf"), "--preprocess=none")
    run(MAKE.format("heavy.hdf"), "--preprocess=none", "--start=start.hdf", "--startweight=1e6")
    run(MAKE.format("light.hdf"), "--preprocess=none", "--start=start.hdf", "--startweight=1e-6")
    plain, heavy, light = (read(name)[0][0] for name in ("plain.hdf", "heavy.hdf", "light.hdf"))
    np.testing.assert_allclose(heavy, blob, atol=1e-3)
    assert alike(light, plain) > 0.99 > 0.5 > alike(heavy, plain)


def test_processors_one_after_the_other(views):
    run(
        MAKE.format("two.hdf"),
        "--preprocess=normalize.edgemean",
        "--preprocess=filter.lowpass.gauss:cutoff_abs=0.1",
        "--postprocess=mask.sharp:outer_radius=8",
        "--postprocess=normalize.maxmin",
    )
    run(MAKE.format("none.hdf"))
    run("proc views.hdf low.hdf --process=normalize.edgemean --process=filter.lowpass.gauss:cutoff_abs=0.1")
    run("make3d --input=low.hdf --output=low3d.hdf --iter=1 --preprocess=none")
    run("proc low3d.hdf byhand.hdf --process=mask.sharp:outer_radius=8 --process=normalize.maxmin")
    two, none, by_hand = (read(name)[0][0] for name in ("two.hdf", "none.hdf", "byhand.hdf"))
    assert alike(two, by_hand) > 0.999 and two.max() == pytest.approx(1, abs=1e-4)
    assert alike(two, none) < 0.99
    line = "project map.hdf --outfile={} --orientgen=eman:delta=60"
    run(line.format("a.hdf"), "--postprocess=mask.sharp:outer_radius=6", "--postprocess=normalize.unitlen")
    run(line.format("b.hdf"))
    run("proc b.hdf c.hdf --process=mask.sharp:outer_radius=6 --process=normalize.unitlen")
    np.testing.assert_allclose(read("a.hdf")[0], read("c.hdf")[0], atol=1e-6)


def test_absolute_qualities(views):
    """Of views of which a fifth are noise with few particles: absolute qualities leave these out, relative ones, which
    compare averages of like numbers of particles, leave out good ones too.
    """
    images, heads = read("views.hdf")
    rng = np.random.default_rng(3)
    images[:12] = images.std() * rng.standard_normal(images[:12].shape)
    heads = [{**head, "ptcl_repr": 1 if i < 12 else 10} for i, head in enumerate(heads)]
    write_images("mixed.hdf", list(images), 4.0, heads)
    line = "make3d --input=mixed.hdf --output={} --iter=2 --keep=0.8"
    run(line.format("abs.hdf"), "--keepabs")
    run(line.format("rel.hdf"))
    absolute, relative = (set(np.ravel(read(n)[1][0]["threed_excl_ptcl_idxs"])) for n in ("abs.hdf", "rel.hdf"))
    assert absolute == set(range(12)) and relative != absolute


EMAN_LINES = [
    "project map.hdf --outfile=x.hdf --orientgen=eman:delta=60 -f --parallel=thread:4 --verbose=1",
    "simmx r.hdf p.hdf x.hdf --saveali -f --verbose=1 --parallel=thread:2 --ppid=7",
    "classify c.hdf x.hdf -f -v 2 --nofilecheck",
    "classaverage --input=p.hdf --classmx=c.hdf --ref=r.hdf --output=x.hdf --iter=0 --storebad --idxcache "
    "--dbpath=bdb:x --bootstrap -f --verbose=2",
    "make3d --input=views.hdf --output=x.hdf --iter=1 --lowmem -f --setsf=none --verbose=3",
]


@pytest.mark.parametrize("line", EMAN_LINES)
def test_options_without_effect_are_said(views, capsys, line):
    averaged()
    capsys.readouterr()
    run(line)
    told = capsys.readouterr().out
    for name in ("--force", "--parallel", "--verbose", "--ppid", "--storebad", "--idxcache", "--dbpath", "--lowmem"):
        given = name in line or name == "--force" and " -f" in line or name == "--verbose" and " -v" in line
        assert told.count(f"{name} does nothing: ") == given, name


WRONG = [
    ("simmx r.hdf p.hdf gone.hdf --fillzero", "--fillzero: there is no gone.hdf"),
    ("simmx r.hdf p.hdf x.hdf --range=0,0,4", "--range 0,0,4: give C0,R0,C1,R1"),
    ("simmx r.hdf p.hdf x.hdf --range=3,0,2,4", "--range 3,0,2,4: holds no cell"),
    ("simmx r.hdf p.hdf r.hdf --fillzero", "r.hdf: 4 planes of 24 x 24, not 1 of 12 x 4"),
    ("simmx r.hdf p.hdf x.hdf --exclude=words.txt", "words.txt: 'two' is no number"),
    ("simmx r.hdf p.hdf x.hdf --exclude=missing.txt", "missing.txt: cannot be read"),
    ("simmx r.hdf p.hdf x.hdf --colmasks=p.hdf --ralign=refine", "--colmasks p.hdf: 12 images of 24 x 24"),
    ("simmx r.hdf p.hdf x.hdf --colmasks=r.hdf", "--colmasks are used by --ralign refine"),
    ("classaverage --input=p.hdf --classmx=c.hdf --ref=r.hdf --even --odd", "--even and --odd exclude each other"),
    ("classaverage --input=p.hdf --classmx=c.hdf --ref=r.hdf --oneclass=4", "--oneclass 4: r.hdf holds classes 0 to 3"),
    ("classaverage --input=p.hdf --classmx=c.hdf --ref=r.hdf --focused=r.hdf", "--focused is what --ralign aligns to"),
    (
        "classaverage --input=p.hdf --classmx=c.hdf --ref=r.hdf --focused=p.hdf --ralign=refine",
        "--focused p.hdf: not like the projections",
    ),
    ("make3d --input=views.hdf --pad=24,26", "24,26: boxes are square"),
    ("make3d --input=views.hdf --padvol=-3", "a box is more than 0 pixels"),
    ("make3d --input=views.hdf --start=p.hdf", "p.hdf: 24 x 24 voxels"),
    ("make3d --input=views.hdf --startweight=0", "--startweight 0"),
    ("make3d --input=views.hdf --setsf=auto", "strucfac.txt: cannot be read"),
]


@pytest.mark.parametrize("line, told", WRONG)
def test_wrong_options_are_told_in_one_line(views, planted, line, told):
    averaged()
    (planted / "words.txt").write_text("1\ntwo\n")
    with pytest.raises(RefineError) as caught:
        run(line)
    assert told in str(caught.value) and len(str(caught.value).splitlines()) == 1 and caught.value.exit_status == 2
