"""Fits the weights by which the tracker judges whether a detection is of a target: logistic regression on the pairs that it weighs up.

    python tools/train/mot/pairs.py --data ../shared/data/mot15 --config out/start.json --out out/pairs.json \\
        -- out/mot -model out/part.recur

The pairs are those of the training sequences, best tracked by nets that were trained without them; a pair is right where the detections
belong to one ground-truth track. The run is repeated with the fitted weights, as they change which pairs there are.
"""
import argparse
import csv
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

import data
import evaluate


def owners(seq):
    """(frame, row within the frame) -> id of the ground-truth track, -1 for none"""
    matched, count, out = seq.matched(0.4), {}, {}
    for d, g in zip(seq.det, matched):
        f = int(d[0])
        out[f, count.get(f, 0)] = int(seq.gt[g, 1]) if g >= 0 else -1
        count[f] = count.get(f, 0) + 1
    return out


def collect(command, sequences, root):
    """-> names of features, features [P, F], right [P], weight of each [P]"""
    xs, ys, ws, names = [], [], [], None
    with tempfile.TemporaryDirectory() as tmp:
        for seq in sequences:
            pairs = Path(tmp) / f"{seq.name}.csv"
            evaluate.run([*command, "-pairs", str(pairs)], seq, root / "det_frcnn" / f"{seq.name}.txt", Path(tmp) / "out.txt")
            owner, x, y = owners(seq), [], []
            with open(pairs) as f:
                for row in csv.DictReader(f):
                    names = names or [n for n in row if n not in ("frame", "stage", "detection", "last_frame", "last_detection")]
                    new = owner[int(row["frame"]), int(row["detection"])]
                    old = owner[int(row["last_frame"]), int(row["last_detection"])]
                    if new < 0 and old < 0:
                        continue  # nobody knows
                    x.append([float(row[n]) for n in names])
                    y.append(new == old)
            xs.append(np.array(x))
            ys.append(np.array(y, float))
            ws.append(np.full(len(y), 1 / np.sqrt(len(y))))  # long sequences count for less
    w = np.concatenate(ws)
    return names, np.concatenate(xs), np.concatenate(ys), w / w.mean()


def fit(x, y, w, decay):
    """Weights of the columns of x, of which the first is 1; decay: of the weights of the others, in units of their deviations."""
    scale = x.std(0)
    scale[0] = 1
    used = scale > 1e-9
    z = x[:, used] / scale[used]

    def loss(v):
        logit = z @ v
        p = 1 / (1 + np.exp(-logit))
        value = (w * (np.logaddexp(0, logit) - y * logit)).mean() + decay * (v[1:] ** 2).sum()
        slope = z.T @ (w * (p - y)) / len(y)
        slope[1:] += 2 * decay * v[1:]
        return value, slope

    v = minimize(loss, np.zeros(z.shape[1]), jac=True, method="L-BFGS-B").x
    out = np.zeros(x.shape[1])
    out[used] = v / scale[used]
    return out, loss(v)[0]


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--data", type=Path, required=True, help="folder with gt, det_frcnn and seqinfo")
    ap.add_argument("--config", type=Path, help="settings to begin with, a JSON file")
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--decay", type=float, default=1e-3)
    ap.add_argument("--out", type=Path, required=True, help="the JSON file to write: the settings with the weights")
    ap.add_argument("command", nargs="+", help="after --: the tracker's command")
    args = ap.parse_args()
    sequences = [data.Sequence(args.data, n) for n in data.TRAIN]
    settings = json.loads(args.config.read_text()) if args.config else {}
    for k in range(args.rounds):
        args.out.write_text(json.dumps(settings, indent=1) + "\n")
        names, x, y, w = collect([*args.command, "-config", str(args.out)], sequences, args.data)
        v, value = fit(x, y, w, args.decay)
        print(f"round {k + 1}: {len(y)} pairs, {y.mean():.3f} right, cross-entropy {value:.4f}")
        settings["weights"] = {n: round(float(c), 5) for n, c in zip(names, v)}
    args.out.write_text(json.dumps(settings, indent=1) + "\n")
    print(json.dumps(settings["weights"], indent=1))


if __name__ == "__main__":
    sys.exit(main())
