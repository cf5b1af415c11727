"""Sets with one fault each, on which the program once went wrong without a word: made from one simulated set."""

import shutil

import numpy as np

from mpirefine.data.ctf import CTFParams
from mpirefine.maths.image.ctf import contrast_transfer
from mpirefine.storage.mrc import read_header, read_sections, write_stack, write_volume
from mpirefine.storage.star import StarTable, read_star, write_star
from tests.program.small import make_set

PARTICLES, BOX, APIX = 120, 32, 8.0
COUNTS = 37, 12000  # gain and level of raw counts
NO_HEADER = 4096  # bytes of an extended header that is told of, but absent


def rows_of(table):
    """The rows of a STAR table as dicts of text."""
    columns = [table.column(name) for name in table.columns]
    return [dict(zip(table.columns, cells)) for cells in zip(*columns)]


class Cases:
    """Writes each case into a folder of its own under `out`; `base` is the set that nothing was done to."""

    def __init__(self, out):
        self.out, self.base = out, make_set(out / "base", PARTICLES, box=BOX)
        header = read_header(self.base / "particles.mrcs")
        self.images = read_sections(header, np.arange(PARTICLES)).astype(np.float32)
        tables = read_star(self.base / "particles.star")
        self.optics = rows_of(tables["optics"])[0]
        self.rows = rows_of(tables["particles"])

    def write(self, name, images=None, rows=None, optics=None, star="particles.star", apix=APIX):
        """A case with other images, other rows or other optics groups; `optics=[]`: no table of them."""
        folder = self.out / name
        shutil.copytree(self.base, folder)
        if images is not None:
            write_stack(folder / "particles.mrcs", np.ascontiguousarray(images), apix)
        tables = {"optics": [self.optics] if optics is None else optics, "particles": rows or self.rows}
        path = folder / star
        columns = {
            title: {key: [row[key] for row in rows] for key in rows[0]} for title, rows in tables.items() if rows
        }
        write_star(path, [StarTable.from_columns(title, of_table) for title, of_table in columns.items()])
        return folder

    def magnified(self, magnification, detector):
        """Rows of RELION before 3.1: lens and pixel size in columns."""
        more = {"rlnVoltage": "300", "rlnSphericalAberration": "2.7", "rlnAmplitudeContrast": "0.1"}
        more |= {"rlnMagnification": magnification, "rlnDetectorPixelSize": detector}
        return [{k: v for k, v in row.items() if k != "rlnOpticsGroup"} | more for row in self.rows]

    def premultiplied(self):
        """Images times their CTF."""
        defocus = (np.array([float(row[f"rlnDefocus{k}"]) for row in self.rows]) for k in ("U", "V", "Angle"))
        full = lambda value: np.full(PARTICLES, value)
        params = CTFParams(*defocus, full(0.0), full(0.0), full(1.0), full(300.0), full(2.7), full(0.1))
        curves = contrast_transfer(params, np.fft.rfftfreq(BOX, APIX)[None, :], np.fft.fftfreq(BOX, APIX)[:, None])
        return np.fft.irfft2(np.fft.rfft2(self.images) * curves, s=(BOX, BOX)).astype(np.float32)


def threefold_with_twofold_on_y(seed):
    """Blobs with D3 symmetry whose two-fold axis is y, not x: (x, y, z) -> (-x, y, -z)."""
    rng, half = np.random.default_rng(seed), BOX // 2
    z, y, x = np.mgrid[:BOX, :BOX, :BOX] - half
    volume = np.zeros((BOX, BOX, BOX), np.float32)
    for cx, cy, cz, height in rng.uniform(-1, 1, (6, 4)) * [10, 10, 8, 0.5] + [0, 0, 0, 1]:
        for turn in np.radians([0, 120, 240]):
            c, s = np.cos(turn), np.sin(turn)
            for sign in (1, -1):
                px, py, pz = sign * cx, cy, sign * cz
                distance2 = (x - c * px + s * py) ** 2 + (y - s * px - c * py) ** 2 + (z - pz) ** 2
                volume += (height * np.exp(-distance2 / (2 * 1.7**2))).astype(np.float32)
    return volume


def write_cases(out):
    """All cases."""
    cases = Cases(out)
    images, (gain, level) = cases.images, COUNTS
    # what can be read: raw counts, as integers, in half of the file; multiplied by the CTF; three rows for each image
    counts = images * gain + level
    cases.write("counts_int16", np.rint(counts).astype(np.int16))
    cases.write("half_counts", np.concatenate([counts[: PARTICLES // 2], images[PARTICLES // 2 :]]))
    cases.write("premultiplied", cases.premultiplied(), optics=[cases.optics | {"rlnCtfDataAreCtfPremultiplied": "1"}])
    cases.write("repeated", rows=[row for row in cases.rows for _ in range(3)], star="repeated.star")
    # what cannot be: dark particles, pixel sizes, optics groups
    cases.write("dark", -images)
    cases.write("tenth_of_angstrom", images, cases.magnified("100000", "1.0"), [], apix=1.0)
    rows = cases.magnified("10000", str(APIX))
    rows[57]["rlnMagnification"] = "0.105887"
    cases.write("one_magnification", rows=rows, optics=[])
    cases.write("group_twice", optics=[cases.optics, cases.optics | {"rlnVoltage": "200"}])
    cases.write("other_image_size", optics=[cases.optics | {"rlnImageSize": "96"}])
    # a list of EMAN2 on an MRC stack, without any CTF
    lines = [f"{i}\tparticles.mrcs".ljust(24) + "\n" for i in range(PARTICLES)]
    text = "#LSX\n# Fixed line length\n# 25\n" + "".join(lines)
    (cases.write("list_without_ctf") / "all.lst").write_text(text)
    # a header that tells of an extended header that is not there
    stack = cases.write("no_extended_header") / "particles.mrcs"
    raw = bytearray(stack.read_bytes())
    raw[92:96] = NO_HEADER.to_bytes(4, "little")
    stack.write_bytes(raw)
    # axes that lie elsewhere
    folder = cases.write("twofold_on_y")
    for k in (0, 1):
        write_volume(folder / f"y_{k}.mrc", threefold_with_twofold_on_y(k + 4), APIX)
    return out
