"""From rows to the input of a net, with augmentation; whole batches at a time.

The level of rest, which slowly follows each channel, is subtracted before anything else, and what follows but for clipping is linear: so
rotations and gains work on the differences, and no sensor's zero needs to be known.
"""
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

CLIP = 4.0
FOLLOW = 4.0  # s, about, in which the level follows


def alpha_of(rate):
    """Share of the distance by which the level moves each row; a power of two."""
    return 2.0 ** -round(np.log2(FOLLOW * rate))


@lru_cache(maxsize=2)
def levels(data):
    """The level before each row of data.rows. It begins with a part's first row."""
    alpha, out = np.float32(alpha_of(data.rate)), np.empty_like(data.rows)
    for p in data.parts:
        level = data.rows[p.lo].copy()
        for t in range(p.lo, p.hi):
            out[t] = level
            level = level + alpha * (data.rows[t] - level)
    return out


def fit_unit(data, spans):
    """What makes 1 at the net's input: the deviation of the gestures' rows from the level, as a power of two for exact products."""
    level = levels(data)
    d = np.concatenate([data.rows[s.lo:s.hi] - level[s.lo] for s in spans])
    return (2.0 ** np.round(np.log2(np.maximum(d.std(0), 1e-3)))).astype(np.float32)


def cut(rows, level, unit):
    """One gesture [T, C] from the level that was reached before it; every operation in float32, as models/gesture does it."""
    return np.clip((rows - level) * (1 / unit), -np.float32(CLIP), np.float32(CLIP))


def following(rows, unit, alpha):
    """Streams [..., T, C] by the level that follows them."""
    alpha, inv = np.float32(alpha), 1 / unit
    level = rows[..., 0, :].copy()
    x = np.empty_like(rows)
    for t in range(rows.shape[-2]):
        d = rows[..., t, :] - level
        x[..., t, :] = d * inv
        level = level + alpha * d
    return np.clip(x, -np.float32(CLIP), np.float32(CLIP), out=x)


@dataclass
class Augment:
    """Deviations of what is changed at random; 0 leaves it alone. speed, wobble, amplitude and gain are of logarithms."""

    jitter: float = 0.1  # s by which either end of a gesture moves, at most
    degrees: float = 10  # rotation of each sensor, each component of its rotation vector
    gain: float = 0.1  # of each channel
    amplitude: float = 0.25  # of the whole movement
    speed: float = 0.15
    wobble: float = 0.25  # unevenness of the time axis
    noise: float = 0.03  # units of the net's input, at most

    def speeds(self, rng, count):
        return np.exp(self.speed * np.clip(rng.normal(0, 1, count), -2, 2))

    def pace(self, rng, lo, hi, speeds):
        """[B, M] positions in rows of gestures lo to hi (arrays), played at these speeds, and their lengths; at least 6 rows."""
        n = hi - lo
        m = np.maximum(6, np.round(n * speeds)).astype(int)
        steps = int(m.max())
        knots = rng.normal(0, self.wobble, (len(n), 5))
        at = np.arange(steps) / np.maximum(m - 1, 1)[:, None] * 4
        k = np.minimum(at.astype(int), 3)
        w = np.minimum(at - k, 1)
        rate = np.exp(np.take_along_axis(knots, k, 1) * (1 - w) + np.take_along_axis(knots, k + 1, 1) * w)
        u = np.cumsum(rate, 1) - rate[:, :1]
        u *= ((n - 1) / np.take_along_axis(u, m[:, None] - 1, 1)[:, 0])[:, None]
        return np.minimum(u, (n - 1)[:, None]), m

    def wear(self, rng, x, sensors):
        """x [B, T, C], differences from rest: another way to wear the sensors."""
        for s in sensors:
            r = rotations(rng, len(x), self.degrees)
            for k in range(0, len(s), 3):
                x[..., s[k:k + 3]] = np.einsum("btc,bdc->btd", x[..., s[k:k + 3]], r)
        return x * np.exp(rng.normal(0, self.gain, (len(x), 1, x.shape[-1]))).astype(np.float32)


def rotations(rng, count, degrees):
    v = rng.normal(0, np.radians(degrees), (count, 3))
    a = np.linalg.norm(v, axis=1)[:, None, None] + 1e-12
    k = np.zeros((count, 3, 3))
    for (i, j), c, sign in (((0, 1), 2, -1), ((0, 2), 1, 1), ((1, 0), 2, 1), ((1, 2), 0, -1), ((2, 0), 1, -1), ((2, 1), 0, 1)):
        k[:, i, j] = sign * v[:, c]
    k /= a
    return (np.eye(3) + np.sin(a) * k + (1 - np.cos(a)) * (k @ k)).astype(np.float32)


def between(rows, at):
    """Rows at fractional positions, linear between neighbours."""
    i = np.minimum(at.astype(np.int64), len(rows) - 2)
    w = (at - i)[..., None].astype(np.float32)
    return rows[i] * (1 - w) + rows[i + 1] * w


class Gestures:
    """Cut gestures as padded batches."""

    def __init__(self, data, spans, unit):
        self.data, self.unit = data, unit
        self.lo, self.hi = (np.array([getattr(s, k) for s in spans]) for k in ("lo", "hi"))
        self.first = np.array([data.parts[s.part].lo for s in spans])
        self.end = np.array([data.parts[s.part].hi for s in spans])
        self.y = np.array([s.label for s in spans])
        self.level = levels(data)
        self.rest = self._rest()

    def plain(self):
        return [cut(self.data.rows[a:b], self.level[a], self.unit) for a, b in zip(self.lo, self.hi)]

    def _rest(self):
        """Rest before each gesture as it was: the median of the half second before it."""
        n = int(0.5 * self.data.rate)
        return np.stack([np.median(self.data.rows[max(f, a - n):a + max(2, n // 8)], 0) for f, a in zip(self.first, self.lo)]).astype(np.float32)

    def _levels(self, rng, idx):
        """In training, a gesture's level is its own rest and what another gesture's level had left over from before: a level remembers
        the gesture before, and where gestures are recorded in a fixed order, a net would learn that order."""
        other = rng.integers(len(self.lo), size=len(idx))
        return self.rest[idx] + self.level[self.lo[other]] - self.rest[other]

    def epoch(self, rng, size, aug):
        """Batches in random order, of gestures of like length: (x [T, B, C] padded with zeros, lengths, classes)."""
        speeds = aug.speeds(rng, len(self.y))
        length = (self.hi - self.lo) * speeds
        batches = []
        for p in np.array_split(rng.permutation(len(self.y)), max(1, len(self.y) // (8 * size))):
            batches += np.array_split(p[np.argsort(length[p])], max(1, round(len(p) / size)))
        for k in rng.permutation(len(batches)):
            yield self.augmented(rng, batches[k], speeds[batches[k]], aug)

    def augmented(self, rng, idx, speeds, aug):
        far = round(aug.jitter * self.data.rate)
        lo = np.maximum(self.first[idx], self.lo[idx] + rng.integers(-far, far + 1, len(idx)))
        hi = np.minimum(self.end[idx], np.maximum(lo + 6, self.hi[idx] + rng.integers(-far, far + 1, len(idx))))
        u, m = aug.pace(rng, lo, hi, speeds)
        x = between(self.data.rows, lo[:, None] + u)
        x -= self._levels(rng, idx)[:, None]
        x = aug.wear(rng, x, self.data.sensors) / self.unit
        x *= np.exp(rng.normal(0, aug.amplitude, (len(idx), 1, 1))).astype(np.float32)
        x += rng.normal(0, 1, x.shape).astype(np.float32) * rng.uniform(0, aug.noise, (len(idx), 1, 1)).astype(np.float32)
        x = np.clip(x, -CLIP, CLIP) * (np.arange(x.shape[1]) < m[:, None])[..., None]
        return torch.from_numpy(np.ascontiguousarray(x.transpose(1, 0, 2), np.float32)), torch.from_numpy(m), torch.from_numpy(self.y[idx])


def pad(xs):
    lengths = torch.tensor([len(x) for x in xs])
    x = torch.zeros(int(lengths.max()), len(xs), xs[0].shape[1])
    for k, v in enumerate(xs):
        x[:len(v), k] = torch.from_numpy(v)
    return x, lengths


def features(data, spans, unit, points=16):
    """Each gesture at a fixed number of points, differences from its median, in units: [N, points * C]."""
    out = []
    for s in spans:
        x = data.rows[s.lo:s.hi]
        out.append((between(x, np.linspace(0, len(x) - 1, points)) - np.median(x, 0)) / unit)
    return np.stack(out).reshape(len(spans), -1)


def suspects(data, spans, unit, near=5):
    """Parts of recordings most of whose labels disagree with their neighbours among other subjects: cut wrongly, or mislabelled.

    Only spans are looked at, so within the training subjects this is part of training.
    """
    who = np.array([data.subject(s) for s in spans])
    if len(set(who)) < 4:
        return set()
    f = features(data, spans, unit)
    d = (f ** 2).sum(1)[:, None] + (f ** 2).sum(1) - 2 * f @ f.T
    d[who[:, None] == who] = np.inf
    y = np.array([s.label for s in spans])
    votes = y[np.argsort(d, 1)[:, :near]]
    counts = np.stack([(votes == c).sum(1) for c in range(len(data.labels))], 1)
    wrong = counts.argmax(1) != y
    if wrong.mean() > 0.25:  # the neighbours know too little to judge
        return set()
    part = np.array([s.part for s in spans])
    return {int(p) for p in np.unique(part) if (part == p).sum() >= 4 and wrong[part == p].mean() >= 0.5}
