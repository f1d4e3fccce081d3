"""How often a target that was hidden for a while comes back with the identity it had.

    python tools/train/mot/occlusion.py --data ../shared/data/mot15 --split test -- out/mot -motion kalman

The detections are the ground truth's boxes with a little noise (of the centre 2 % of the height, of the sizes 3 %; seeded). Half of the
tracks, drawn anew in each round, are hidden for 5, 10, 15, 20, 25 or 30 frames wherever they are long enough: seen for 15 frames before
and 10 after. A target is recovered if the identity under which it is reported in the last frames before it is hidden (three of them count)
is that of most of the frames in which it is reported among the 10 after. Reported means that a box overlaps the true one by at least a half.
The command is completed as by evaluate.py.
"""
import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

import data
import evaluate

GAPS = [5, 10, 15, 20, 25, 30]
BEFORE, AFTER = 15, 10


def hide(seq, rng):
    """-> rows of detections (frame, cx, cy, w, h, score) and the gaps (id, first hidden frame, frames)"""
    rows, gaps = [], []
    for k, track in sorted(seq.tracks().items()):
        frames = track[:, 0].astype(int)
        hidden = np.zeros(len(track), bool)
        if rng.random() < 0.5:
            at = BEFORE + int(rng.integers(20))
            while True:
                n = GAPS[rng.integers(len(GAPS))]
                if at + n + AFTER > len(track):
                    break
                if frames[at + n + AFTER - 1] - frames[at - BEFORE] == BEFORE + n + AFTER - 1:
                    hidden[at:at + n] = True
                    gaps.append((k, int(frames[at]), n))
                at += n + AFTER + BEFORE + int(rng.integers(20))
        box = track[~hidden, 1:].copy()
        box[:, :2] += 0.02 * box[:, 3:] * rng.standard_normal((len(box), 2))
        box[:, 2:] *= np.exp(0.03 * rng.standard_normal((len(box), 2)))
        rows.append(np.column_stack([track[~hidden, 0], box, np.full(len(box), 0.99)]))
    rows = np.concatenate(rows)
    return rows[np.argsort(rows[:, 0], kind="stable")], gaps


def read_results(path):
    """frame -> (ids, boxes)"""
    rows = evaluate.read_rows(path)
    frames, first = np.unique(rows[:, 0].astype(int), return_index=True)
    return {int(f): (part[:, 1].astype(int), part[:, 2:6]) for f, part in zip(frames, np.split(rows, first[1:]))}


def identity(results, truth, frame):
    """Under which a true box is reported, or None."""
    if frame not in results or frame not in truth:
        return None
    ids, boxes = results[frame]
    o = data.iou(truth[frame][None], boxes)[0]
    return int(ids[o.argmax()]) if o.max() >= 0.5 else None


def recovered(seq, gaps, results):
    """For each gap, whether the target came back."""
    out = []
    tracks = {k: {int(r[0]): r[1:] for r in rows} for k, rows in seq.tracks().items()}
    for k, first, n in gaps:
        before = [identity(results, tracks[k], first - i) for i in (1, 2, 3)]
        after = [identity(results, tracks[k], first + n + i) for i in range(AFTER)]
        old = next((v for v in before if v is not None), None)
        after = [v for v in after if v is not None]
        out.append(old is not None and 2 * after.count(old) > len(after))
    return out


def measure(command, sequences, rounds, seed):
    """-> {gap: (recovered, all)}"""
    count = {n: [0, 0] for n in GAPS}
    for seq in sequences:
        rng = np.random.default_rng([seed, *seq.name.encode()])
        for _ in range(rounds):
            rows, gaps = hide(seq, rng)
            with tempfile.TemporaryDirectory() as tmp:
                source, target = Path(tmp) / "det.txt", Path(tmp) / "out.txt"
                data.write_detections(source, rows)
                evaluate.run(command(seq) if callable(command) else command, seq, source, target)
                for (_, _, n), ok in zip(gaps, recovered(seq, gaps, read_results(target))):
                    count[n][0] += ok
                    count[n][1] += 1
    return count


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--data", type=Path, required=True, help="folder with gt, det_frcnn and seqinfo")
    ap.add_argument("--split", choices=["train", "test"], default="train")
    ap.add_argument("--rounds", type=int, default=10)
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--json", type=Path, help="also write the numbers to this file")
    ap.add_argument("command", nargs="+", help="after --: the tracker's command")
    args = ap.parse_args()
    sequences = [data.Sequence(args.data, name) for name in (data.TRAIN if args.split == "train" else data.TEST)]
    count = measure(args.command, sequences, args.rounds, args.seed)
    for n, (ok, all_) in count.items():
        print(f"{n:2d} frames hidden: {ok} of {all_} recovered, {100 * ok / max(1, all_):.1f} %")
    ok, all_ = (sum(c[i] for c in count.values()) for i in (0, 1))
    print(f"all: {ok} of {all_} recovered, {100 * ok / max(1, all_):.1f} %")
    if args.json:
        args.json.write_text(json.dumps({"command": args.command, "split": args.split, "recovered": count, "share": ok / max(1, all_)}, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
