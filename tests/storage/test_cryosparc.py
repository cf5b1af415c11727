"""cryoSPARC's particle files: conventions, joins, round trips through the other formats, wrong files."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mpirefine.data.rotations import rotation_from_euler
from mpirefine.errors import InputError
from mpirefine.maths.image.ctf import contrast_transfer
from mpirefine.storage.mrc import write_stack
from mpirefine.storage.particle_file import in_format, read_particles

PIXEL, NX = 1.5, 32


def rows(count, seed=0):
    """A table as a refinement job of cryoSPARC writes it."""
    rng = np.random.default_rng(seed)
    kinds = [("uid", "u8"), ("blob/path", "S64"), ("blob/idx", "u4"), ("blob/psize_A", "f4"), ("blob/sign", "f4")]
    kinds += [(f"ctf/{name}", "f4") for name in ("accel_kv", "cs_mm", "amp_contrast", "df1_A", "df2_A", "df_angle_rad")]
    kinds += [("ctf/phase_shift_rad", "f4"), ("ctf/exp_group_id", "u4"), ("ctf/anisomag", "f4", 4)]
    kinds += [("alignments3D/pose", "f4", 3), ("alignments3D/shift", "f4", 2), ("alignments3D/psize_A", "f4")]
    kinds += [("alignments3D/class", "u4"), ("alignments3D/split", "u4"), ("location/micrograph_path", "S32")]
    made = np.zeros(count, kinds)
    made["uid"] = rng.permutation(count) + 17 * 10**15
    made["blob/path"], made["blob/idx"] = b">J7/extract/a.mrc", np.arange(count)[::-1]
    made["blob/psize_A"], made["alignments3D/psize_A"], made["blob/sign"] = PIXEL, 2 * PIXEL, 1
    made["ctf/accel_kv"], made["ctf/cs_mm"], made["ctf/amp_contrast"] = 300, 2.7, 0.1
    made["ctf/df1_A"], made["ctf/df2_A"] = rng.uniform(15000, 20000, count), rng.uniform(10000, 15000, count)
    made["ctf/df_angle_rad"], made["ctf/exp_group_id"] = rng.uniform(0, 3, count), 3
    made["alignments3D/pose"] = Rotation.random(count, random_state=seed).as_rotvec()
    made["alignments3D/shift"] = rng.uniform(-4, 4, (count, 2))
    made["alignments3D/split"] = np.arange(count) % 2
    made["location/micrograph_path"] = b"J2/motion/m1.mrc"
    return made


@pytest.fixture
def project(tmp_path):
    """P3/J7/extract/a.mrc with 8 images, and P3/J42 for tables."""
    (tmp_path / "P3/J7/extract").mkdir(parents=True)
    (tmp_path / "P3/J42").mkdir()
    images = np.random.default_rng(1).standard_normal((8, NX, NX)).astype(np.float32)
    write_stack(tmp_path / "P3/J7/extract/a.mrc", images, PIXEL)
    return tmp_path / "P3"


def saved(project, made, name="particles.cs"):
    path = project / "J42" / name
    with open(path, "wb") as file:
        np.save(file, made)
    return path


def test_poses_are_those_of_pyem(project):
    """The rotation is exp of minus the cross-product matrix of the vector; shifts are RELION's origins in px."""
    made = rows(8)
    made["alignments3D/pose"][0] = 0, 0, np.radians(30)
    found = read_particles(saved(project, made), poses=True)
    half = np.sqrt(3) / 2
    np.testing.assert_allclose(found.table.rotation[0], [[half, 0.5, 0], [-0.5, half, 0], [0, 0, 1]], atol=1e-6)
    w = made["alignments3D/pose"][3].astype(float)
    angle, (x, y, z) = np.linalg.norm(w), w / np.linalg.norm(w)
    k = np.array([[0, z, -y], [-z, 0, x], [y, -x, 0]])
    direct = np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * k @ k
    np.testing.assert_allclose(found.table.rotation[3], direct, atol=1e-6)
    np.testing.assert_allclose(found.table.shift, -2 * made["alignments3D/shift"], atol=1e-5)
    assert found.grid.nx == NX and found.grid.apix == PIXEL and found.pixel_source == "column blob/psize_A"


def test_images_ctf_groups_and_half_sets(project):
    made = rows(8)
    made["blob/sign"][2:4] = -1
    found = read_particles(saved(project, made))
    assert found.table.image.tolist() == list(range(8))[::-1]
    assert found.table.files == (str((project / "J7/extract/a.mrc").resolve()),)
    assert found.table.subset.tolist() == [0, 1] * 4 and found.table.inverted.tolist() == [0, 0, 1, 1, 0, 0, 0, 0]
    np.testing.assert_allclose(found.table.ctf.defocus_angle, np.degrees(made["ctf/df_angle_rad"]), rtol=1e-6)
    assert found.table.ctf.voltage.tolist() == [300] * 8 and found.table.group_names == ("3",)


def test_exposure_groups_become_optics_groups(project, monkeypatch):
    monkeypatch.chdir(project)
    made = rows(8)
    made["ctf/exp_group_id"] = [3, 7] * 4
    in_format(read_particles(saved(project, made)), "star").unchanged().write("p.star")
    found = read_particles("p.star").table
    assert found.group_names == ("group1", "group2") and found.group.tolist() == [0, 1] * 4


def test_passthrough_is_joined_by_uid(project):
    made, rng = rows(8), np.random.default_rng(3)
    of_ctf = [name for name in made.dtype.names if name.startswith("ctf/")]
    first = made[[name for name in made.dtype.names if name not in of_ctf]].copy()
    order = rng.permutation(8)
    second = made[["uid", *of_ctf]][order].copy()
    extra = np.concatenate([second, second[:1]])
    extra["uid"][-1] = 5
    one, two = saved(project, first), saved(project, extra, "passthrough_particles.cs")
    whole = read_particles(saved(project, made, "whole.cs"))
    joined = read_particles(f"{one},{two}")
    np.testing.assert_array_equal(joined.table.ctf.defocus_u, whole.table.ctf.defocus_u)
    with pytest.raises(InputError, match=r"missing CTF columns ctf/accel_kv.*passthrough.*--input .*particles.cs,"):
        read_particles(one)
    two = saved(project, second[1:], "passthrough_particles.cs")
    with pytest.raises(InputError, match=r"passthrough_particles.cs: has no row for 1 of the 8 particles of .*uid 17"):
        read_particles(f"{one},{two}")
    two = saved(project, np.concatenate([second, second[:2]]), "passthrough_particles.cs")
    with pytest.raises(InputError, match=r"2 rows repeat a uid"):
        read_particles(f"{one},{two}")
    one, two = saved(project, first[[0, 0]]), saved(project, second, "passthrough_particles.cs")
    with pytest.raises(InputError, match=r"/particles.cs: 1 rows repeat a uid"):
        read_particles(f"{one},{two}")


def results(count, seed=5):
    rng = np.random.default_rng(seed)
    rotation = Rotation.random(count, random_state=seed).as_matrix()
    rotation[0] = rotation_from_euler(0.0, 180.0, 0.0)  # a rotation vector as long as pi
    model, half = rng.integers(-1, 2, count), rng.integers(0, 2, count)
    posterior = rng.uniform(0.5, 1, count)
    return dict(model=model, posterior=posterior, rotation=rotation, shift_xy=rng.uniform(-5, 5, (count, 2)), half=half)


def test_results_in_the_columns_of_cryosparc(project, monkeypatch):
    monkeypatch.chdir(project)
    made, given = rows(8), results(8)
    source = read_particles(saved(project, made))
    out = project / "J42/out.cs"
    source.with_results(**given).write(out, np.array([4, 1]))
    found = np.load(out, allow_pickle=False)
    assert set(found.dtype.names) == {*made.dtype.names, "alignments3D/class_posterior"}
    for name in ("uid", "blob/path", "ctf/df1_A", "location/micrograph_path"):
        assert found.dtype[name] == made.dtype[name] and (found[name] == made[name][[4, 1]]).all()
    assert (found["alignments3D/class"] == np.maximum(given["model"][[4, 1]], 0)).all()
    assert (found["alignments3D/split"] == given["half"][[4, 1]]).all()
    np.testing.assert_allclose(found["alignments3D/shift"], -given["shift_xy"][[4, 1]], atol=1e-6)
    assert (found["alignments3D/psize_A"] == np.float32(PIXEL)).all()
    again = read_particles(out, poses=True).table
    np.testing.assert_allclose(again.rotation, given["rotation"][[4, 1]], atol=1e-6)


WAYS = [("star", "cs", "star"), ("lst", "cs"), ("cs", "lst", "star"), ("star", "lst", "cs")]


@pytest.mark.parametrize("through", WAYS, ids="-".join)
def test_every_format_from_every_other(project, through, monkeypatch):
    """Poses to 1e-4 degrees, shifts to 1e-3 px, CTF to 1e-4, whatever way particles go."""
    monkeypatch.chdir(project)
    given, source = results(8), read_particles(saved(project, rows(8)), poses=True)
    first, path = source.table, None
    for number, name in enumerate(through):
        source = in_format(source, name)
        path = project / f"J42/step{number}.{name}"
        source.with_results(**given).write(path)
        source = read_particles(path, poses=True)
    table = source.table
    angle = Rotation.from_matrix(given["rotation"] @ table.rotation.transpose(0, 2, 1)).magnitude()
    assert np.degrees(angle).max() < 1e-4
    np.testing.assert_allclose(table.shift, given["shift_xy"], atol=1e-3)
    assert (table.subset == given["half"]).all()
    assert table.files == first.files and (table.image == first.image).all()
    assert source.grid.nx == NX and source.grid.apix == pytest.approx(PIXEL, rel=1e-6)
    x = np.linspace(0, 0.3, 50)
    np.testing.assert_allclose(
        contrast_transfer(table.ctf, x, 0 * x), contrast_transfer(first.ctf, x, 0 * x), atol=2e-3
    )


def test_uids_of_other_formats_are_unique(project, monkeypatch):
    monkeypatch.chdir(project)
    source = in_format(read_particles(saved(project, rows(8))), "star")
    repeated = project / "J42/repeated.star"
    source.unchanged().write(repeated, np.array([0, 1, 1, 2, 2, 2]))
    in_format(read_particles(repeated), "cs").unchanged().write(project / "J42/out.cs")
    found = np.load(project / "J42/out.cs", allow_pickle=False)
    assert len(np.unique(found["uid"])) == 6
    assert found["blob/shape"].tolist() == [[NX, NX]] * 6 and (found["blob/sign"] == 1).all()


def test_images_of_another_project_are_not_taken(project, tmp_path, monkeypatch):
    """Every project has J7/extract: that of the table counts, not that of the current folder."""
    other = tmp_path / "P4/J7/extract"
    other.mkdir(parents=True)
    write_stack(other / "a.mrc", np.zeros((8, NX, NX), np.float32), PIXEL)
    monkeypatch.chdir(tmp_path / "P4")
    source = read_particles(saved(project, rows(8)))
    assert source.table.files == (str(project / "J7/extract/a.mrc"),)
    monkeypatch.chdir(tmp_path)
    source.unchanged().write(tmp_path / "set.cs")
    assert read_particles(tmp_path / "set.cs").table.files == source.table.files


def test_pixel_sizes_and_apix(project):
    made = rows(8)
    made["blob/psize_A"] *= 1 + np.linspace(0, 5e-5, 8)
    assert len(read_particles(saved(project, made)).table.lenses) == 1
    assert read_particles(project / "J42/particles.cs", 1.6).grid.apix == 1.6
    made["blob/psize_A"][::2] *= 1.2
    found = read_particles(saved(project, made))
    assert [lens.grid.apix for lens in found.table.lenses] == pytest.approx([1.5, 1.8], rel=1e-3)
    with pytest.raises(InputError, match="--apix is one pixel size for all images, but column blob/psize_A has 1.5"):
        read_particles(project / "J42/particles.cs", 1.5)


def test_contrast_that_was_inverted_is_written(project):
    source = read_particles(saved(project, rows(8)))
    inverted = np.arange(8) < 3
    source = source.with_table(replace(source.table, inverted=inverted))
    source.with_results(**results(8)).write(project / "J42/out.cs")
    assert (np.load(project / "J42/out.cs")["blob/sign"] == np.where(inverted, -1, 1)).all()


def test_what_a_table_cannot_say_is_told(project, caplog):
    source = read_particles(saved(project, rows(8)))
    table = source.table
    ctf, lens = replace(table.ctf, premultiplied=np.arange(8) < 5), replace(table.lenses[0], odd=(1.0,))
    star = in_format(source.with_table(replace(table, ctf=ctf, lenses=(lens,))), "star")
    assert not caplog.text
    in_format(star, "cs")
    assert "multiplication by the CTF (5 images); the lens errors of their optics groups" in caplog.text


def test_own_encoding_is_read_by_the_library(project):
    dataset = pytest.importorskip("cryosparc.dataset", reason="cryoSPARC's library is an extra: mpirefine[cryosparc]")
    made = rows(8)
    path = project / "J42/own.cs"
    dataset.Dataset.load(str(saved(project, made))).save(str(path), format=dataset.CSDAT_FORMAT)
    assert path.read_bytes()[1:6] == b"CSDAT"
    found, wanted = (read_particles(one, poses=True).table for one in (path, project / "J42/particles.cs"))
    np.testing.assert_array_equal(found.rotation, wanted.rotation)
    assert found.files == wanted.files
    whole = path.read_bytes()
    for length in range(6, len(whole), 37):  # many of which end the process in the library
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match="own.cs: cannot be read by cryoSPARC's library"):
            read_particles(path)


def change(name, row, value):
    def done(made):
        made[name][row] = value
        return made

    return done


def without(*names):
    return lambda made: made[[name for name in made.dtype.names if name not in names]].copy()


def retyped(name, kind, value):
    def done(made):
        kinds = {other: made.dtype[other] for other in made.dtype.names} | {name: np.dtype(kind)}
        out = np.zeros(len(made), list(kinds.items()))
        for other in kinds:
            out[other] = value if other == name else made[other]
        return out

    return done


@pytest.mark.parametrize(
    "changed, told",
    [
        (change("blob/idx", 2, 8), r"particles.cs: row 3: column blob/idx: image 8 .*a.mrc, which holds 8"),
        (change("blob/path", 1, b">J7/gone.mrc"), r"row 2: column blob/path: J7/gone.mrc: cannot be read"),
        (change("blob/path", 1, b""), "row 2: column blob/path: no name of a stack"),
        (change("blob/psize_A", 4, 900), r"row 5: column blob/psize_A: 900 Å per pixel, where others have 1.5"),
        (change("ctf/df1_A", 0, np.nan), "row 1: column ctf/df1_A: no finite number"),
        (change("ctf/accel_kv", 3, 3e5), "row 4: column ctf/accel_kv: 300000 is no value in kV"),
        (change("alignments3D/shift", 6, 40), "row 7: column alignments3D/shift: the particle would lie outside"),
        (change("alignments3D/pose", 5, np.inf), "row 6: column alignments3D/pose: no finite number"),
        (change("alignments3D/psize_A", 2, 0), "row 3: column alignments3D/psize_A: 0 is no pixel size"),
        (change("blob/psize_A", slice(None), 3), r"more: column blob/psize_A: 3 Å, but .*a.mrc has 1.5: correct one"),
        (change("blob/sign", 1, 0), "row 2: column blob/sign: 0 is neither 1 nor -1"),
        (retyped("blob/idx", "f4", 1.5), "more: column blob/idx: 1.5 is no index"),
        (retyped("blob/shape", ("u4", 2), 64), "column blob/shape: 64 px, but the stack has images of another size"),
        (without("alignments3D/pose"), "missing column alignments3D/pose: give the passthrough file"),
        (without("blob/path", "blob/idx"), "missing columns blob/path, blob/idx: give the passthrough"),
        (without("uid"), "no column uid"),
        (lambda made: made[:0], "has no rows"),
        (lambda made: np.zeros((3, 4)), "an array without named columns"),
        (lambda made: np.array([{"a": 1}], object), "cannot be read as a table of cryoSPARC"),
    ],
)
def test_wrong_tables(project, changed, told):
    with pytest.raises(InputError, match=told):
        read_particles(saved(project, changed(rows(8))), poses=True)


def test_files_that_are_no_tables(project):
    path = saved(project, rows(8))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match="cannot be read as a table of cryoSPARC"):
        read_particles(path)
    path.write_bytes(saved(project, rows(8)).read_bytes().replace(b"(8,), }" + b" " * 12, b"(999999999999,), }" + b" "))
    with pytest.raises(InputError, match="cannot be read as a table of cryoSPARC"):
        read_particles(path)
    path.write_bytes(b"data_particles\nloop_\n")
    with pytest.raises(InputError, match="no table of cryoSPARC: it begins with neither"):
        read_particles(path)
    with pytest.raises(InputError, match="no such file"):
        read_particles(project / "J42/none.cs")


def test_lens_errors_that_are_left_are_told(project, caplog):
    read_particles(saved(project, rows(8)))
    assert not caplog.text
    read_particles(saved(project, change("ctf/anisomag", 2, (1.02, 0, 0, 1))(rows(8))))
    assert "ctf/anisomag are not zero, and are not corrected" in caplog.text
