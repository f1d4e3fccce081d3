"""Recordings and segments of mobrobot_gestures, preprocessing, augmentation, synthesised streams.

Channels: wrist acc x y z, wrist gyro x z, finger acc x y z, finger gyro x z; 10-bit ADC counts at 62.5 Hz.
"""
import csv
from pathlib import Path

import numpy as np

CHANNELS = ["aWx", "aWy", "aWz", "gWx", "gWz", "aFx", "aFy", "aFz", "gFx", "gFz"]
LABELS = [f"G{i}" for i in range(1, 10)]
NONE = len(LABELS)  # class of the stream net for "no gesture"
MARGIN = 6  # rows that a row span of segments.csv holds before and after the movement
RATE = 62.5

# One unit of the network's input, in counts. Powers of two: multiplying by the reciprocal is exact.
UNIT = np.array([64, 64, 64, 8, 8, 128, 128, 128, 16, 32], np.float32)
INV_UNIT = 1 / UNIT
CLIP = np.float32(4)

# MMA7260Q at 3.3 V read by a 10-bit converter with a 5 V reference: 0 g is half the supply.
ZERO_G = 337.0
ACC = ([0, 1, 2], [5, 6, 7])


# Recordings of training subjects whose spans look cut off by a gesture: four or more of the nine labels disagree with
# 5-NN (5, 4), (5, 9) or with cross-validated nets (2, 8), (14, 8). Left out of training, not of validation.
MISCUT = {(2, 8), (5, 4), (5, 9), (14, 8)}


class Data:
    """recordings[(subject, measurement)]: [rows, 10] float32; spans: subject, measurement, class, first row, end row, score."""

    def __init__(self, root):
        root = Path(root)
        self.recordings = {}
        for f in sorted((root / "orig").glob("subject*_measurement*.csv")):
            s, m = f.stem.removeprefix("subject").split("_measurement")
            self.recordings[int(s), int(m)] = np.loadtxt(f, delimiter=",", dtype=np.float32)[:, :10]
        with open(root / "segments.csv") as f:
            rows = list(csv.reader(f))[1:]
        self.spans = [(int(r[0]), int(r[1]), int(r[2]) - 1, int(r[3]), int(r[4]), float(r[5])) for r in rows]

    def of(self, subjects):
        return [sp for sp in self.spans if sp[0] in subjects]

    def clean(self, subjects):
        return [sp for sp in self.of(subjects) if sp[5] <= 0.3 and sp[:2] not in MISCUT]

    def truth(self, key):
        """[(class, first row, end row)] of one recording, in time order."""
        return sorted(((sp[2], sp[3], sp[4]) for sp in self.spans if sp[:2] == key), key=lambda t: t[1])


def normalise_segment(raw):
    """[T, 10] counts -> network input: level of the first four rows (rest, by the margin) removed, fixed unit, clipped."""
    raw = raw.astype(np.float32)
    level = (raw[0] + raw[1] + raw[2] + raw[3]) * np.float32(0.25)
    return np.clip((raw - level) * INV_UNIT, -CLIP, CLIP)


def normalise_stream(raw, alpha):
    """[..., T, 10] counts -> network input by a causal baseline b (float32, every operation rounded):

    b = first sample;  each row: d = raw - b;  x = clip(d * INV_UNIT);  b = b + alpha * d
    """
    raw = raw.astype(np.float32)
    alpha = np.float32(alpha)
    b = raw[..., 0, :].copy()
    x = np.empty_like(raw)
    for t in range(raw.shape[-2]):
        d = raw[..., t, :] - b
        x[..., t, :] = d * INV_UNIT
        b = b + alpha * d
    return np.clip(x, -CLIP, CLIP, out=x)


def rotation(rng, degrees):
    """Random rotation matrix; each component of the rotation vector has this standard deviation."""
    v = rng.normal(0, np.radians(degrees), 3)
    a = np.linalg.norm(v) + 1e-12
    k = np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]]) / a
    return np.eye(3) + np.sin(a) * k + (1 - np.cos(a)) * k @ k


class Wearer:
    """A random way to wear the sensors: small rotations of the accelerometers and channel gains."""

    def __init__(self, rng, degrees, gain):
        self.rot = [rotation(rng, degrees) for _ in ACC]
        self.gain = np.exp(rng.normal(0, gain, 10))

    def __call__(self, raw):
        out = raw.astype(np.float64)
        for idx, r in zip(ACC, self.rot):
            out[:, idx] = (out[:, idx] - ZERO_G) @ r.T + ZERO_G
        mid = np.median(out, axis=0)
        return mid + (out - mid) * self.gain


def time_warp(rng, raw, speed, wobble):
    """Resample to another length (log-normal factor) along a smoothly uneven time axis."""
    n = len(raw)
    m = max(16, int(round(n * np.exp(rng.normal(0, speed)))))
    rate = np.exp(np.interp(np.linspace(0, 4, m), np.arange(5), rng.normal(0, wobble, 5)))
    u = np.cumsum(rate) - rate[0]
    u *= (n - 1) / u[-1]
    i = np.minimum(u.astype(int), n - 2)
    w = (u - i)[:, None]
    return raw[i] * (1 - w) + raw[i + 1] * w


def augment(rng, raw, amplitude, speed, noise=3.0):
    """One gesture: played faster or slower, larger or smaller, noisier."""
    out = time_warp(rng, raw, speed, 0.25)
    mid = np.median(out, axis=0)
    out = mid + (out - mid) * np.exp(rng.normal(0, amplitude))
    level = rng.uniform(0, noise) * np.sqrt(UNIT / 64)
    return out + rng.normal(0, 1, out.shape) * level


def jittered(rng, data, span, jitter):
    """The rows of a span with both ends moved at random."""
    raw = data.recordings[span[:2]]
    a = max(0, span[3] + rng.integers(-jitter, jitter + 1))
    b = min(len(raw), span[4] + rng.integers(-jitter, jitter + 1))
    return raw[a:b]


def rests(data, subjects):
    """Rows between gestures, before the first and after the last, by subject."""
    out = {s: [] for s in subjects}
    for key, raw in data.recordings.items():
        if key[0] not in out or key in MISCUT:
            continue
        t = data.truth(key)
        ends = [0] + [e for _, _, e in t]
        starts = [a for _, a, _ in t] + [len(raw)]
        out[key[0]] += [raw[a:b] for a, b in zip(ends, starts) if b - a >= 16]
    return out


def joined(level0, piece, level1):
    """A piece of rest, bent by a straight line so that it begins at level0 and ends at level1."""
    k = min(4, len(piece))
    w = np.linspace(0, 1, len(piece))[:, None]
    own = piece[:k].mean(0) * (1 - w) + piece[-k:].mean(0) * w
    return piece - own + level0 * (1 - w) + level1 * w


def synthetic_stream(rng, spans, data, rest_pieces, cfg, delay):
    """Random gestures of one subject, in random order, between rests of the same subject.

    Returns counts [T, 10], class per row [T] (shifted later by delay rows) and its weight in the loss [T]: the last
    rows of a label, when the whole gesture has been seen, weigh 1; those before cfg["early"].
    """
    wearer = Wearer(rng, cfg["degrees"], cfg["gain"])
    pieces, labels, weights = [], [], []
    level = None

    def rest(level0, level1):
        piece = rest_pieces[rng.integers(len(rest_pieces))]
        n = int(np.clip(rng.lognormal(np.log(90), 0.6), 14, 300))
        while len(piece) < n:  # mirrored, so that it stays continuous
            piece = np.concatenate([piece, piece[::-1]])
        k = rng.integers(len(piece) - n + 1)
        piece = piece[k:k + n].astype(np.float64)
        piece = piece + rng.normal(0, 1, piece.shape) * rng.uniform(0, 3) * np.sqrt(UNIT / 64)
        a, b = level0, level1
        if a is None:
            a = b + piece[:4].mean(0) - piece[-4:].mean(0)
        if b is None:
            b = a + piece[-4:].mean(0) - piece[:4].mean(0)
        return joined(a, piece, b)

    for g in range(cfg["gestures"] + 1):
        seg = None
        if g < cfg["gestures"]:
            sp = spans[rng.integers(len(spans))]
            own = data.recordings[sp[:2]][sp[3]:sp[4]]
            seg = augment(rng, wearer(own), cfg["amplitude"], cfg["speed"])
        r = rest(level, None if seg is None else seg[:4].mean(0))
        pieces.append(r)
        labels.append(np.full(len(r), NONE))
        weights.append(np.ones(len(r)))
        if seg is not None:
            n = len(seg)
            m = int(round(MARGIN * n / len(own)))
            lab, w = np.full(n, NONE), np.ones(n)
            lab[m:n - m] = sp[2]
            w[m:max(m, n - m - delay)] = cfg["early"]
            pieces.append(seg)
            labels.append(lab)
            weights.append(w)
            level = seg[-4:].mean(0)
    y, w = np.concatenate(labels), np.concatenate(weights)
    y = np.concatenate([np.full(delay, NONE), y])[:len(y)]
    w = np.concatenate([np.ones(delay), w])[:len(w)]
    return np.concatenate(pieces).astype(np.float32), y, w
