"""Full-size maps from images as they were recorded: planted poses, other boxes and pixels, lens errors, any ranks."""

from dataclasses import replace

import numpy as np
import pytest

from mpirefine.data.grid import Grid
from mpirefine.data.lens import Lens
from mpirefine.maths.fourier.fsc import fsc
from mpirefine.maths.image.aberrations import odd_phase, with_tilt
from mpirefine.maths.image.resampling import Resampler
from mpirefine.steps.likelihood.average import Average
from mpirefine.steps.likelihood.estimates import full_size_noise
from mpirefine.steps.likelihood.reconstruct import Reconstruct
from mpirefine.steps.likelihood.volumes import full_size
from mpirefine.steps.likelihood.volumes.full_size import full_size_maps
from mpirefine.steps.shared.particles import MemoryStack, OwnParticles
from tests.steps.small import GRID
from tests.steps.test_map_steps import planted

FINE = Lens("fine", Grid(40, 4.8))  # the same field in more pixels
STRETCHED = Lens("stretched", GRID, magnification=((1.1, 0.0), (0.0, 1.0)))
TILTED = Lens("tilted", GRID, odd=with_tilt((), (90.0, -60.0), 2.7, 300.0))  # a turn at the highest frequencies
WIDE = Lens("wide", Grid(48, 6.0))


def recorded(images, lens):
    """Images (p, y, x) of the particles on GRID as a lens records them: the inverse of what is corrected."""
    inverse = Lens("", GRID, magnification=tuple(map(tuple, np.linalg.inv(lens.magnification))))
    if lens.grid.length > GRID.length:
        pad = (lens.grid.nx - GRID.nx) // 2
        return np.pad(images, ((0, 0), (pad, pad), (pad, pad)))
    made = Resampler(inverse, lens.grid)(images)
    fy, fx = lens.grid.frequencies()
    phased = np.fft.rfft2(made) * np.exp(1j * odd_phase(lens, fx, fy))
    return np.fft.irfft2(phased, s=made.shape[1:]).astype(np.float32)


class Recorded(MemoryStack):
    """A stack whose image boxes differ."""

    def __init__(self, images, lenses, lens):
        self._made = [recorded(images, one) for one in lenses]
        self._lens = lens

    def read(self, rows):
        (number,) = np.unique(self._lens[rows])
        return self._made[number][rows].copy()


def with_lenses(ctx, lenses):
    """The context with its images recorded by several lenses in turn."""
    own = ctx.particles
    lens = (own.table.row % len(lenses)).astype(np.int32)
    table = replace(own.table, lenses=lenses, lens=lens)
    stack = Recorded(own.images(np.arange(len(own))), lenses, lens)
    return replace(ctx, particles=OwnParticles(table, stack, ctx.grid, pixels=None))


@pytest.mark.ranks(1, 3)
@pytest.mark.parametrize("symmetries", [("c1", "c1"), ("d2", "c3")], ids="-".join)
def test_on_the_working_grid_it_is_what_class_sums_give(team, symmetries):
    """Poses are planted as classes of their own, so that both ways average the same."""
    truth, ctx, state = planted(team, n=240)
    ctx = replace(ctx, symmetries=symmetries)
    found = list(full_size_maps(state, ctx, GRID))
    classes = Reconstruct().run(Average(None).run(state, ctx), ctx)
    assert [one.model for one in found] == [0, 1]
    if team.is_root:
        for m in (0, 1):
            own, other = found[m].volume, classes.volumes[m] * ctx.masks[0]
            if symmetries[m] == "c1":
                assert fsc(own, truth[m] * ctx.masks[0])[1:8].min() > 0.9
            assert fsc(own, other)[1:11].min() > 0.95
            assert (own * other).sum() / (other * other).sum() == pytest.approx(1, abs=0.1)
            assert set(found[m].curves) >= {"half_fsc", "half_fsc_masked", "half_fsc_unmasked", "half_fsc_randomised"}


def made_alone(team):
    _, ctx, state = planted(team)
    return list(full_size_maps(state, ctx, GRID))


@pytest.mark.ranks(1, 2, 4)
def test_ranks_and_passes_change_nothing(team, one_rank, monkeypatch):
    """One pass for all maps, or one each where a rank has no memory for more."""
    together = made_alone(team)
    monkeypatch.setattr(full_size, "SLAB_BYTES", 1)
    single = made_alone(team)
    if team.is_root:
        alone = one_rank("full-size maps", made_alone)
        for m in (0, 1):
            for found in (together[m], single[m]):
                size = np.abs(alone[m].volume).max()
                np.testing.assert_allclose(found.volume, alone[m].volume, atol=1e-4 * size)


@pytest.mark.ranks(1, 2)
@pytest.mark.parametrize(
    "lenses", [(GRID, FINE), (GRID, WIDE), (STRETCHED,), (TILTED,)], ids=["fine", "wide", "stretched", "tilted"]
)
def test_each_lens_is_honoured(team, lenses):
    """Images of other boxes and pixels, with 10 % magnification in one direction or beam tilt, give the map of images
    without.
    """
    lenses = tuple(one if isinstance(one, Lens) else Lens("plain", one) for one in lenses)
    truth, ctx, state = planted(team, n=240)
    plain = list(full_size_maps(state, ctx, GRID))
    honoured = list(full_size_maps(state, with_lenses(ctx, lenses), GRID))
    if team.is_root:
        for m in (0, 1):
            assert fsc(honoured[m].volume, plain[m].volume)[1:12].min() > 0.97
            ratio = (honoured[m].volume * plain[m].volume).sum() / (plain[m].volume ** 2).sum()
            assert ratio == pytest.approx(1, abs=0.05)


@pytest.mark.ranks(1)
@pytest.mark.parametrize("lens", [STRETCHED, TILTED], ids=["stretched", "tilted"])
def test_the_planted_errors_matter(team, lens):
    _, ctx, state = planted(team, n=240)
    blind = with_lenses(ctx, (lens,))
    blind.particles.lenses = (Lens("plain", GRID),)
    plain, wrong = (list(full_size_maps(state, one, GRID))[0].volume for one in (ctx, blind))
    assert fsc(wrong, plain)[9:12].min() < 0.95


@pytest.mark.ranks(1)
def test_a_larger_box_holds_finer_detail_of_fine_images_only(team):
    """Half of the images are recorded with finer pixels; only these reach beyond the others' Nyquist."""
    _, ctx, state = planted(team, n=120)
    found = list(full_size_maps(state, with_lenses(ctx, (Lens("plain", GRID), FINE)), FINE.grid))
    assert found[0].volume.shape == (40, 40, 40)
    assert np.isfinite(found[0].volume).all()


@pytest.mark.ranks(1, 2)
def test_a_grid_of_which_no_image_was_sampled(team, monkeypatch):
    """Its noise beyond the working rings is that of the outermost one: nothing is nan."""
    monkeypatch.setattr(full_size_noise, "SAMPLE", 0)
    _, ctx, state = planted(team)
    noise = full_size_noise.noise_on(state, with_lenses(ctx, (Lens("plain", GRID), FINE)), FINE.grid)
    assert np.isfinite(noise).all() and (noise > 0).all()
