"""Sharpness and noise: the power spectrum of the donor's fine structures.

Only structures finer than the ribs are changed, and only relative to the large ones, so that neither contrast nor
anatomy is transferred.
"""

import numpy as np

REFERENCE = (3.0, 12.0)
"""Cycles per frame of the large structures that both spectra are related to."""

FINE = (24.0, 48.0)
"""Cycles per frame: nothing is changed up to the first, everything from the second on."""

GAIN = (0.3, 2.5)
"""Limits of the change of an amplitude."""

BANDS = 16


def specified_texture(image: np.ndarray, donor: np.ndarray) -> np.ndarray:
    """The image with the donor's spectrum of fine structures, uint8 "rows cols".

    Both of one shape. The gain is a smooth function of the frequency in cycles per frame, 1 up to FINE.

    >>> image = np.random.default_rng(0).integers(0, 255, (96, 96), dtype=np.uint8)
    >>> int(np.abs(specified_texture(image, image).astype(int) - image).max())
    0
    """
    radius = _radius(image.shape)
    finest = min(image.shape) / 2
    if finest < 1.25 * FINE[1]:
        return image
    edges = np.geomspace(FINE[1], finest, BANDS + 1)
    ratio = _levels(donor, radius, edges) - _levels(image, radius, edges)
    middle = np.log(edges[:-1] * edges[1:]) / 2
    smooth = np.polynomial.Polynomial.fit(middle, ratio, 3)
    log_gain = smooth(np.clip(np.log(np.maximum(radius, 1e-9)), middle[0], middle[-1]))
    log_gain = np.clip(log_gain, *np.log(GAIN))
    ramp = np.clip(np.log(np.maximum(radius, 1e-9) / FINE[0]) / np.log(FINE[1] / FINE[0]), 0, 1)
    padded = np.pad(
        image.astype(np.float64), [(side // 4, side // 4) for side in image.shape], mode="symmetric"
    )
    gain = np.exp(_like(log_gain * ramp, padded.shape, image.shape))
    changed = np.fft.irfft2(np.fft.rfft2(padded) * gain, padded.shape)
    rows, cols = (side // 4 for side in image.shape)
    inner = changed[rows : rows + image.shape[0], cols : cols + image.shape[1]]
    return np.rint(np.clip(inner, 0, 255)).astype(np.uint8)


def _radius(shape: tuple[int, ...]) -> np.ndarray:
    """Cycles per frame of each coefficient of rfft2."""
    down = np.fft.fftfreq(shape[0]) * shape[0]
    across = np.fft.rfftfreq(shape[1]) * shape[1]
    return np.hypot(down[:, None], across[None, :])


def _levels(image: np.ndarray, radius: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Log amplitude of each band relative to the large structures."""
    rows, cols = image.shape
    window = np.hanning(rows)[:, None] * np.hanning(cols)[None, :]
    values = image.astype(np.float64)
    power = np.abs(np.fft.rfft2((values - values.mean()) * window)) ** 2
    large = power[(radius >= REFERENCE[0]) & (radius < REFERENCE[1])].mean()
    bands = np.digitize(radius, edges) - 1
    means = [power[bands == number].mean() for number in range(len(edges) - 1)]
    return 0.5 * np.log((np.array(means) + 1e-3) / (large + 1e-3))


def _like(values: np.ndarray, padded: tuple[int, ...], shape: tuple[int, ...]) -> np.ndarray:
    """Values by frequency of an image of `shape`, at the frequencies of the padded image."""
    down = np.fft.fftfreq(padded[0]) * shape[0]
    across = np.fft.rfftfreq(padded[1]) * shape[1]
    rows = np.rint(down).astype(int) % shape[0]
    cols = np.clip(np.rint(across).astype(int), 0, values.shape[1] - 1)
    return values[np.ix_(rows, cols)]
