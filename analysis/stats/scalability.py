"""How does throughput grow with concurrency? The Universal Scalability Law.

X(N) = gamma N / (1 + alpha (N - 1) + beta N (N - 1)), Gunther, Guerrilla Capacity Planning, 2007,
equation 4.33, with gamma free. Fitted by non-linear least squares in three parameters, all bounded
to 0 or more (``scipy.optimize.least_squares``, trust region reflective), on throughput itself. The
linearised two-parameter fit of the book weighs the points otherwise and gives other coefficients.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from analysis.errors import NotEnoughDataError
from analysis.stats.intervals import CONFIDENCE, Estimate, Floats, nothing

METHOD = "three-parameter non-linear least squares, alpha, beta, gamma >= 0"
"""Named wherever a coefficient is shown: fits by another method differ."""

MIN_POINTS = 6
"""Fewer loads than this do not hold three parameters and their scatter."""

NEGLIGIBLE_BETA = 1e-9
"""Below this the bound held: beta is 0 and there is no peak, not one at 5e14."""

PEAK_WITHIN = 2.0
"""A peak is said only where it surely lies within so many times the measured concurrency."""

_PEAKS = 161
"""Peaks tried within the range, 3 % apart."""

_ALPHAS = np.concatenate([[0.0], np.geomspace(1e-5, 1.0, 250)])
"""Contention tried with each of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scalability:
    """A fitted law."""

    alpha: float
    """Contention: the share of the work that waits in line."""
    beta: float
    """Coherency: the price of each pair keeping in step."""
    gamma: float
    """Throughput of one."""
    points: int
    r_squared: float

    def throughput(self, concurrency: float | Floats) -> Floats:
        """X(N)."""
        parameters = np.array([self.alpha, self.beta, self.gamma])
        return _law(parameters, np.asarray(concurrency, np.float64))

    @property
    def peak_concurrency(self) -> float | None:
        """N at which throughput is highest; None when it never falls (beta 0)."""
        if self.beta <= NEGLIGIBLE_BETA:
            return None
        return math.sqrt(max(1.0 - self.alpha, 0.0) / self.beta)

    @property
    def limit(self) -> float | None:
        """Gamma / alpha, what throughput tends to when beta is 0; None without contention."""
        return self.gamma / self.alpha if self.alpha > NEGLIGIBLE_BETA else None


def fit(concurrency: Floats, throughput: Floats) -> Scalability:
    """Fit the law to measured throughput.

    Raises
    ------
    NotEnoughDataError
        With fewer than ``MIN_POINTS`` loads, or when none of them differ.
    """
    n, x = np.asarray(concurrency, np.float64), np.asarray(throughput, np.float64)
    if len(np.unique(n)) < MIN_POINTS:
        raise NotEnoughDataError(
            f"A scalability law needs {MIN_POINTS} load levels, and this run has"
            f" {len(np.unique(n))}"
        )
    start = np.array([0.01, 1e-4, float(np.max(x / n))])
    scale = np.array([0.01, 1e-4, start[2]])
    from scipy.optimize import least_squares  # noqa: PLC0415 - costs a report that has no fit

    found = least_squares(
        lambda p: _law(p, n) - x,
        start,
        bounds=(0.0, np.inf),
        x_scale=scale,
        xtol=1e-14,
        ftol=1e-14,
        gtol=1e-14,
        max_nfev=10_000,
    )
    alpha, beta, gamma = (float(value) for value in found.x)
    spread = float(np.sum((x - x.mean()) ** 2))
    unexplained = float(np.sum(found.fun**2))
    return Scalability(
        alpha=0.0 if alpha <= NEGLIGIBLE_BETA else alpha,
        beta=0.0 if beta <= NEGLIGIBLE_BETA else beta,
        gamma=gamma,
        points=len(n),
        r_squared=1.0 - unexplained / spread if spread else math.nan,
    )


def peak(concurrency: Floats, throughput: Floats) -> Estimate:
    """The concurrency of the highest throughput, where the interval says that there is one.

    The 95 % interval holds every peak whose best fit is not significantly worse than the best of
    all (profile likelihood, F with 1 and n - 3 degrees of freedom; Bates and Watts, Nonlinear
    Regression Analysis, 1988, section 6.1), on logarithms, as the error of a throughput grows with
    it. There is no value where it does not end within ``PEAK_WITHIN`` times the highest measured
    concurrency, nor where throughput that never falls (isotonic regression) explains what was
    measured as well, by the same F: a pool that is full levels off more sharply than contention
    can, and coherency, free to be fitted, makes a peak of that.
    """
    order = np.argsort(concurrency)
    n = np.asarray(concurrency, np.float64)[order]
    logs = np.log(np.asarray(throughput, np.float64)[order])
    edge = PEAK_WITHIN * float(n.max())
    inside = np.geomspace(max(float(n.min()), 0.5), edge, _PEAKS)
    peaks = np.concatenate([inside, edge * np.geomspace(1.05, 100.0, 20), [np.inf]])
    alpha, top = _ALPHAS[None, :, None], peaks[:, None, None]
    off = logs - np.log(n / (1.0 + alpha * (n - 1.0) + (1.0 - alpha) / top**2 * n * (n - 1.0)))
    errors = len(n) * off.var(axis=-1).min(axis=1)  # gamma, a factor, is the mean of what is off
    best = int(np.argmin(errors))
    from scipy.optimize import isotonic_regression  # noqa: PLC0415 - costs a report without a fit
    from scipy.stats import f  # noqa: PLC0415 - as above

    never_falls = float(np.sum((logs - isotonic_regression(logs).x) ** 2))
    freedom = len(n) - 3
    # a fit without any error still has that of its grid
    floor = max(float(errors[best]), 1e-9)
    worst = floor * (1.0 + float(f.ppf(CONFIDENCE, 1, freedom)) / freedom)
    # the ends lie between two peaks that were tried: the outer one is taken
    fits = np.flatnonzero(errors <= worst)
    accepted = peaks[max(int(fits[0]) - 1, 0) : int(fits[-1]) + 2]
    if never_falls <= worst or accepted.max() >= edge:
        return nothing("requests", "no peak within twice the range", n=len(n))
    return Estimate(
        value=float(peaks[best]),
        unit="requests",
        n=len(n),
        blocks=len(n),
        low=float(accepted.min()),
        high=float(accepted.max()),
        method="profile likelihood, F(1, n - 3)",
    )


def _law(parameters: Floats, n: Floats) -> Floats:
    alpha, beta, gamma = parameters
    return np.asarray(gamma * n / (1.0 + alpha * (n - 1.0) + beta * n * (n - 1.0)))
