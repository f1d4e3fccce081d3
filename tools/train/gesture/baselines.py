"""What needs no training by gradients: nearest neighbour by dynamic time warping, and ridge regression on resampled gestures."""
import numpy as np

from prepare import features

POINTS = 40
BAND = 6  # points by which the warped time may be early or late


def warp_distances(a, b):
    """Dynamic time warping within a band: a [N, P, C], b [M, P, C] -> [N, M]."""
    steps = a.shape[1]
    flat_a, flat_b = a.reshape(-1, a.shape[2]), b.reshape(-1, b.shape[2])
    d = (flat_a ** 2).sum(1)[:, None] + (flat_b ** 2).sum(1) - 2 * flat_a @ flat_b.T
    d = np.ascontiguousarray(d.reshape(len(a), steps, len(b), steps).transpose(1, 3, 0, 2))
    far = np.full(d.shape[2:], np.inf, np.float32)
    before = [far] * steps
    for i in range(steps):
        row = [far] * steps
        for j in range(max(0, i - BAND), min(steps, i + BAND + 1)):
            least = np.minimum(before[j], row[j - 1]) if j else before[j]
            if j:
                least = np.minimum(least, before[j - 1])
            row[j] = d[i, j] + (least if i or j else 0)
        before = row
    return before[-1]


def dtw(data, fit, judge, unit):
    """Class of the nearest gesture."""
    a, b = (_at_points(data, s, unit) for s in (judge, fit))
    y = np.array([s.label for s in fit])
    return np.concatenate([y[warp_distances(a[k:k + 8], b).argmin(1)] for k in range(0, len(a), 8)])


def _at_points(data, spans, unit):
    return features(data, spans, unit, POINTS).reshape(len(spans), POINTS, -1).astype(np.float32)


def ridge(data, fit, judge, unit, strength=30.0):
    a, b = (np.hstack([features(data, s, unit), np.ones((len(s), 1))]) for s in (fit, judge))
    y = np.eye(len(data.labels))[[s.label for s in fit]]
    w = np.linalg.solve(a.T @ a + strength * np.eye(a.shape[1]), a.T @ y)
    return (b @ w).argmax(1)
