"""Where the files are that a list or STAR file names, in the folders that users of RELION and EMAN2 have."""

import os

import numpy as np
import pytest

from mpirefine.errors import InputError
from mpirefine.storage import mrc, particle_file
from mpirefine.storage.eman2 import lst
from mpirefine.storage.places import check_file, find, shortened
from tests.eman_lists import write_lst
from tests.storage.test_optics import STAR


@pytest.fixture
def project(tmp_path, monkeypatch, rng):
    """proj/Class3D/job012 with a particle file, proj/Extract/job010 with its stack; the current folder is elsewhere."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    job, extract = tmp_path / "proj/Class3D/job012", tmp_path / "proj/Extract/job010"
    job.mkdir(parents=True)
    extract.mkdir(parents=True)
    mrc.write_stack(extract / "x.mrcs", rng.standard_normal((3, 16, 16)).astype(np.float32), 2.0)
    (job / "run_data.star").write_text(STAR.replace("p.mrcs", "Extract/job010/x.mrcs"))
    (job / "all.lst").write_text("#LSX\n# c\n# 1\n" + "".join(f"{i}\tExtract/job010/x.mrcs\n" for i in range(3)))
    return tmp_path


def test_names_from_the_project_folder_are_found_upwards(project, caplog):
    for name in ("run_data.star", "all.lst"):
        caplog.clear()
        found = particle_file.read_particles(project / "proj/Class3D/job012" / name, ctf_required=False)
        assert found.table.files == (str(project / "proj/Extract/job010/x.mrcs"),) and len(found.table) == 3
        assert f"is read from {project / 'proj'}" in caplog.text


def test_the_nearest_place_wins(project):
    job = project / "proj/Class3D/job012"
    for folder in (project / "elsewhere", job, project / "proj"):
        (folder / "s.mrcs").write_text(str(folder))
    listed = job / "run_data.star"
    for folder in (project / "elsewhere", job, project / "proj"):
        found = find("s.mrcs", listed)
        assert found.path.read_text() == str(folder) and not found.missing
        assert bool(found.note) == (folder == project / "proj")
        found.path.unlink()


def test_a_neighbour_is_taken_and_said(project, caplog):
    stack = project / "proj/Extract/job010/x.mrcs"
    stack.rename(stack.with_suffix(".mrc"))
    for name in ("run_data.star", "all.lst"):
        caplog.clear()
        found = particle_file.read_particles(project / "proj/Class3D/job012" / name, ctf_required=False)
        assert found.table.files == (str(stack.with_suffix(".mrc")),) and found.grid.nx == 16
        assert "x.mrcs" in caplog.text and "x.mrc is read instead" in caplog.text


@pytest.mark.parametrize("name", ["run_data.star", "all.lst"])
def test_the_places_looked_in_are_told(project, name):
    job = project / "proj/Class3D/job012"
    (project / "proj/Extract/job010/x.mrcs").unlink()
    with pytest.raises(InputError) as error:
        particle_file.read_particles(job / name, ctf_required=False)
    said = str(error.value)
    assert "row" in said and "Extract/job010/x.mrcs: cannot be read" in said and "x.mrc)" in said
    assert str(project / "elsewhere") in said and f"{job} and the folders above" in said


def test_an_absolute_name_is_only_itself(project):
    found = find(str(project / "x.mrcs"), project / "proj/Class3D/job012/run_data.star")
    assert "no such file, nor x.mrc" in found.missing and "above" not in found.missing
    (project / "x.mrcs").mkdir()
    assert "it is a folder" in find(str(project / "x.mrcs"), project / "a.star").missing


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name, why in (
        (tmp_path, "a folder"),
        (tmp_path / "pipe", "no ordinary file"),
        (tmp_path / "none", "no such file"),
        ("a\0b", "no file can have"),
        ("x" * 5000, "File name too long"),
    ):
        with pytest.raises(InputError, match=why) as error:
            check_file(name)
        assert len(str(error.value)) < 300 and "\0" not in str(error.value)
    assert shortened("a\nb\0") == "a\\x0ab\\x00" and len(shortened("y" * 9000)) < 70


def test_lists_that_name_each_other_end(tmp_path, monkeypatch):
    """Eight lists that all name all: followed one by one they would never end."""
    monkeypatch.chdir(tmp_path)
    for name in range(8):
        write_lst(f"{name}.lst", [lst.Entry(0, f"{other}.lst") for other in range(8)])
    with pytest.raises(InputError, match="a list that names itself"):
        lst.resolve("0.lst")
