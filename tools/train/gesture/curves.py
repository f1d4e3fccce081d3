"""Low-order curves of the nine gestures, for a synthetic demo recording: class means over the training subjects, no recording.

    python tools/train/gesture/curves.py --data ../shared/data/mobrobot_gestures --out curves.json [--check DIR/model.pt]

A gesture of n rows, u = (2 t + 1) / n - 1 for t = 0 … n-1, in counts:
    raw[t, c] = rest[c] + (1 - u²) Σ_k coef[c][k] P_k(u)          P_k: Legendre polynomials
so that it begins and ends at rest. The curves are averages after time alignment (dynamic time warping to the running
mean), on normalised time. noise[c] is the standard deviation of a resting sensor.
"""
import argparse
import json
import re

import numpy as np

import data as dataset

POINTS = 64
ORDER = 12


def resample(x, n):
    t = (np.arange(n) + 0.5) * len(x) / n - 0.5
    i = np.clip(np.floor(t).astype(int), 0, len(x) - 2)
    w = np.clip(t - i, 0, 1)[:, None]
    return x[i] * (1 - w) + x[i + 1] * w


def warp_to(template, xs):
    """Each x of xs [N, T, C] resampled onto the template's time by dynamic time warping."""
    n, steps = xs.shape[:2]
    scale = dataset.INV_UNIT
    d = (((template[None, :, None] - xs[:, None]) * scale) ** 2).sum(-1)  # [N, template, x]
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
    pieces = [r for rs in dataset.rests(data, subjects).values() for r in rs]
    rest = np.median([np.median(r, axis=0) for r in pieces], axis=0)
    diffs = np.concatenate([np.diff(r, axis=0) for r in pieces])
    noise = 1.4826 * np.median(np.abs(diffs), axis=0) / np.sqrt(2)
    classes = []
    for c, label in enumerate(dataset.LABELS):
        spans = [s for s in data.clean(subjects) if s[2] == c]
        xs = []
        for s in spans:
            x = data.recordings[s[:2]][s[3]:s[4]].astype(np.float64)
            level = (x[:5].mean(0) + x[-5:].mean(0)) / 2
            xs.append(resample(x - level, POINTS))
        xs = np.stack(xs)
        # begin with the gesture nearest to all others, so that the average is not smeared
        flat = (xs * dataset.INV_UNIT).reshape(len(xs), -1)
        far = ((flat[:, None] - flat) ** 2).sum(-1)
        mean = xs[np.sqrt(far).sum(1).argmin()]
        for _ in range(4):
            mean = warp_to(mean, xs).mean(0)
        coef = np.linalg.lstsq(basis(POINTS), mean, rcond=None)[0].T
        classes.append({"label": label, "rows": int(np.median([s[4] - s[3] for s in spans])), "coef": np.round(coef, 1).tolist()})
    return {"order": ORDER, "rest": np.round(rest).tolist(), "noise": np.round(noise, 1).tolist(), "classes": classes}


def synthesise(curves, rng, order, rest_rows=(90, 150)):
    """Counts [T, 10] and truth [(class, first row, end row)]."""
    rest, noise = np.array(curves["rest"]), np.array(curves["noise"])
    parts, truth, at = [], [], 0
    for c in [*order, None]:
        n = int(rng.integers(*rest_rows))
        parts.append(np.tile(rest, (n, 1)))
        at += n
        if c is not None:
            n = curves["classes"][c]["rows"]
            parts.append(rest + basis(n) @ np.array(curves["classes"][c]["coef"]).T)
            truth.append((c, at, at + n))
            at += n
    raw = np.concatenate(parts)
    return np.clip(np.round(raw + rng.normal(0, 1, raw.shape) * noise), 0, 1023).astype(np.float32), truth


def check(curves, checkpoint):
    import torch

    import nets
    import train
    from spotter import Spotter, score

    saved = torch.load(checkpoint)
    net = nets.Stream(hidden=saved["config"]["hidden"], layers=saved["config"]["layers"])
    net.load_state_dict(saved["state"])
    rng, spot, pairs = np.random.default_rng(1), Spotter(), []
    for _ in range(50):
        raw, truth = synthesise(curves, rng, rng.permutation(9))
        p = train.stream_probabilities(net, [dataset.normalise_stream(raw, spot.alpha)])[0]
        pairs.append((spot.events(p), truth))
    print(score(pairs))
    for c, label in enumerate(dataset.LABELS):
        seen = [e for events, truth in pairs for e in events for t in truth if t[0] == c and e[1] < t[2] and t[1] < e[2]]
        print(label, "seen as", {dataset.LABELS[k]: sum(e[0] == k for e in seen) for k in {e[0] for e in seen}},
              f"confidence {np.mean([e[3] for e in seen]) if seen else 0:.2f}")


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--data", default="../shared/data/mobrobot_gestures")
    ap.add_argument("--out", required=True)
    ap.add_argument("--check", help="checkpoint of the stream net to try the curves on")
    args = ap.parse_args()
    curves = fit(dataset.Data(args.data), range(1, 15))
    lines = json.dumps(curves, indent=1)
    lines = re.sub(r"\[\s+([^\[\]]*?)\s+\]", lambda m: "[" + re.sub(r"\s+", " ", m[1]) + "]", lines)  # one channel a line
    with open(args.out, "w") as f:
        f.write(lines + "\n")
    if args.check:
        check(curves, args.check)


if __name__ == "__main__":
    main()
