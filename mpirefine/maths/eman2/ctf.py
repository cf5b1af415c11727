"""Curves and images of EMAN2's CTF model, and its conversion to and from the program's own.

γ(s) = π λ Δf s² − ½ π Cs λ³ s⁴ with λ = 12.2639 / √(1000 V + 0.97845 V²) Å; the amplitude is sin(γ + φ) exp(−B s²/4), φ
= asin(ampcont / 100): positive at low frequency for underfocus. Curves have no astigmatism; images have Δf(θ) = defocus
+ ½ dfdiff cos 2(θ − dfang).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mpirefine.data.ctf import CTFParams
from mpirefine.data.emanctf import NUMBERS, EmanCTF
from mpirefine.errors import ParameterError

Curve = Callable[[EmanCTF, np.ndarray, np.ndarray | float], np.ndarray]
FITTED_FROM, FITTED_FULL = 0.04, 0.05  # 1/Å: the weight of curves for fitting starts at 25 Å and is 1 from 20 Å on
SMOOTHING = 25  # the fits that smooth an SNR curve take a 25th of its points on either side


def amplitude_phase(ampcont: np.ndarray | float) -> np.ndarray:
    """Phase φ in radians, −π to π, of an amplitude contrast c in %; beyond ±100, asin continues as that of 200 − c and
    −200 − c.
    """
    c = np.asarray(ampcont, np.float64) / 100
    inner = np.arcsin(np.clip(np.where(c > 1, 2 - c, np.where(c < -1, -2 - c, c)), -1, 1))
    return np.where(c > 1, np.pi - inner, np.where(c < -1, -np.pi - inner, inner))


def oscillation(ctf: EmanCTF, s: np.ndarray, defocus: np.ndarray | float) -> np.ndarray:
    """sin(γ + φ) at frequencies in 1/Å and defocus in µm."""
    lam = 12.2639 / np.sqrt(1e3 * ctf.voltage + 0.97845 * ctf.voltage**2)
    s2 = s * s
    gamma = np.pi * lam * 1e4 * defocus * s2 - np.pi / 2 * 1e7 * ctf.cs * lam**3 * s2 * s2
    return np.sin(gamma + amplitude_phase(ctf.ampcont))


def amplitude(ctf: EmanCTF, s: np.ndarray, defocus: np.ndarray | float) -> np.ndarray:
    """sin(γ + φ) exp(−B s²/4) at frequencies in 1/Å and defocus in µm."""
    return oscillation(ctf, s, defocus) * np.exp(-ctf.bfactor / 4 * s * s)


def sample_curve(ctf: EmanCTF, name: str, s: np.ndarray) -> np.ndarray:
    """The curve `background` or `snr` at frequencies in 1/Å: linear between its samples, the last value beyond them.

    Raises ParameterError when the CTF has no such curve.
    """
    values = getattr(ctf, name)
    if not values:
        raise ParameterError(f"a CTF without its {name} curve: EMAN2's CTF estimation writes it to the headers")
    return np.interp(s / ctf.dsbg, np.arange(len(values)), values)


def sample_place(ctf: EmanCTF, s: np.ndarray) -> np.ndarray:
    """The index, not rounded, of frequencies among the samples of the curves; float32, since EMAN2 truncates it."""
    return s.astype(np.float32) / np.float32(ctf.dsbg)


def noise_step(ctf: EmanCTF, s: np.ndarray) -> np.ndarray:
    """The last sample of the background below each frequency, as TOTAL and NOISERATIO have it."""
    sample_curve(ctf, "background", s[:0])
    return np.asarray(ctf.background)[np.minimum(sample_place(ctf, s).astype(int), len(ctf.background) - 1)]


def wiener(ctf: EmanCTF, s: np.ndarray) -> np.ndarray:
    """SNR / (1 + SNR), 0 at the origin and from the last sample of the SNR on."""
    snr = np.maximum(sample_curve(ctf, "snr", s), 0)
    return np.where((s > 0) & (sample_place(ctf, s) < len(ctf.snr) - 1), snr / (snr + 1), 0)


def high_resolution_ramp(s: np.ndarray) -> np.ndarray:
    """0 below 25 Å, rising to 1 at 20 Å."""
    return np.where(s < FITTED_FROM, 0, np.where(s < FITTED_FULL, 1 - np.exp(-(((s - FITTED_FROM) * 300) ** 2)), 1))


def sign(ctf: EmanCTF, s: np.ndarray, defocus: np.ndarray | float) -> np.ndarray:
    """The sign of sin(γ + φ), 1 where it is 0."""
    return np.where(oscillation(ctf, s, defocus) < 0, -1.0, 1.0)


def share_of_signal(ctf: EmanCTF, s: np.ndarray, defocus: np.ndarray | float) -> np.ndarray:
    """Signal / (signal + noise) for a structure factor of 1."""
    signal = amplitude(ctf, s, defocus) ** 2
    return signal / (signal + noise_step(ctf, s))


COMMON_KINDS: dict[str, Curve] = {
    "AMP": amplitude,
    "ABS": lambda ctf, s, defocus: np.abs(amplitude(ctf, s, defocus)),
    "SIGN": sign,
    "INTEN": lambda ctf, s, defocus: amplitude(ctf, s, defocus) ** 2,
    "BACKGROUND": lambda ctf, s, defocus: sample_curve(ctf, "background", s),
    "SNR": lambda ctf, s, defocus: sample_curve(ctf, "snr", s),
    "WIENER_FILTER": lambda ctf, s, defocus: wiener(ctf, s),
    "TOTAL": lambda ctf, s, defocus: amplitude(ctf, s, defocus) ** 2 + noise_step(ctf, s),
    "NOISERATIO": share_of_signal,
}
# kinds that only curves have, or that differ between curves and images in EMAN2
CURVES: dict[str, Curve] = {
    **COMMON_KINDS,
    "SNR_SMOOTH": lambda ctf, s, defocus: smooth_snr(ctf, s),
    "FITREF": lambda ctf, s, defocus: np.zeros_like(s),
    "POWEVAL": lambda ctf, s, defocus: np.zeros_like(s),
}
# kinds with jumps at whole multiples of dsbg, or with small differences of large numbers: they are sampled where EMAN2
# samples them, at frequencies that are summed up in float32
STEPPED = ("TOTAL", "NOISERATIO", "WIENER_FILTER", "SNR_SMOOTH")
ZERO_AT_ORIGIN = ("SNR", "SNR_SMOOTH", "WIENER_FILTER")
IMAGES: dict[str, Curve] = {
    **COMMON_KINDS,
    "SNR_SMOOTH": COMMON_KINDS["SNR"],
    "FITREF": lambda ctf, s, defocus: high_resolution_ramp(s) * amplitude(ctf, s, defocus) ** 2,
    "POWEVAL": lambda ctf, s, defocus: (
        high_resolution_ramp(s) * np.where(oscillation(ctf, s, defocus) > 0.9, np.exp(-25 * s * s), 0)
    ),
    "ALIFILT": lambda ctf, s, defocus: oscillation(ctf, s, defocus) ** 2 * np.exp(-ctf.bfactor / 4 * s * s),
}


def smooth_snr(ctf: EmanCTF, s: np.ndarray) -> np.ndarray:
    """The measured SNR fitted piecewise by the theoretical one, AMP² / background.

    At each point the slope of a line through the points around it (at least 2, or a 25th of the curve, on either side;
    not the first of the curve) times the theoretical SNR; 0 where that is negative, and at the first point.
    """
    noise = sample_curve(ctf, "background", s)
    x = amplitude(ctf, s, ctf.defocus) ** 2 / np.where(noise > 0, noise, 1e-3)
    y = sample_curve(ctf, "snr", s)
    reach = max(2, len(s) // SMOOTHING)
    index = np.arange(len(s))
    near = (np.abs(index[:, None] - index) <= reach) & (index >= 1)
    count = near.sum(axis=1)
    bottom = count * (near @ (x * x)) - (near @ x) ** 2
    slope = (count * (near @ (x * y)) - (near @ x) * (near @ y)) / np.where(bottom != 0, bottom, np.inf)
    return np.where(index > 0, np.maximum(slope * x, 0), 0)


def curve_function(kinds: dict[str, Curve], kind: str) -> Curve:
    """The function of a kind of curve. Raises ParameterError with all names for an unknown one."""
    if kind not in kinds:
        raise ParameterError(f"unknown kind of CTF curve '{kind}': it is one of {', '.join(kinds)}")
    return kinds[kind]


def curve(ctf: EmanCTF, kind: str, count: int, step: float) -> np.ndarray:
    """A curve (count,) float64 at 0, step, 2 step, ... in 1/Å, EMAN2's compute_1d(2 count, step).

    `kind` is EMAN2's name without CTF_. Raises ParameterError for an unknown one, or a curve that the CTF lacks.
    """
    function, frequencies = curve_function(CURVES, kind), step * np.arange(count, dtype=np.float64)
    if kind in STEPPED:
        frequencies = np.cumsum(np.where(frequencies > 0, np.float32(step), 0), dtype=np.float32).astype(np.float64)
    return np.asarray(function(ctf, frequencies, ctf.defocus), np.float64)


def ring_curve(ctf: EmanCTF, kind: str, nx: int) -> np.ndarray:
    """A curve (nx // 2,) at the rings 0 .. nx // 2 − 1 of a box of nx pixels."""
    return curve(ctf, kind, nx // 2, 1 / (ctf.apix * nx))


def ctf_image(ctf: EmanCTF, kind: str, nx: int) -> np.ndarray:
    """A CTF image (nx, nx // 2 + 1) float64 on the half-spectrum of a box, EMAN2's compute_2d_complex; `kind` as in
    `curve`.

    SNR and WIENER_FILTER are 0 at the origin.
    """
    fy, fx = np.fft.fftfreq(nx, ctf.apix)[:, None], np.fft.rfftfreq(nx, ctf.apix)[None]
    angle = 2 * np.arctan2(fy, fx) - 2 * np.radians(ctf.dfang)
    defocus = ctf.defocus + ctf.dfdiff / 2 * np.cos(angle)
    values = np.asarray(curve_function(IMAGES, kind)(ctf, np.hypot(fx, fy), defocus), np.float64)
    if kind in ZERO_AT_ORIGIN:
        values[0, 0] = 0
    return values


def phase_flip(image_yx: np.ndarray, ctf: EmanCTF) -> np.ndarray:
    """An image (y, x), or a stack of them, with its transform multiplied by the sign of the CTF; float32."""
    from scipy import fft

    ny = image_yx.shape[-2]
    return fft.irfft2(fft.rfft2(image_yx) * ctf_image(ctf, "SIGN", ny), s=image_yx.shape[-2:]).astype(np.float32)


def to_params(ctfs: list[EmanCTF], *, flipped: bool = False) -> CTFParams:
    """The program's own parameters (p,) of EMAN2's CTFs; `flipped`: the phases of the images are flipped.

    An amplitude contrast beyond 0 .. 100 %, a phase plate, becomes a phase shift.
    """

    def column(name: str) -> np.ndarray:
        return np.array([getattr(ctf, name) for ctf in ctfs], np.float64)

    mean, half = 1e4 * column("defocus"), 0.5e4 * column("dfdiff")
    contrast = column("ampcont")
    plain = (contrast >= 0) & (contrast <= 100)
    return CTFParams(
        defocus_u=mean + half,
        defocus_v=mean - half,
        defocus_angle=column("dfang"),
        phase_shift=np.where(plain, 0, np.degrees(amplitude_phase(contrast))),
        bfactor=column("bfactor"),
        scale=np.ones(len(ctfs)),
        voltage=column("voltage"),
        cs=column("cs"),
        amplitude_contrast=np.where(plain, contrast / 100, 0),
        flipped=np.ones(len(ctfs), bool) if flipped else None,
    )


def from_params(params: CTFParams, apix: float) -> list[EmanCTF]:
    """EMAN2's CTFs of the program's own parameters (p,), as `to_columns` has them; `apix` in Å."""
    columns = to_columns(params)
    rows = np.stack(list(columns.values()), axis=1)
    return [EmanCTF.from_fields({**dict(zip(columns, row)), "apix": apix}) for row in rows]


def to_columns(params: CTFParams) -> dict[str, np.ndarray]:
    """EMAN2's CTFs of the program's own parameters, a column (p,) for each field but the pixel size and the curves.

    The phase shift and the amplitude contrast become one amplitude contrast, possibly beyond ±100 %.
    """
    phase = np.radians(params.phase_shift) + np.arcsin(params.amplitude_contrast)
    phase = np.remainder(phase + np.pi, 2 * np.pi) - np.pi
    contrast = np.where(
        phase > np.pi / 2, 2 - np.sin(phase), np.where(phase < -np.pi / 2, -2 - np.sin(phase), np.sin(phase))
    )
    mean, difference = (params.defocus_u + params.defocus_v) / 2e4, (params.defocus_u - params.defocus_v) / 1e4
    columns = (mean, difference, params.defocus_angle, params.bfactor, 100 * contrast, params.voltage, params.cs)
    return dict(zip(NUMBERS, columns))
