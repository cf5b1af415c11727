"""MRC maps and stacks against mrcfile, all modes, both byte orders, and what is wrong with them."""

import mrcfile
import numpy as np
import pytest

from mpirefine.errors import FormatError, InputError
from mpirefine.storage import mrc


@pytest.mark.parametrize(
    "dtype, mode", [(np.int8, 0), (np.int16, 1), (np.float32, 2), (np.uint16, 6), (np.float16, 12)]
)
def test_reads_what_mrcfile_writes(tmp_path, rng, dtype, mode):
    data = rng.integers(0, 100, (5, 6, 6)).astype(dtype)
    with mrcfile.new(tmp_path / "stack.mrcs") as file:
        file.set_data(data)
        file.set_image_stack()
        file.voxel_size = 3.5
    header = mrc.read_header(tmp_path / "stack.mrcs")
    assert header.shape == (5, 6, 6) and header.apix == pytest.approx(3.5) and mrc.MODES[mode] == header.dtype
    np.testing.assert_array_equal(
        mrc.read_sections(header, np.array([4, 0, 1, 2])), data[[4, 0, 1, 2]].astype(np.float32)
    )


def test_mrcfile_reads_what_we_write(tmp_path, rng):
    volume = rng.standard_normal((8, 8, 8)).astype(np.float32)
    mrc.write_volume(tmp_path / "map.mrc", volume, 2.5)
    with mrcfile.open(tmp_path / "map.mrc") as file:
        np.testing.assert_array_equal(file.data, volume)
        assert file.voxel_size.x == pytest.approx(2.5) and file.is_volume()
        assert file.header.dmax == volume.max() and file.header.rms == pytest.approx(volume.std())
    assert mrcfile.validate(tmp_path / "map.mrc")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["map.mrc"]
    mrc.write_stack(tmp_path / "stack.mrcs", volume, 2.5)
    with mrcfile.open(tmp_path / "stack.mrcs") as file:
        assert file.is_image_stack()


def test_big_endian(tmp_path, rng):
    volume = rng.standard_normal((6, 6, 6)).astype(np.float32)
    mrc.write_volume(tmp_path / "little.mrc", volume, 1.5)
    raw = (tmp_path / "little.mrc").read_bytes()
    header = np.frombuffer(raw[:1024], mrc.HEADER).astype(mrc.HEADER.newbyteorder(">"))
    (tmp_path / "big.mrc").write_bytes(header.tobytes() + volume.astype(">f4").tobytes())
    found, apix = mrc.read_volume(tmp_path / "big.mrc")
    np.testing.assert_array_equal(found, volume)
    assert apix == pytest.approx(1.5)


def test_truncated_file_names_both_sizes(tmp_path):
    mrc.write_volume(tmp_path / "map.mrc", np.zeros((8, 8, 8), np.float32), 1.5)
    raw = (tmp_path / "map.mrc").read_bytes()
    (tmp_path / "map.mrc").write_bytes(raw[:-100])
    with pytest.raises(FormatError, match="map.mrc: 2972 bytes, but the header asks for 3072.*truncated"):
        mrc.read_header(tmp_path / "map.mrc")
    (tmp_path / "map.mrc").write_bytes(raw[:500])
    with pytest.raises(FormatError, match="too few for an MRC header"):
        mrc.read_header(tmp_path / "map.mrc")


def test_other_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="nothing.mrc: cannot be read"):
        mrc.read_header(tmp_path / "nothing.mrc")
    (tmp_path / "text.mrc").write_text("hello " * 300)
    with pytest.raises(FormatError, match="no MRC header"):
        mrc.read_header(tmp_path / "text.mrc")
    with mrcfile.new(tmp_path / "complex.mrc") as file:
        file.set_data(np.zeros((4, 4, 4), np.complex64))
    with pytest.raises(FormatError, match="mode 4 is not read"):
        mrc.read_header(tmp_path / "complex.mrc")
    mrc.write_volume(tmp_path / "flat.mrc", np.zeros((4, 8, 8), np.float32), 1.0)
    with pytest.raises(InputError, match="8 x 8 x 4 voxels, but a map must be cubic"):
        mrc.read_volume(tmp_path / "flat.mrc")
