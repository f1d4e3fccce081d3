"""Gestures of a data set as examples for gesture teach: of the gestures that a net of fit.py knows, with its file.

    python tools/train/gesture/examples.py --data DIR --out out/known.csv
    go run ./tools/gesture teach -remember -data out/known.csv -base out/my/stream.recur -o out/my/stream.recur
"""
import argparse
import csv
from pathlib import Path

from layout import Data, LayoutError

SHORTEST = 0.2  # s; teach refuses shorter gestures
BESIDE = 0.35  # s of rest beside a gesture, at most half of what lies before the next


def rows(data, subjects):
    """Lines of the file: channels, time in ms from the beginning of each example, label."""
    beside = round(BESIDE * data.rate)
    for k, p in enumerate(data.parts):
        spans = sorted((s for s in data.spans if s.part == k and p.subject in subjects), key=lambda s: s.lo)
        for i, s in enumerate(spans):
            if s.hi - s.lo - 2 * data.margin < SHORTEST * data.rate:
                continue
            lo = max((spans[i - 1].hi + s.lo + 1) // 2 if i else p.lo, s.lo - beside)
            hi = min((s.hi + spans[i + 1].lo) // 2 if i + 1 < len(spans) else p.hi, s.hi + beside)
            for t in range(lo, hi):
                label = data.labels[s.label] if s.lo + data.margin <= t < s.hi - data.margin else ""
                yield [*(f"{v:.7g}" for v in data.rows[t]), f"{1000 * (t - lo) / data.rate:.7g}", label]


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--data", required=True, help="a data set in the layout that README.md describes")
    ap.add_argument("--out", type=Path, required=True)
    ap.add_argument("--rate", type=float, help="rows a second that the net takes, in place of the data set's")
    ap.add_argument("--subjects", help="subjects, with commas (default: all)")
    args = ap.parse_args()
    try:
        data = Data(args.data, args.rate)
    except (LayoutError, OSError) as e:
        ap.exit(1, f"examples: {e}\n")
    with open(args.out, "w", newline="") as f:
        w = csv.writer(f, lineterminator="\n")
        w.writerow([*data.channels, "time", "label"])
        w.writerows(rows(data, args.subjects.split(",") if args.subjects else data.subjects))


if __name__ == "__main__":
    main()
