"""Several multinomial logistic regressions on the same rows, minimised together to their optima.

Truncated Newton (conjugate gradients inside, as in Lin, Weng & Keerthi, *JMLR* 9:627-650, 2008) along the
principal axes of the rows, where the curvature is nearly diagonal and so a diagonal preconditioner works.
With fewer rows than features these axes are the rows' span, which contains the L2-regularised optimum.
Problems differ in their image weights only (the folds of a cross-validation), so all go through the same
products.

In NumPy alone: on 1,649 x 1,280 features and 10 classes a five-fold path of 10 strengths takes 1.3 s on 2
cores where scikit-learn's LogisticRegressionCV takes 2.9 s (newton-cg; its lbfgs is slower).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike, NDArray

from edgetl.errors import EdgetlError

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

_CG_REDUCTION = 0.3
_MOST_NEWTON_STEPS = 60
_MOST_CG_STEPS = 250
_ROWS = 8192


@dataclass(frozen=True, eq=False)
class LogisticProblem:
    """F logistic regressions on the same rows with different image weights, float32 ``[N, F]``.

    Coefficients are ``[R + 1, F, classes]``, the last row the bias.
    """

    rows: Floats
    mean_square: Floats
    labels: Ints
    classes: int
    image_weights: Floats

    def zeros(self) -> Doubles:
        return np.zeros((self.rows.shape[1], self.image_weights.shape[1], self.classes))

    def logits(self, coefficients: NDArray[np.floating], rows: NDArray[np.floating]) -> NDArray[np.floating]:
        flat = rows @ coefficients.reshape(len(coefficients), -1).astype(rows.dtype, copy=False)
        return np.asarray(flat).reshape(len(rows), -1, self.classes)

    def minimise(self, l2: float, start: Doubles, tolerance: float, precision: DTypeLike) -> Doubles:
        """Newton's method from ``start`` until each objective is within a relative ``tolerance`` of optimal.

        Raises:
            EdgetlError: if a double-precision fit does not get there.
        """
        exact = precision == np.float64
        penalty = np.full((len(self.mean_square), 1, 1), l2, np.float32)
        penalty[-1] = 0
        at = start
        loss, gradient, shares = self._evaluate(at, penalty, precision)
        for _ in range(_MOST_NEWTON_STEPS):
            step, decrease = self._newton_step(gradient, shares, penalty)
            if (decrease <= 2 * tolerance * loss).all():
                return at
            length = np.ones_like(loss)
            slack = 1e-12 * loss if exact else 1e-6 * (1 + loss)
            while True:
                ahead = at + length[:, None] * step
                ahead_loss, gradient, shares = self._evaluate(ahead, penalty, precision)
                worse = ahead_loss > loss - 1e-4 * length * decrease + slack
                if not worse.any() or length.min() < 1e-6:
                    break
                length = np.where(worse, length / 2, length)
            at, loss = ahead, ahead_loss
        if exact:
            raise EdgetlError(f"the head's fit at strength {l2:g} did not converge: give a stronger l2")
        return at

    def _evaluate(
        self, at: Doubles, penalty: Floats, precision: DTypeLike
    ) -> tuple[Doubles, Doubles, Floats]:
        """Objective of each problem, gradient, and class probabilities float32 ``[N, F, classes]``."""
        loss = 0.5 * (penalty * at * at).sum((0, 2))
        gradient = penalty * at
        shares = np.empty((len(self.rows), *at.shape[1:]), np.float32)
        for block in blocks(len(self.rows)):
            rows = self.rows[block].astype(precision, copy=False)
            weights, truth = self.image_weights[block], self.labels[block][:, None, None]
            z = self.logits(at, rows)
            z -= z.max(2, keepdims=True)
            true_z = np.take_along_axis(z, truth, 2)[:, :, 0]
            np.exp(z, out=z)
            total = z.sum(2)
            loss += (weights * (np.log(total) - true_z)).sum(0, dtype=np.float64)
            z /= total[:, :, None]
            shares[block] = z
            np.put_along_axis(z, truth, np.take_along_axis(z, truth, 2) - 1, 2)
            z *= weights[:, :, None]
            gradient += (rows.T @ z.reshape(len(rows), -1)).reshape(at.shape)
        return loss, gradient, shares

    def _newton_step(self, gradient: Doubles, shares: Floats, penalty: Floats) -> tuple[Doubles, Doubles]:
        """Approximate Newton step by conjugate gradients, and the decrease its slope promises."""
        weighted = shares * self.image_weights[:, :, None]
        curvature = np.maximum((weighted * (1 - shares)).sum(0), 1e-6)
        diagonal = self.mean_square[:, None, None] * curvature + penalty

        def hessian(direction: Floats) -> Floats:
            z = self.logits(direction, self.rows)
            z -= np.einsum("nfc,nfc->nf", shares, z)[:, :, None]
            z *= weighted
            product = (self.rows.T @ z.reshape(len(z), -1)).reshape(direction.shape)
            return np.asarray(product + penalty * direction, np.float32)

        # Scaled to order 1, since a gradient close to the optimum squares to nothing in single precision.
        size = np.maximum(np.abs(gradient).max((0, 2)), 1e-300)[:, None]
        residual = np.asarray(-gradient / size, np.float32)
        step = np.zeros_like(residual)
        scaled = residual / diagonal
        direction = scaled
        power = _dot(residual, scaled)
        enough = _CG_REDUCTION**2 * power
        for _ in range(_MOST_CG_STEPS):
            if (power <= enough).all():
                break
            bent = hessian(direction)
            length = (np.where(power > enough, power, 0) / np.maximum(_dot(direction, bent), 1e-30))[:, None]
            step += length * direction
            residual -= length * bent
            scaled = residual / diagonal
            before, power = power, _dot(residual, scaled)
            direction = scaled + (power / np.maximum(before, 1e-30))[:, None] * direction
        full_step = step * size
        return full_step, -np.einsum("rfc,rfc->f", gradient, full_step)


def _dot(a: Floats, b: Floats) -> Floats:
    return np.asarray(np.einsum("rfc,rfc->f", a, b), np.float32)


def principal_axes(features: Floats, centre: Doubles, factor: Doubles) -> tuple[Floats, Floats, Floats]:
    """Scaled features along their principal axes.

    Returns:
        The coordinates with a last column of ones for the bias, float32 ``[N, R + 1]``; the mean square of
        each column, ``[R + 1]``; the axes, orthonormal ``[D, R]``, with R at most ``min(N, D)``.
    """
    n, width = features.shape

    def scaled(block: slice) -> Floats:
        return np.asarray((features[block] - centre) * factor, np.float32)

    if n >= width:
        gram = np.zeros((width, width))
        for block in blocks(n):
            part = scaled(block)
            gram += part.T @ part
        variance, axes = np.linalg.eigh(gram / n)
        rows = np.ones((n, width + 1), np.float32)
        for block in blocks(n):
            rows[block, :-1] = scaled(block) @ axes.astype(np.float32)
    else:
        everything = scaled(slice(0, n)).astype(np.float64)
        variance, vectors = np.linalg.eigh(everything @ everything.T / n)
        spans = variance > 1e-10 * max(variance[-1], 1e-30)
        variance, vectors = variance[spans], vectors[:, spans]
        singular = np.sqrt(variance * n)
        axes = everything.T @ (vectors / singular)
        rows = np.ones((n, len(variance) + 1), np.float32)
        rows[:, :-1] = vectors * singular
    mean_square = np.append(np.maximum(variance, 0), 1).astype(np.float32)
    return rows, mean_square, axes.astype(np.float32)


def blocks(n: int) -> Iterator[slice]:
    return (slice(start, min(start + _ROWS, n)) for start in range(0, n, _ROWS))
