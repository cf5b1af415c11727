"""Sets written in another program's format and used again, files that are refused, and filtered twins."""

import mrcfile
import numpy as np
import pytest

from mpirefine.errors import InputError
from mpirefine.program.options import Options
from mpirefine.program.start.inputs import read_twins
from mpirefine.storage import mrc
from mpirefine.storage.cryosparc.dataset import write_dataset
from mpirefine.storage.eman2.lst import read_lst
from mpirefine.storage.particle_file import in_format, read_particles
from mpirefine.storage.star import read_star, write_star
from tests.program.small import basic, command, make_set, read

pytestmark = pytest.mark.ranks(1)


def labels(path):
    return np.array([entry.header["class"] for entry in read_lst(path)])


def with_two_boxes(folder):
    """Every second particle of a set clipped to 28 pixels, in an optics group of its own."""
    tables = read_star(folder / "particles.star")
    (name,) = {image.partition("@")[2] for image in tables["particles"].column("rlnImageName")}
    images, _ = read(folder / name)
    mrc.write_stack(folder / "small.mrcs", images[:, 2:-2, 2:-2], 8.0)
    odd = np.arange(len(images)) % 2 == 1
    stacks = np.where(odd, str(folder / "small.mrcs"), str(folder / name))
    optics = (
        tables["optics"]
        .take([0, 0])
        .with_columns(
            {"rlnOpticsGroup": ["1", "2"], "rlnOpticsGroupName": ["one", "two"], "rlnImageSize": ["32", "28"]}
        )
    )
    particles = tables["particles"].with_columns(
        {
            "rlnImageName": [f"{i + 1}@{stack}" for i, stack in enumerate(stacks)],
            "rlnOpticsGroup": (1 + odd).astype("S"),
        }
    )
    write_star(folder / "particles.star", [optics, particles])


@pytest.mark.parametrize("boxes", [1, 2])
def test_sets_as_lists_are_an_input_again(tmp_path, boxes):
    """The list has what the STAR file had: the same particles find the same maps."""
    folder = make_set(tmp_path / "set")
    if boxes > 1:
        with_two_boxes(folder)
    for name, changes in (("one", {}), ("two", {"input": tmp_path / "one/particles.lst"})):
        line = basic(folder, setformat="lst", path=name, **changes)
        (tmp_path / name).mkdir()
        done = command(*line, cwd=tmp_path)
        said = done.stdout + done.stderr
        assert done.returncode == 0, said
        assert ("the phases of 60 images are not flipped" in said) == (name == "one")
        assert ("EMAN2 takes one box and pixel size, these are 2" in said) == (name == "one" and boxes == 2)
    first, again = (labels(tmp_path / name / "particles.lst") for name in ("one", "two"))
    assert set(first) == {1, 2}
    np.testing.assert_array_equal(first, again)
    assert len(read_lst(tmp_path / "two/sets/particles_m01.lst")) == (again == 1).sum()


def test_a_table_of_cryosparc_finds_the_same_maps(tmp_path):
    """The same particles from STAR and from .cs with half of the contrast inverted: labels agree, sets are tables."""
    folder = make_set(tmp_path / "set")
    source = in_format(read_particles(folder / "particles.star"), "cs")
    images = mrcfile.read(folder / "particles.mrcs")
    images[::2] *= -1
    mrc.write_stack(folder / "dark.mrcs", images, 8.0)
    table = source.rows.copy()
    table["blob/sign"][::2], table["blob/path"] = -1, b">dark.mrcs"
    of_ctf = [name for name in table.dtype.names if name.startswith("ctf/")]
    write_dataset(folder / "particles.cs", table[[name for name in table.dtype.names if name not in of_ctf]])
    write_dataset(folder / "more.cs", table[["uid", *of_ctf]][::-1])
    for name, given in (("one", "particles.star"), ("two", f"particles.cs,{folder}/more.cs")):
        (tmp_path / name).mkdir()
        done = command(*basic(folder, input=f"{folder}/{given}", path=name), cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
    stars = read_star(tmp_path / "one/particles.star")["particles"].floats("rlnClassNumber")
    found = np.load(tmp_path / "two/particles.cs", allow_pickle=False)
    assert (found["alignments3D/class"] + 1 == stars).mean() > 0.97
    of_map = np.load(tmp_path / "two/sets/particles_m01.cs", allow_pickle=False)
    assert set(of_map["uid"]) == set(found["uid"][found["alignments3D/class"] == 0])
    assert of_map["alignments3D/class_posterior"].min() > 0.5


def test_other_kinds_of_files_are_told_together(tmp_path):
    for name in ("p.star.gz", "m.eer", "mask.pdb"):
        (tmp_path / name).write_bytes(b"\x1f\x8b\x08")
    words = ["--input", "p.star.gz", "--models", "m.eer,m.eer", "--mask", "mask.pdb", "--iter", "1"]
    done = command(*words, cwd=tmp_path)
    said = done.stdout + done.stderr
    assert done.returncode == 2 and "Traceback" not in said
    for word in ("(gunzip p.star.gz)", "m.eer: '.eer' is no format", "mask.pdb: '.pdb' is no format"):
        assert word in said, said


def stacks_of_two_boxes(folder, name, boxes, rng):
    """A STAR file of six particles, alternately in two stacks of these boxes, in an optics group each."""
    for stack, box in zip("ab", boxes):
        mrc.write_stack(folder / f"{name}_{stack}.mrcs", rng.standard_normal((3, box, box)).astype(np.float32), 2.0)
    rows = [f"{1 + i // 2}@{name}_{'ab'[i % 2]}.mrcs {1 + i % 2} 15000 14000 20" for i in range(6)]
    groups = [f"{number} 300 2.7 0.1 2.0" for number in (1, 2)]
    optics = ["OpticsGroup", "Voltage", "SphericalAberration", "AmplitudeContrast", "ImagePixelSize"]
    columns = ["ImageName", "OpticsGroup", "DefocusU", "DefocusV", "DefocusAngle"]
    lines = [
        line
        for table, names, cells in (("optics", optics, groups), ("particles", columns, rows))
        for line in (f"data_{table}", "loop_", *(f"_rln{column}" for column in names), *cells, "")
    ]
    (folder / f"{name}.star").write_text("\n".join(lines))
    return read_particles(folder / f"{name}.star")


def test_filtered_twins_have_the_box_of_their_particle(tmp_path, rng):
    """Row by row: their common box says nothing of the optics groups."""
    particles = stacks_of_two_boxes(tmp_path, "p", (32, 40), rng)
    stacks_of_two_boxes(tmp_path, "same", (32, 40), rng)
    stacks_of_two_boxes(tmp_path, "other", (40, 32), rng)
    twins = read_twins(Options(usefilt=str(tmp_path / "same.star")), particles)
    assert twins.table.lenses == particles.table.lenses and twins.table.ctf is particles.table.ctf
    said = r"--usefilt .*other.star: row 1 and 5 more: an image of 40 px, --input has 32 px there"
    with pytest.raises(InputError, match=said):
        read_twins(Options(usefilt=str(tmp_path / "other.star")), particles)
