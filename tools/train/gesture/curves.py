"""Low-order curves of a data set's gestures, for a synthetic demo recording: class means over the training subjects, no recording.

    python tools/train/gesture/to_layout.py finger ../shared/data/mobrobot_gestures out/finger
    python tools/train/gesture/curves.py --data out/finger --rate 31.25 --subjects 1,2,3,4,5,6,7,8,9,10,11,12,13,14 --out models/gesture/demo/curves.json

A gesture of n rows, u = (2 t + 1) / n - 1 for t = 0 … n-1, in the data set's units:
    raw[t, c] = rest[c] + (1 - u²) Σ_k coef[c][k] P_k(u)          P_k: Legendre polynomials
so that it begins and ends at rest. The curves are averages after time alignment (dynamic time warping to the running
mean), on normalised time. noise[c] is the standard deviation of a resting sensor.
"""
import argparse
import json
import re

import numpy as np

from layout import Data
from prepare import fit_unit, suspects

POINTS = 64
ORDER = 12


def resample(x, n):
    t = (np.arange(n) + 0.5) * len(x) / n - 0.5
    i = np.clip(np.floor(t).astype(int), 0, len(x) - 2)
    w = np.clip(t - i, 0, 1)[:, None]
    return x[i] * (1 - w) + x[i + 1] * w


def warp_to(template, xs, unit):
    """Each x of xs [N, T, C] resampled onto the template's time by dynamic time warping."""
    n, steps = xs.shape[:2]
    d = (((template[None, :, None] - xs[:, None]) / unit) ** 2).sum(-1)  # [N, template, x]
    d += 0.02 * np.abs(np.arange(steps)[:, None] - np.arange(steps))  # keeps the path near the diagonal
    cost = np.full((n, steps + 1, steps + 1), np.inf)
    cost[:, 0, 0] = 0
    for i in range(steps):
        for j in range(steps):
            cost[:, i + 1, j + 1] = d[:, i, j] + np.minimum(np.minimum(cost[:, i, j], cost[:, i, j + 1]), cost[:, i + 1, j])
    out = np.zeros_like(xs)
    for k in range(n):
        i = j = steps - 1
        count = np.zeros(steps)
        while True:
            out[k, i] += xs[k, j]
            count[i] += 1
            if i == j == 0:
                break
            moves = [(i - 1, j - 1), (i - 1, j), (i, j - 1)]
            i, j = min((m for m in moves if min(m) >= 0), key=lambda m: cost[k, m[0] + 1, m[1] + 1])
        out[k] /= count[:, None]
    return out


def basis(n):
    u = (2 * np.arange(n) + 1) / n - 1
    return (1 - u * u)[:, None] * np.polynomial.legendre.legvander(u, ORDER - 1)


def fit(data, subjects):
    spans = data.of(subjects)
    unit = fit_unit(data, spans)
    odd = suspects(data, spans, unit)
    pieces = [r for s in subjects for r in data.rests(s, skip=odd)]
    rest = np.median([np.median(r, axis=0) for r in pieces], axis=0)
    diffs = np.concatenate([np.diff(r, axis=0) for r in pieces])
    noise = 1.4826 * np.median(np.abs(diffs), axis=0) / np.sqrt(2)
    classes = []
    for c, label in enumerate(data.labels):
        own = [s for s in spans if s.label == c and s.part not in odd]
        xs = []
        for s in own:
            x = data.rows[s.lo:s.hi].astype(np.float64)
            level = (x[:3].mean(0) + x[-3:].mean(0)) / 2
            xs.append(resample(x - level, POINTS))
        xs = np.stack(xs)
        # begin with the gesture nearest to all others, so that the average is not smeared
        flat = (xs / unit).reshape(len(xs), -1)
        far = ((flat[:, None] - flat) ** 2).sum(-1)
        mean = xs[np.sqrt(far).sum(1).argmin()]
        for _ in range(4):
            mean = warp_to(mean, xs, unit).mean(0)
        coef = np.linalg.lstsq(basis(POINTS), mean, rcond=None)[0].T
        classes.append({"label": label, "rows": int(np.median([s.hi - s.lo for s in own])), "coef": np.round(coef, 2).tolist()})
    return {"order": ORDER, "rest": np.round(rest.astype(float), 2).tolist(), "noise": np.round(noise.astype(float), 2).tolist(), "classes": classes}


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--data", required=True, help="a data set in the layout that README.md describes")
    ap.add_argument("--rate", type=float, help="rows a second, in place of the data set's")
    ap.add_argument("--subjects", help="subjects, with commas (default: all)")
    ap.add_argument("--out", required=True)
    args = ap.parse_args()
    data = Data(args.data, args.rate)
    curves = fit(data, args.subjects.split(",") if args.subjects else data.subjects)
    lines = json.dumps(curves, indent=1)
    lines = re.sub(r"\[\s+([^\[\]]*?)\s+\]", lambda m: "[" + re.sub(r"\s+", " ", m[1]) + "]", lines)  # one channel a line
    with open(args.out, "w") as f:
        f.write(lines + "\n")


if __name__ == "__main__":
    main()
