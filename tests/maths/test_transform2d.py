"""Two-dimensional transforms and moved images: the definition written out, exact cases, batches."""

import numpy as np
import pytest

from mpirefine.maths.eman2.poses import Alignment, move_images
from mpirefine.maths.image.interpolation import ImageMover


def random_poses(rng, count, scale=True):
    return Alignment.of(
        rng.uniform(-180, 180, count),
        rng.normal(0, 3, count),
        rng.normal(0, 3, count),
        rng.random(count) < 0.5,
        rng.uniform(0.8, 1.2, count) if scale else 1.0,
    )


def by_definition(image, pose):
    """out(x') = in(T⁻¹ x'), pixel by pixel."""
    ny, nx = image.shape
    back, out = np.linalg.inv(pose.matrix()[0]), np.zeros(image.shape)
    for y in range(ny):
        for x in range(nx):
            sx, sy = (back @ [x - nx // 2, y - ny // 2, 1])[:2] + [nx // 2, ny // 2]
            if 0 <= sx < nx and 0 <= sy < ny:
                x0, y0 = int(sx), int(sy)
                x1, y1 = min(x0 + 1, nx - 1), min(y0 + 1, ny - 1)
                u, v = sx - x0, sy - y0
                out[y, x] = (
                    (1 - u) * (1 - v) * image[y0, x0]
                    + u * (1 - v) * image[y0, x1]
                    + (1 - u) * v * image[y1, x0]
                    + u * v * image[y1, x1]
                )
    return out


@pytest.mark.parametrize("shape", [(12, 12), (13, 13), (10, 15)])
def test_moved_by_definition(rng, shape):
    images, poses = rng.standard_normal((5, *shape)).astype(np.float32), random_poses(rng, 5)
    found = move_images(images, poses)
    assert found.dtype == np.float32
    for i in range(5):
        wanted = by_definition(images[i], poses.take([i]))
        # positions within rounding of a border may fall on either side
        assert np.sort(np.abs(found[i] - wanted).ravel())[-3] < 1e-4


def test_quarter_turns_and_whole_shifts_move_pixels(rng):
    odd = rng.standard_normal((1, 9, 9)).astype(np.float32)
    # alpha turns x towards -y of the array's y, which points down: rot90 the other way round
    np.testing.assert_array_equal(move_images(odd, Alignment.of(90.0))[0], np.rot90(odd[0], 1))
    np.testing.assert_array_equal(move_images(odd, Alignment.of(180.0))[0], odd[0, ::-1, ::-1])
    np.testing.assert_array_equal(move_images(odd, Alignment.of(0.0, mirror=True))[0], odd[0, :, ::-1])
    shifted = move_images(odd, Alignment.of(0.0, 2, -1))[0]
    np.testing.assert_array_equal(shifted[:-1, 2:], odd[0, 1:, :-2])
    assert not shifted[-1].any() and not shifted[:, :2].any()
    assert np.array_equal(move_images(odd, Alignment.of(0.0))[0], odd[0])


def test_the_edge_rule():
    """Between the last pixel and the box's end the last pixel counts; before the first pixel nothing does."""
    row = np.arange(1.0, 6.0, dtype=np.float32)[None, None].repeat(5, axis=1)
    np.testing.assert_allclose(move_images(row, Alignment.of(0.0, -0.5))[0, 2], [1.5, 2.5, 3.5, 4.5, 5.0])
    np.testing.assert_allclose(move_images(row, Alignment.of(0.0, 0.5))[0, 2], [0, 1.5, 2.5, 3.5, 4.5])


def test_a_mover_takes_any_image_any_time(rng):
    images, poses = rng.standard_normal((3, 32, 32)).astype(np.float32), random_poses(rng, 70)
    which = rng.integers(0, 3, 70)
    mover = ImageMover(images)
    np.testing.assert_array_equal(mover(poses.matrix(), which), move_images(images[which], poses))
    np.testing.assert_array_equal(ImageMover(images[:1])(poses.matrix()), mover(poses.matrix(), np.zeros(70, int)))


def test_transforms_are_a_group(rng):
    a, b = random_poses(rng, 20), random_poses(rng, 20)
    np.testing.assert_allclose(a.after(b).matrix(), a.matrix() @ b.matrix(), atol=1e-12)
    np.testing.assert_allclose(a.after(a.inverse()).matrix(), np.eye(3)[None].repeat(20, 0), atol=1e-12)
    back = Alignment.from_matrix(a.matrix())
    for name in ("alpha", "tx", "ty", "mirror", "scale"):
        np.testing.assert_allclose(getattr(back, name), getattr(a, name), atol=1e-10)
    assert len(a.take(slice(3, 7))) == 4


def test_translation_comes_before_mirroring():
    pose = Alignment.of(0.0, 3.0, 1.0, True)
    np.testing.assert_allclose(pose.matrix()[0] @ [1, 0, 1], [-4, 1, 1])
