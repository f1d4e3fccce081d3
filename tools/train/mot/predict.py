"""How well the learnt filter and a Kalman filter foresee where a target will be that they no longer see.

    python tools/train/mot/predict.py --data ../shared/data/mot15 --model out/part/model.pt --on ETH-Bahnhof TUD-Stadtmitte

The detections are the detector's, for each ground-truth track those that belong to it. From a frame on half of the tracks are hidden. Printed
are the mean overlap (IoU) of prediction and truth and the mean distance of the centres in heights, by frames since last seen.
"""
import argparse

import numpy as np
import torch

import data
import filter as learnt
import scenes

STEPS = [1, 2, 5, 10, 15, 20, 30]


def kalman(z, seen):
    """SORT's filter (Bewley et al. 2016): centre, area, aspect and their velocities, with the constants of its published code.

    z: [T, 4], seen: [T], from the first seen frame on -> predictions [T, 4]
    """
    f, h = np.eye(7), np.eye(4, 7)
    f[0, 4] = f[1, 5] = f[2, 6] = 1
    r, q = np.diag([1.0, 1, 10, 10]), np.diag([1.0, 1, 1, 1, 0.01, 0.01, 0.0001])
    measure = lambda b: np.array([b[0], b[1], b[2] * b[3], b[2] / b[3]])
    x, p = np.concatenate([measure(z[0]), np.zeros(3)]), np.diag([10.0, 10, 10, 10, 1e4, 1e4, 1e4])
    out = [z[0]]
    for t in range(1, len(z)):
        if x[2] + x[6] <= 0:
            x[6] = 0
        x, p = f @ x, f @ p @ f.T + q
        w = np.sqrt(x[2] * max(x[3], 1e-6))
        out.append([x[0], x[1], w, x[2] / w])
        if seen[t]:
            k = p @ h.T @ np.linalg.inv(h @ p @ h.T + r)
            x, p = x + k @ (measure(z[t]) - h @ x), (np.eye(7) - k @ h) @ p
    return np.array(out)


def windows(source, rng, length=80):
    """Scenes [T, 1, N, …] of the whole sequence, and the frame from which on each slot is hidden, or 0."""
    for start in range(1, source.seq.length - length // 2, 20):
        parts = [p for p in (scenes.Maker._cut(t, start, length, 1.0, length) for t in source.tracks) if p is not None]
        hidden = np.zeros(len(parts), int)
        for k, p in enumerate(parts):
            seen = np.flatnonzero(p["seen"])
            fit = [t for t in seen if t - seen[0] >= 10 and p["exists"][t:t + 6].all() and t + 6 <= length]
            if fit and rng.random() < 0.5:
                hidden[k] = fit[rng.integers(len(fit))] + 1
                p["seen"][hidden[k]:] = False
        if parts:
            yield {n: np.stack([p[n] for p in parts], 1)[:, None].astype(np.float32) for n in parts[0]}, hidden


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--data", required=True, help="folder with gt, det_frcnn and seqinfo")
    ap.add_argument("--model", required=True, help="model.pt of filter.py")
    ap.add_argument("--on", nargs="+", required=True, help="sequences, which the model has not learnt from")
    ap.add_argument("--seed", type=int, default=1)
    args = ap.parse_args()
    torch.set_num_threads(1)
    net = learnt.load(args.model)
    rng = np.random.default_rng(args.seed)
    found = {(who, n): [] for who in ("learnt", "Kalman") for n in STEPS}
    for name in args.on:
        source = scenes.Source(data.Sequence(args.data, name))
        size = torch.tensor([[source.seq.width, source.seq.height]], dtype=torch.float32)
        for scene, hidden in windows(source, rng):
            with torch.no_grad():
                p = learnt.play(net, {k: torch.from_numpy(v) for k, v in scene.items()}, size)[0].numpy()[:, 0]
            for k in np.flatnonzero(hidden):
                seen = scene["seen"][:, 0, k] > 0.5
                first = int(np.argmax(seen))
                q = kalman(scene["z"][first:, 0, k].astype(float), seen[first:])
                for n in STEPS:
                    t = hidden[k] + n - 1
                    if t < len(p) and scene["exists"][t, 0, k]:
                        truth = scene["truth"][t, 0, k]
                        for who, box in (("learnt", p[t, k]), ("Kalman", q[t - first])):
                            box = np.nan_to_num(box, nan=1e-3)
                            found[who, n].append((data.iou(box[None], truth[None])[0, 0], np.hypot(*(box[:2] - truth[:2])) / truth[3]))
    print("frames  tracks  overlap: learnt  Kalman  distance: learnt  Kalman")
    for n in STEPS:
        a, b = np.array(found["learnt", n]), np.array(found["Kalman", n])
        if len(a):
            print(f"{n:6d}  {len(a):6d}  {a[:, 0].mean():15.3f}  {b[:, 0].mean():6.3f}  {a[:, 1].mean():16.3f}  {b[:, 1].mean():6.3f}")


if __name__ == "__main__":
    main()
