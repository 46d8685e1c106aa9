"""Law: the power law that a learning curve follows, error = a + b n^-c, and many fits of it at once.

Source: that learning curves of networks follow it, and that a is what more images cannot mend, Hestness et al. 2017,
arXiv:1712.00409; fitting it to small samples with weights that grow with them, Figueroa et al. 2012,
doi:10.1186/1472-6947-12-8.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

EXPONENTS = np.linspace(0.05, 1.5, 59)
"""Values of c that are tried: below, nothing is learnt from more images; above, nothing is left to learn soon."""


@dataclass(frozen=True)
class Laws:
    """B power laws, for as many resamples of one curve.

    Attributes:
        floor: (B,) a: the error that no number of images goes below.
        height: (B,) b, for n counted in ``unit``.
        exponent: (B,) c.
        unit: images that n is counted in.
    """

    floor: NDArray[np.float64]
    height: NDArray[np.float64]
    exponent: NDArray[np.float64]
    unit: float

    @classmethod
    def fit(cls, sizes: NDArray[np.float64], errors: NDArray[np.float64]) -> Self:
        """Return the laws with the least squares, each size counting by its images.

        For each exponent the best floor and height, neither below 0, are known exactly.

        Args:
            sizes: (S,) images, at least 3 different numbers.
            errors: (B, S).
        """
        unit = float(sizes.max())
        curves = (sizes / unit)[None, :] ** -EXPONENTS[:, None]
        weights = sizes / sizes.sum()
        floor, height = _lines(curves, errors, weights)
        missed = floor[..., None] + height[..., None] * curves - errors[:, None, :]
        best = (missed**2 @ weights).argmin(axis=1)
        rows = np.arange(len(errors))
        return cls(floor[rows, best], height[rows, best], EXPONENTS[best], unit)

    def at(self, images: float) -> NDArray[np.float64]:
        """Return (B,) errors at a number of images."""
        return self.floor + self.height * (images / self.unit) ** -self.exponent

    def needed(self, error: float) -> NDArray[np.float64]:
        """Return (B,) images with which the error is reached; infinite where it never is."""
        room = error - self.floor
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            needed = self.unit * (room / self.height) ** (-1 / self.exponent)
        return np.where(room <= 0, np.inf, np.where(self.height > 0, needed, 0.0))


def _lines(
    curves: NDArray[np.float64], errors: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (B, E) offsets and slopes of the best lines through errors over curves, neither below 0.

    Args:
        curves: (E, S).
        errors: (B, S).
        weights: (S,) of sum 1.
    """
    x, y = curves @ weights, (errors @ weights)[:, None]
    xx, xy = curves**2 @ weights, errors * weights @ curves.T
    slope = np.maximum((xy - x * y) / (xx - x**2), 0)
    offset = y - slope * x
    through = offset < 0
    return np.where(through, 0, offset), np.where(through, xy / xx, slope)
