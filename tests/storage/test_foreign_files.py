"""Files of other kinds are refused in one line that says what to do, so are boxes that no particle can have; particle
files of other programs with RELION's columns are read.
"""

import gzip
import os
import subprocess
import sys

import numpy as np
import pytest

from mpirefine.data.grid import Grid
from mpirefine.errors import InputError
from mpirefine.storage import mrc
from mpirefine.storage.eman2 import lst
from mpirefine.storage.foreign_files import KINDS
from mpirefine.storage.images import open_images, open_stack, read_volumes, write_images
from mpirefine.storage.particle_file import read_particles
from mpirefine.storage.star import read_star
from tests.eman_lists import write_lst

STAR = "data_\n\nloop_\n_rlnImageName #1\n_rlnDetectorPixelSize #2\n_rlnMagnification #3\n"
ROWS = "".join(f"{i + 1}@p.mrcs 10 50000\n" for i in range(4))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mrc.write_stack("p.mrcs", np.ones((4, 16, 16), np.float32), 2.0)
    return tmp_path


def refusal(read, *words):
    with pytest.raises(InputError) as error:
        read()
    said = str(error.value)
    assert "\n" not in said
    for word in words:
        assert word in said, said


@pytest.mark.parametrize("suffix", sorted(KINDS))
@pytest.mark.parametrize("there", [False, True])
def test_every_kind_says_what_to_do(folder, suffix, there):
    name = f"x{suffix}"
    if there:
        (folder / name).write_bytes(b"something")
    for read in (read_volumes, open_stack, open_images):
        refusal(lambda read=read: read(name), f"{name}: '{suffix}' is no format that is read: ")
    if suffix != ".star":
        refusal(lambda: read_particles(name), f"{name}: '{suffix}' is no format that is read: ")


@pytest.mark.parametrize(
    "name, words",
    [
        ("x.star.gz", "unpack it first (gunzip x.star.gz)"),
        ("x.mrcs.BZ2", "unpack it first (bunzip2 x.mrcs.BZ2)"),
        ("x.7z", "unpack it first (7z x x.7z)"),
        ("x.eer", "frames or micrographs, no particles"),
        ("x.tiff", "e2proc2d.py x.tiff x.hdf; a map: e2proc3d.py, or IMOD's tif2mrc)"),
        ("x.cif", "e2pdb2mrc.py x.cif x.mrc"),
        ("x.hed", "IMAGIC: convert it first (EMAN2's e2proc2d.py x.hed x.hdf"),
        ("x.csv", "write a STAR file"),
    ],
)
def test_what_is_said(name, words):
    refusal(lambda: read_particles(name), words)


@pytest.mark.parametrize("suffix", [".star", ".lst", ".mrc", ".mrcs", ".hdf"])
def test_packed_files_under_another_suffix(folder, suffix):
    name = f"x{suffix}"
    (folder / name).write_bytes(gzip.compress(os.urandom(4000)))
    said = f"{name}: is compressed, whatever its suffix says: unpack it first (gzip -dc {name} > unpacked_{name})"
    refusal(lambda: read_particles(name), said)
    if suffix in (".mrc", ".hdf"):
        refusal(lambda: read_volumes(name), said)


def test_stacks_that_a_particle_file_names(folder):
    (folder / "p.star").write_text(STAR + ROWS.replace("p.mrcs", "p.tif"))
    (folder / "p.tif").write_bytes(b"II")
    refusal(
        lambda: read_particles("p.star", ctf=False), "p.star: rows 1, 2, 3, 4: column _rlnImageName", "IMOD's tif2mrc"
    )
    write_lst("p.lst", [lst.Entry(0, "p.tif")])
    refusal(lambda: read_particles("p.lst", ctf=False), "p.tif: '.tif' is no format that is read")


def test_text_with_a_byte_order_mark(folder):
    """UTF-8 with one is read, and written without; UTF-16 is refused."""
    (folder / "p.star").write_text(STAR + ROWS, encoding="utf-8-sig")
    source = read_particles("p.star", ctf=False)
    assert len(source.table) == 4 and list(read_star("p.star")) == [""]
    source.unchanged().write("out.star")
    assert (folder / "out.star").read_bytes().startswith(b"\ndata_")
    write_lst("p.lst", [lst.Entry(0, "p.mrcs")])
    (folder / "q.lst").write_bytes(b"\xef\xbb\xbf" + (folder / "p.lst").read_bytes())
    assert lst.read_lst("q.lst") == lst.read_lst("p.lst")
    for encoding in ("utf-16", "utf-16-le", "utf-16-be"):
        (folder / "p.star").write_text(STAR + ROWS, encoding=encoding)
        refusal(
            lambda: read_particles("p.star"),
            "p.star: is text in UTF-16: save it as UTF-8 (iconv -f UTF-16 -t UTF-8 p.star > utf8_p.star)",
        )


@pytest.mark.parametrize("shape, box", [((17, 17), 16), ((20, 16), 16), ((33, 41), 32), ((8, 8), 16)])
def test_boxes_are_refused_with_a_command_that_mends_them(folder, shape, box):
    size = f"{shape[1]} x {shape[0]} pixels"
    mrc.write_stack("p.mrcs", np.ones((4, *shape), np.float32), 2.0)
    (folder / "p.star").write_text(STAR + ROWS)
    command = f"python -m mpirefine proc {{}} p_{box}.{{}} --clip {box}"
    for name in ("p.star", "p.mrcs"):
        refusal(
            lambda name=name: read_particles(name, ctf=False),
            "p.mrcs: images of " + size,
            "(python -m mpirefine proc ",
            f"p.mrcs p_{box}.mrcs --clip {box})",
        )
    write_images("p.hdf", list(np.ones((2, *shape), np.float32)), 2.0)
    refusal(lambda: read_particles("p.hdf", ctf=False), "p.hdf: images of " + size, command.format("p.hdf", "hdf"))
    words = [sys.executable, *command.format("p.mrcs", "mrcs").split()[1:]]
    assert subprocess.run(words, capture_output=True).returncode == 0
    assert read_particles(f"p_{box}.mrcs", ctf=False).grid.nx == box


def test_maps_are_refused_with_a_command_that_mends_them():
    mrc.write_volume("m.mrc", np.ones((8, 10, 12), np.float32), 2.0)
    refusal(
        lambda: read_volumes("m.mrc"),
        "m.mrc: 12 x 10 x 8 voxels, but a map must be cubic: pad it to 12 "
        "(python -m mpirefine proc m.mrc m_12.mrc --clip 12)",
    )
    write_images("i.hdf", [np.ones((8, 8), np.float32)], 2.0)
    refusal(lambda: read_volumes("i.hdf"), "i.hdf: 8 x 8 voxels, but a map must be cubic: these are images")


def test_stacks_with_the_suffix_of_a_map(folder):
    mrc.write_stack("s.mrc", np.ones((4, 17, 17), np.float32), 2.0)
    (folder / "p.star").write_text(STAR + ROWS.replace("p.mrcs", "s.mrc"))
    refusal(
        lambda: read_particles("p.star", ctf=False),
        "s.mrc: images of 17 x 17 pixels",
        "(a copy of it named s.mrcs: python -m mpirefine proc s.mrcs s_16.mrcs --clip 16)",
    )


DIALECTS = {  # how others write RELION's columns: the block's name, columns and cells after those that all have
    "relion 3.0": ("", "rlnDetectorPixelSize 10 rlnMagnification 50000", "{:06d}@p.mrcs"),
    "warp": ("", "rlnMagnification 10000.0 rlnDetectorPixelSize 2.000 rlnCtfMaxResolution 4.1", "{:07d}@./p.mrcs"),
    "scipion": ("particles", "rlnOpticsGroup 1 rlnEnabled 1 rlnParticleId 7", "{:06d}@Runs/000123/extra/p.mrcs"),
    "pyem": ("particles", "rlnOpticsGroup 1 rlnClassNumber 2 rlnRandomSubset 1", "{:06d}@J10/extract/p.mrc"),
    "relion 5": ("particles", "rlnOpticsGroup 1 rlnGroupNumber 3 rlnCtfFigureOfMerit 0.1", "{}@Extract/job007/p.mrcs"),
}
CTF = "rlnDefocusU 15000 rlnDefocusV 14000 rlnDefocusAngle 20"
SCOPE = "rlnVoltage 300 rlnSphericalAberration 2.7 rlnAmplitudeContrast 0.1"
GROUP = f"rlnOpticsGroupName opticsGroup1 rlnOpticsGroup 1 rlnImagePixelSize 2.0 rlnImageSize 16 {SCOPE}"


@pytest.mark.parametrize("name", DIALECTS)
def test_particle_files_of_other_programs(folder, name):
    """Read, and written back with every column that is not a result."""
    block, columns, image = DIALECTS[name]
    stack = folder / image.partition("@")[2]
    stack.parent.mkdir(parents=True, exist_ok=True)
    mrc.write_stack(stack, np.ones((4, 16, 16), np.float32), 2.0)
    words = f"{CTF} {columns}{'' if block else ' ' + SCOPE}".split()
    rows = [" ".join([image.format(i + 1), *words[1::2]]) for i in range(4)]
    text = "\n".join(
        [f"data_{block}", "", "loop_", "_rlnImageName", *(f"_{column}" for column in words[::2]), *rows, ""]
    )
    if block:
        optics = GROUP.split()
        head = ["data_optics", "", "loop_", *(f"_{column}" for column in optics[::2]), " ".join(optics[1::2]), "", ""]
        text = "\n".join(head) + text
    (folder / "x.star").write_text("# version 30001\n\n" + text)
    source = read_particles("x.star")
    assert source.grid == Grid(16, 2.0) and source.table.ctf.defocus_u.tolist() == [15000] * 4
    assert source.table.image.tolist() == [0, 1, 2, 3] and source.table.ctf.voltage.tolist() == [300] * 4
    told = {"model": np.zeros(4, int), "posterior": np.ones(4), "shift_xy": np.zeros((4, 2))}
    source.with_results(**told, rotation=np.tile(np.eye(3), (4, 1, 1))).write("out.star")
    out = read_star("out.star")[block]
    assert out.cell("rlnClassNumber", 0) == "1" and out.cell("rlnImageName", 1) == image.format(2)
    for column, cell in zip(words[::2], words[1::2]):
        assert column == "rlnClassNumber" or out.column(column) == [cell] * 4
