"""Helices: EMAN2's text and operations, views, maps made symmetric, twist and rise found, shifts along the axis."""

import numpy as np
import pytest

from mpirefine.data.rotations import rotation_from_eman
from mpirefine.errors import ParameterError
from mpirefine.maths.eman2.aligners.base import search_poses
from mpirefine.maths.eman2.comparators.base import About, Along
from mpirefine.maths.eman2.comparators.pixels import correlation_coefficient
from mpirefine.maths.eman2.poses import Alignment, move_images
from mpirefine.maths.eman2.processors.transform import apply_symmetry
from mpirefine.maths.geometry.directions import nearest_cells, projection_directions
from mpirefine.maths.geometry.helical_map import agreement_with_copies, find_helix, impose
from mpirefine.maths.geometry.helix import Helix, held_shares
from mpirefine.maths.geometry.symmetry import copies_in_box, elements, helix, operations
from mpirefine.maths.image.phantom import tubes
from mpirefine.maths.likelihood.axial_limit import AxialLimit

TMV = Helix(10, 1, 360 / 16.33, 0.31)  # 16.33 units a turn, rise in voxels
TWO_STARTS = Helix(12, 2, 35.0, 3.0)


@pytest.fixture(scope="module")
def tmv():
    return tubes(48, TMV, 13.0, 2, np.random.default_rng(3))


def test_copies_lie_in_both_directions():
    """As EMAN2 2.99.72 answers for h3:1:50:4."""
    turns, shifts = elements("h3:1:50:4")
    np.testing.assert_allclose(shifts, [0, 4, -4])
    np.testing.assert_allclose(turns, rotation_from_eman([0, 50, -50], 0, 0), atol=1e-12)


def test_starts_go_round_the_axis_at_each_step():
    turns, shifts = elements("h6:2:30:4.5")
    np.testing.assert_allclose(shifts, [0, 0, 4.5, 4.5, -4.5, -4.5])
    np.testing.assert_allclose(turns, rotation_from_eman([0, 180, 30, 210, -30, 150], 0, 0), atol=1e-12)
    np.testing.assert_allclose(operations("h6:2:30:4.5"), operations("c2"), atol=1e-12)


def test_the_rise_is_in_pixels_unless_the_pixel_size_is_given():
    assert helix("H6,2,30,-4.5,10") == (6, 2, 30, -4.5, 10, None)
    assert helix("h6:2:daz=30:tz=-4.5:maxtilt=10:apix=3") == (6, 2, 30, -4.5, 10, 3)
    np.testing.assert_allclose(elements("h2:1:30:6")[1], [0, 6])
    np.testing.assert_allclose(elements("h2:1:30:6:5:3")[1], [0, 2])
    known = helix("h2:1:30:6").in_angstrom(3.0, 15)
    assert (known.tz, known.tilt) == (18, 15) and helix(known.text) == known
    np.testing.assert_allclose(elements(known.text, apix=4.5)[1], [0, 4])
    assert helix("h2:1:30:6:5").in_angstrom(3.0, 15).tilt == 5
    with pytest.raises(ParameterError, match="helix"):
        helix("c3")


def test_applysym_shifts_by_pixels_whatever_their_size():
    image = np.zeros((16, 16, 16), np.float32)
    image[8, 8, 8] = 3
    out = apply_symmetry(image, 2.5, sym="h3,1,50,4")
    assert np.flatnonzero(out[:, 8, 8] > 0.5).tolist() == [4, 8, 12]


def test_copies_that_the_box_does_not_hold_are_left_out():
    copies = copies_in_box("h9:1:50:4", 16)
    np.testing.assert_allclose(copies.shifts, [0, 4, -4, 8, -8, 12, -12])
    np.testing.assert_allclose(copies.shares, [1, 0.75, 0.75, 0.5, 0.5, 0.25, 0.25])
    assert len(copies_in_box("icos", 16).turns) == 60 and held_shares(np.array([-20.0]), 16) == 0


@pytest.mark.parametrize("starts", [1, 2, 3])
@pytest.mark.parametrize("tilt", [0, 12])
def test_views_from_the_side_cover_the_band_once(starts, tilt):
    """Every view within the band is near one of them, up to turns between starts and the opposite view."""
    name = f"h12:{starts}:30:2:{tilt}"
    views = projection_directions(name, 4.0, np.random.default_rng(0))
    assert np.abs(np.degrees(np.arcsin(views[:, 2, 2]))).max() <= tilt + 1e-9
    rng = np.random.default_rng(1)
    seen = rotation_from_eman(rng.uniform(0, 360, 300), 90 + rng.uniform(-tilt, tilt, 300), 0)
    copies = np.einsum("cx,gxy->gcy", views[:, 2], operations(name)).reshape(-1, 3)
    nearest = np.degrees(np.arccos(np.clip(np.abs(seen[:, 2] @ copies.T).max(axis=1), 0, 1)))
    assert nearest.max() < 0.75 * 4
    others = np.abs(np.einsum("nx,gxy,my->nmg", views[:, 2], operations(name), views[:, 2])).max(axis=2)
    assert (others - 2 * np.eye(len(views))).max() < np.cos(np.radians(1.5))
    coarse = projection_directions(name, 8.0)
    own = np.abs(
        np.einsum("nx,gxy,ny->ng", views[:, 2], operations(name), coarse[nearest_cells(views, coarse, name), 2])
    )
    assert own.max(axis=1).min() > np.cos(np.radians(0.8 * 8))


@pytest.mark.parametrize("coil", [TMV, TWO_STARTS])
def test_an_imposed_map_is_symmetric_and_the_truth_stays(coil):
    truth = tubes(48, coil, 13.0, 1, np.random.default_rng(3))[0]
    noisy = truth + truth.std() * np.random.default_rng(0).standard_normal(truth.shape).astype(np.float32)
    middle = np.s_[6:-6, 4:-4, 4:-4]
    assert np.corrcoef(impose(truth, coil, coil.tz, 0.3)[middle].ravel(), truth[middle].ravel())[0, 1] > 0.999
    imposed = impose(noisy, coil, coil.tz, 0.3)
    assert np.corrcoef(imposed[middle].ravel(), truth[middle].ravel())[0, 1] > 0.93
    assert np.corrcoef(noisy[middle].ravel(), truth[middle].ravel())[0, 1] < 0.8
    assert agreement_with_copies(imposed, coil.daz, coil.tz, 20) > 0.95


def test_only_the_central_part_counts(tmv):
    spoilt = tmv[0].copy()
    spoilt[:14], spoilt[-13:] = 0, 0
    imposed = impose(spoilt, TMV, TMV.tz, 0.3)
    assert np.corrcoef(imposed[6:-6, 4:-4, 4:-4].ravel(), tmv[0][6:-6, 4:-4, 4:-4].ravel())[0, 1] > 0.999


@pytest.mark.parametrize("coil", [TMV, TWO_STARTS])
@pytest.mark.parametrize("off", [(1.03, 0.97), (0.97, 0.97)])
def test_twist_and_rise_are_found(coil, off):
    truth = tubes(48, coil, 13.0, 1, np.random.default_rng(3))[0]
    noisy = truth + 0.7 * truth.std() * np.random.default_rng(0).standard_normal(truth.shape).astype(np.float32)
    found = find_helix(noisy, coil.daz * off[0], coil.tz * off[1], 20)
    assert abs(found.twist / coil.daz - 1) < 0.002 and abs(found.rise / coil.tz - 1) < 0.005
    wrong = agreement_with_copies(noisy, coil.daz * off[0], coil.tz * off[1], 20)
    assert found.agreement > wrong + 0.05


def test_a_rise_that_the_sphere_does_not_hold_stays(tmv):
    found = find_helix(tmv[0], 40.0, 15.0, 20)
    assert (found.twist, found.rise) == (40.0, 15.0)


def test_shifts_along_the_axis_are_limited_to_half_a_rise():
    """Each angle and shift by itself, against the axis of a turned projection."""
    angles, shifts = 12, np.array([[0, 0], [0, 2], [2, 0], [1.0, 1.0], [-2, 0]])
    rows = np.random.default_rng(0).permutation(angles)
    limit = AxialLimit.of(np.array([np.inf, 1.0, 1.0]), shifts, 0.5)
    block = np.zeros((angles, 3, 2 * len(shifts), 2), np.float32)
    limit.apply(block, 0, rows)
    assert not block[:, 0].any()
    for t in range(angles):
        phi = -360 * t / angles
        axis = (rotation_from_eman(0, 0, phi) @ rotation_from_eman(25.0, 90.0, 0))[:2, 2]
        allowed = np.abs(shifts @ axis) <= 1.25
        for reference in (1, 2):
            for column in range(2 * len(shifts)):
                kept = block[rows[t], reference, column] > -1
                assert (kept == allowed[column % len(shifts)]).all(), (t, column)
    assert AxialLimit.of(np.full(3, np.inf), shifts, 0.5) is None
    assert limit.within(np.array([0]), np.array([1])) is None


@pytest.mark.parametrize("turning", [True, False])
def test_aligners_keep_to_the_axis(turning):
    """A tube that is shifted along its axis by 2 rises, so that it shows another side, is found there, but not with a
    limit; one that is shifted less is found with it.
    """
    wide = tubes(64, TWO_STARTS, 8.0, 1, np.random.default_rng(1))[0].sum(axis=1)  # the axis z is y of the image
    projection, angle = wide[16:48, 16:48], 40.0 if turning else 0.0
    free, limited = (About(along=along) for along in (None, Along(np.array([1.5]), turning)))

    def found(shift, about):
        moved = wide[16 - shift : 48 - shift, 14:46][None]
        turned = move_images(moved, Alignment.of(np.array([angle])))
        pair = (projection[None], turned[0]) if turning else (moved, projection)
        pose = search_poses(*pair, correlation_coefficient, about, maxshift=12, mirror=False)
        axis = np.radians(pose.alpha[0]) if turning else 0.0  # where the axis lies, in the image that stays
        sine, cosine = np.sin(axis), np.cos(axis)
        along, across = pose.tx[0] * sine + pose.ty[0] * cosine, pose.tx[0] * cosine - pose.ty[0] * sine
        return (pose.alpha[0] + 180) % 360 - 180, abs(along), abs(across)

    np.testing.assert_allclose(found(6, free), [angle, 6, 2], atol=1)
    assert found(6, limited)[1] < 2.6
    np.testing.assert_allclose(found(1, limited), [angle, 1, 2], atol=1)
