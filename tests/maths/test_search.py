"""The polar search against direct sums, and what it finds against planted poses."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mpirefine.maths.fourier.polar import PolarGrid, PolarTransform, angular_coefficients, good_length, half_circle
from mpirefine.maths.likelihood.axial_limit import AxialLimit
from mpirefine.maths.likelihood.central_slices import in_plane, polar_slices
from mpirefine.maths.likelihood.correlation import (
    Correlator,
    bands,
    particle_matrices,
    reference_matrices,
    with_more_angles,
)
from mpirefine.maths.likelihood.pose_search import (
    Level,
    coarse_peaks,
    fine_peaks,
    neighbours,
    parabola,
    rescore,
    ring_norms,
    shift_disc,
    shift_window,
    windows_round,
)
from mpirefine.steps.likelihood.search.fine import interpolate_shifts

NX = 32


def blob_map(rng, nx=NX, width=3.5):
    """A smooth random map inside a Gaussian envelope: everything within a known radius."""
    z, y, x = np.mgrid[:nx, :nx, :nx] - nx // 2
    frequency = np.meshgrid(np.fft.fftfreq(nx), np.fft.fftfreq(nx), np.fft.rfftfreq(nx), indexing="ij")
    smooth = np.exp(-36 * sum(f * f for f in frequency))
    noise = np.fft.irfftn(np.fft.rfftn(rng.standard_normal((nx,) * 3)) * smooth, s=(nx,) * 3, axes=(0, 1, 2))
    return (noise * np.exp(-(x**2 + y**2 + z**2) / (2 * width**2))).astype(np.float32)


def full_circle(half):
    return np.concatenate([half, half.conj()], axis=-1)


def direct(particle_kt, reference_kt, grid):
    """Correlation with the reference moved round the circle by every sample, and with its mirror image, by the
    definition.
    """
    x, p = full_circle(particle_kt), full_circle(reference_kt)
    mirror = p[:, -np.arange(grid.n_angles)]
    sums = [
        [(x * np.roll(q, t, axis=1).conj()).real.mean(axis=1).sum() for t in range(grid.n_angles)] for q in (p, mirror)
    ]
    return np.array(sums).T


@pytest.mark.parametrize(
    "n_rings, n_angles, shifts", [(7, 64, 1), (5, 32, 3), (9, 70, 2), (6, 48, 2), (8, 160, 3), (4, 112, 128)]
)
def test_correlation_is_the_direct_sum(rng, n_rings, n_angles, shifts):
    grid = PolarGrid(NX, n_rings, n_angles)
    low = 10  # angular content below the Nyquist order of every T tried
    make = lambda n: half_circle(
        np.concatenate(
            [
                rng.standard_normal((n, n_rings, 1)) + 0j,
                rng.standard_normal((n, n_rings, low)) + 1j * rng.standard_normal((n, n_rings, low)),
            ],
            axis=2,
        ),
        2,
        n_angles,
    ).astype(np.complex64)
    particle, references = make(1)[0], make(3)
    offsets = rng.uniform(-2, 2, (shifts, 2))
    ramp = grid.shift_ramp(offsets)
    matrices, columns = (
        np.empty((3, n_angles, n_rings), np.float32),
        np.empty((n_angles, n_rings, shifts), np.complex64),
    )
    power = reference_matrices(references, matrices)
    smooth = angular_coefficients(particle[:, :, None] * ramp, axis=1)
    smooth[:, n_angles // 2 :] = 0  # the method leaves out the Nyquist order
    moved = half_circle(smooth, 1, n_angles)
    particle_matrices(particle, ramp, columns)
    correlator = Correlator(grid, 10 * NX, 3 * shifts)  # no orders cut: the band limit is tested apart
    block = correlator.correlate(columns, matrices)[correlator.rows]
    for r in range(3):
        for s in range(shifts):
            expected = direct(moved[:, :, s], references[r], grid)
            np.testing.assert_allclose(block[:, r, s], expected, atol=2e-5 * np.abs(expected).max())
    np.testing.assert_allclose(power, (np.abs(references) ** 2).mean(axis=2), rtol=1e-5)


@pytest.mark.parametrize("mirror", [False, True])
def test_planted_pose_is_found(rng, mirror):
    volume = blob_map(rng)
    grid = PolarGrid.for_content(NX, 10, 12, 15, fast=True)
    directions = Rotation.random(5, random_state=3).as_matrix()
    angle, shift = np.array([-2 * np.pi * 7 / grid.n_angles]), np.array([[1.0, -2.0]])
    truth = in_plane(directions[2:3], angle, np.array([mirror]))
    sample = polar_slices(volume, truth, grid)[0] * grid.shift_ramp(-shift)[:, :, 0]
    matrices = np.empty((5, grid.n_angles, 10), np.float32)
    power = reference_matrices(polar_slices(volume, directions, grid), matrices)
    level = Level.make(grid, shift_disc(3, 1.0))
    weighted = (sample * grid.quadrature[:, None]).astype(np.complex64)
    norm = ring_norms(np.ones((1, 10)), np.ones((1, 10)), power, grid)
    columns = np.empty((grid.n_angles, 10, len(level.shifts)), np.complex64)
    particle_matrices(weighted, level.ramp, columns)
    peaks = fine_peaks(columns, norm[0], matrices, Correlator(grid, 12, 200), window=30, temperature=1.0)
    top = peaks.value.argmax()
    assert top == 2 and bool(peaks.mirror[top]) == mirror
    np.testing.assert_array_equal(level.shifts[peaks.shift[top]], shift[0])
    turn = (peaks.angle[top] - angle[0] + np.pi) % (2 * np.pi) - np.pi
    assert abs(turn) < 2 * np.pi / grid.n_angles / 20
    # at the truth the log-likelihood is half the power of the projection
    np.testing.assert_allclose(peaks.value[top], 0.5 * (grid.quadrature * power[2]).sum(), rtol=1e-3)


def test_coarse_agrees_with_fine_for_any_block(rng):
    grid = PolarGrid(NX, 8, 64)
    samples = (rng.standard_normal((3, 8, 32)) + 1j * rng.standard_normal((3, 8, 32))).astype(np.complex64)
    references = (rng.standard_normal((11, 8, 32)) + 1j * rng.standard_normal((11, 8, 32))).astype(np.complex64)
    matrices = np.empty((11, 64, 8), np.float32)
    norm = ring_norms(np.ones((3, 8)), np.ones((3, 8)), reference_matrices(references, matrices), grid)
    level = Level.make(grid, shift_disc(2, 1.0))
    small = coarse_peaks(samples, norm, matrices, level, Correlator(grid, 16, 3 * len(level.shifts)), 4)
    large = coarse_peaks(samples, norm, matrices, level, Correlator(grid, 16, 5000), 4)
    np.testing.assert_allclose(small.score, large.score, rtol=1e-5, atol=1e-3)
    np.testing.assert_array_equal(small.reference, large.reference)
    for p in range(3):
        columns = np.empty((64, 8, len(level.shifts)), np.complex64)
        particle_matrices(samples[p], level.ramp, columns)
        peaks = fine_peaks(columns, norm[p], matrices, Correlator(grid, 16, 100), window=1e9, temperature=1.0)
        best = peaks.profile.max(axis=(1, 2))
        np.testing.assert_allclose(best, large.score[p], rtol=1e-5, atol=1e-3)
        assert best.argmax() == large.reference[p, 0]
        assert large.shift[p, 0] == peaks.profile[best.argmax()].max(axis=1).argmax()


def test_more_angles_fill_in_between(rng):
    """The same projections and particle at three times as many angles: every third is as before, the others lie on the
    same band-limited curve.
    """
    few, many, rings = 32, 96, 5
    references = np.empty((4, few, rings), np.float32)
    reference_matrices(
        (rng.standard_normal((4, rings, few // 2)) + 1j * rng.standard_normal((4, rings, few // 2))).astype(
            np.complex64
        ),
        references,
    )
    samples = (rng.standard_normal((rings, few // 2)) + 1j * rng.standard_normal((rings, few // 2))).astype(
        np.complex64
    )
    found = []
    for angles, matrices in ((few, references), (many, with_more_angles(references, many))):
        columns, correlator = (
            np.empty((angles, rings, 1), np.complex64),
            Correlator(PolarGrid(NX, rings, angles), 10 * NX, 10),
        )
        particle_matrices(samples, np.ones((rings, few // 2, 1), np.complex64), columns)
        found.append(correlator.correlate(columns, matrices)[correlator.rows].copy())
    np.testing.assert_allclose(found[1][::3], found[0], atol=1e-4 * np.abs(found[0]).max())
    spectrum = np.abs(np.fft.fft(found[1], axis=0)).max(axis=(1, 2, 3))
    assert spectrum[few // 2 : many - few // 2 + 1].max() < 1e-5 * spectrum.max()


@pytest.mark.parametrize("max_pairs", [9, 10, 500])
def test_rescoring_finds_the_best_shift_of_each_window(rng, max_pairs):
    grid, total = PolarGrid(NX, 6, 48), 11
    references = np.empty((total, grid.n_angles, 6), np.float32)
    reference_matrices(
        (rng.standard_normal((total, 6, 24)) + 1j * rng.standard_normal((total, 6, 24))).astype(np.complex64),
        references,
    )
    level, coarse = Level.make(grid, shift_disc(4, 1.0)), shift_disc(4, 2.0)
    columns = np.empty((grid.n_angles, 6, len(level.shifts)), np.complex64)
    particle_matrices(
        (rng.standard_normal((6, 24)) + 1j * rng.standard_normal((6, 24))).astype(np.complex64), level.ramp, columns
    )
    norm = rng.standard_normal(total).astype(np.float32)
    rows, place = np.array([7, 0, 10, 3, 4]), np.array([2, 5, 2, 0, 5])
    windows = windows_round(coarse, level, 1.0)
    assert all(
        len(window) == (np.abs(level.shifts - centre).max(axis=1) <= 1).sum() for window, centre in zip(windows, coarse)
    )
    value, shift = rescore(columns, norm, references, rows, place, windows, Correlator(grid, 10 * NX, max_pairs))
    every = Correlator(grid, 10 * NX, 1000).correlate(columns, references).max(axis=(0, 3)) - norm[:, None]
    for found, at, row, centre in zip(value, shift, rows, coarse[place]):
        inside = np.abs(level.shifts - centre).max(axis=1) <= 1
        assert at == np.where(inside, every[row], -np.inf).argmax()
        assert found == pytest.approx(every[row, inside].max(), rel=1e-5)


def test_no_particle_and_no_reference(rng):
    grid = PolarGrid(NX, 4, 32)
    level = Level.make(grid, shift_disc(1, 1.0))
    none = coarse_peaks(
        np.zeros((0, 4, 16), np.complex64),
        np.zeros((0, 2), np.float32),
        np.zeros((2, 32, 4), np.float32),
        level,
        Correlator(grid, 10, 100),
        2,
    )
    assert none.score.shape == (0, 2) and none.reference.shape == (0, 2)


def test_evidence_is_the_log_mean_over_angles(rng):
    grid = PolarGrid(NX, 4, 32)
    columns = (0.1 * (rng.standard_normal((32, 4, 2)) + 1j * rng.standard_normal((32, 4, 2)))).astype(np.complex64)
    matrices = rng.standard_normal((3, 32, 4)).astype(np.float32)
    correlator = Correlator(grid, 10 * NX, 100)
    block = correlator.correlate(columns, matrices).astype(np.float64).copy()
    norm = rng.standard_normal(3).astype(np.float32)
    peaks = fine_peaks(columns, norm, matrices, correlator, window=1e9, temperature=2.0, means=True)
    expected = np.log(np.exp((block - norm[:, None, None]) / 2).mean(axis=0).sum(axis=(1, 2)))
    np.testing.assert_allclose(peaks.evidence, expected, atol=1e-4)
    weight = np.exp(block - norm[:, None, None])
    np.testing.assert_allclose(peaks.cold, np.log(weight.mean(axis=0).sum(axis=(1, 2))), atol=1e-4)
    np.testing.assert_allclose(
        peaks.mean, (weight * (block - norm[:, None, None])).sum(axis=(0, 2, 3)) / weight.sum(axis=(0, 2, 3)), atol=1e-4
    )
    narrow = fine_peaks(columns, norm, matrices, correlator, window=1e-3, temperature=2.0)
    assert np.isfinite(narrow.evidence).sum() == 1 and narrow.evidence.argmax() == peaks.value.argmax()


def test_extreme_values_keep_their_evidence():
    """A projection hundreds of thousands better than the rest, or as bad as all others: never without evidence, never
    infinite.
    """
    grid = PolarGrid(NX, 2, 32)
    columns, matrices = np.zeros((32, 2, 1), np.complex64), np.zeros((4, 32, 2), np.float32)
    columns[0], matrices[:, 0] = 1, np.array([1.0, 2.0, 3e5, 4.0])[:, None]
    peaks = fine_peaks(
        columns, np.zeros(4, np.float32), matrices, Correlator(grid, 10 * NX, 3), window=15, temperature=1.0
    )
    assert np.isfinite(peaks.evidence).tolist() == [False, False, True, False]
    assert peaks.evidence[2] == pytest.approx(6e5, rel=1e-5)
    peaks = fine_peaks(
        columns, np.full(4, 3e6, np.float32), 0 * matrices, Correlator(grid, 10 * NX, 3), window=15, temperature=1.0
    )
    np.testing.assert_allclose(peaks.evidence, -3e6 + np.log(2), rtol=1e-6)


def test_band_limit_keeps_the_correlation(rng):
    volume = blob_map(rng, width=2.5)
    grid = PolarGrid.for_content(NX, 12, 8, 10, fast=True)
    half = polar_slices(volume, Rotation.random(4, random_state=1).as_matrix(), grid)
    matrices, columns = np.empty((4, grid.n_angles, 12), np.float32), np.empty((grid.n_angles, 12, 1), np.complex64)
    reference_matrices(half, matrices)
    particle_matrices(half[0], grid.shift_ramp(np.zeros((1, 2))), columns)
    limited, whole = Correlator(grid, 8, 10), Correlator(grid, 10 * NX, 10)
    assert sum((b.stop - b.start) * b.n_rings for b in limited.bands) < 0.9 * grid.n_angles * 12
    expected = whole.correlate(columns, matrices).copy()
    np.testing.assert_allclose(limited.correlate(columns, matrices), expected, atol=1e-3 * np.abs(expected).max())


def test_bands_cover_every_order_once():
    grid = PolarGrid(64, 20, 128)
    runs = bands(grid, 25)
    assert [b.start for b in runs[1:]] == [b.stop for b in runs[:-1]] and runs[0].start == 0 and runs[-1].stop == 128
    assert runs[0].n_rings == 20 and min(b.n_rings for b in runs) < 20


def test_coefficients_round_trip(rng):
    half = (rng.standard_normal((2, 3, 16)) + 1j * rng.standard_normal((2, 3, 16))).astype(np.complex64)
    coefficients = angular_coefficients(half, axis=2)
    full = np.fft.fft(full_circle(half), axis=2) / 32
    np.testing.assert_allclose(coefficients, full[..., :17], atol=1e-6)
    np.testing.assert_allclose(full[..., -3], -coefficients[..., 3].conj(), atol=1e-6)
    coefficients[..., 16] = 0
    again = angular_coefficients(half_circle(coefficients, 2, 32), axis=2)
    np.testing.assert_allclose(again[..., :16], coefficients[..., :16], atol=1e-6)


def test_polar_transform_is_the_fourier_sum(rng):
    grid = PolarGrid(16, 6, 32)
    images = rng.standard_normal((5, 16, 16)).astype(np.float32)
    samples = PolarTransform(grid, batch=2)(images)
    y, x = np.mgrid[:16, :16] - 8
    px, py = grid.points[3, 5]
    expected = (images * np.exp(-2j * np.pi * (px * x + py * y) / 16)).sum(axis=(1, 2))
    np.testing.assert_allclose(samples[:, 3, 5], expected, rtol=1e-3, atol=1e-2)


def test_shift_grids():
    disc = shift_disc(2, 1.0)
    assert len(disc) == 13 and [0, 0] in disc.tolist() and np.abs(disc).max() == 2
    assert shift_disc(0.5, 1.0).tolist() == [[0, 0]]
    level = Level.make(PolarGrid(NX, 2, 32), shift_disc(3, 1.0))
    window = shift_window(level, np.array([[2.0, 0.0]]), 1.0)
    assert sorted(map(tuple, level.shifts[window])) == [(1, -1), (1, 0), (1, 1), (2, -1), (2, 0), (2, 1), (3, 0)]
    near = neighbours(disc, 1.0)
    centre = disc.tolist().index([0, 0])
    assert disc[near[centre]].tolist() == [[-1, 0], [1, 0], [0, -1], [0, 1]]
    assert near[disc.tolist().index([2, 0]), 1] == -1


def test_parabola_finds_its_own_top():
    top = 0.3
    left, centre, right = (-((x - top) ** 2) for x in (-1, 0, 1))
    np.testing.assert_allclose(
        parabola(np.array([left, 1.0]), np.array([centre, 1.0]), np.array([right, 1.0])), [top, 0]
    )


def test_good_length():
    assert [good_length(n) for n in (1, 32, 33, 65, 97, 129, 225)] == [32, 32, 48, 80, 112, 160, 320]


def test_poses_at_the_limit_are_interpolated_as_others(rng):
    """A particle without shift along the axis: its shift across it and its angle are found as without a limit, although
    neighbours along the axis are out of reach.
    """
    volume = blob_map(rng)
    grid = PolarGrid.for_content(NX, 10, 12, 15, fast=True)
    angle = -2 * np.pi * (grid.n_angles // 8) / grid.n_angles
    shift = 1.3 * np.array([[np.cos(angle), -np.sin(angle)]])  # the axis lies along (sin, cos)
    truth = in_plane(np.eye(3)[None], np.array([angle]), np.array([False]))
    sample = polar_slices(volume, truth, grid)[0] * grid.shift_ramp(-shift)[:, :, 0]
    matrices = np.empty((1, grid.n_angles, 10), np.float32)
    power = reference_matrices(polar_slices(volume, np.eye(3)[None], grid), matrices)
    level = Level.make(grid, shift_disc(3, 1.0))
    columns = np.empty((grid.n_angles, 10, len(level.shifts)), np.complex64)
    particle_matrices((sample * grid.quadrature[:, None]).astype(np.complex64), level.ramp, columns)
    norm = ring_norms(np.ones((1, 10)), np.ones((1, 10)), power, grid)[0]
    found = []
    for limit in (None, AxialLimit.of(np.array([0.05]), level.shifts, 1.0)):
        peaks = fine_peaks(columns, norm, matrices, Correlator(grid, 12, 200), window=1e9, temperature=1.0, limit=limit)
        assert peaks.value[0] > 0
        found.append(np.append(interpolate_shifts(peaks, level.shifts, 1.0)[0], peaks.angle[0] % (2 * np.pi)))
    np.testing.assert_allclose(found[1], found[0], atol=0.02)
    np.testing.assert_allclose(found[1], [*shift[0], angle % (2 * np.pi)], atol=0.1)
