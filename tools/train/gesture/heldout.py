"""Nets that follow a stream, trained without some of the gestures: what teaching is measured with (docs/teaching.md).

    go build -o out/recur ./tools/recur
    python tools/train/gesture/to_layout.py finger ../shared/data/mobrobot_gestures out/finger
    python tools/train/gesture/heldout.py --data out/finger --rate 31.25 --epochs 100 --out out/heldout --recur out/recur
    go run ./tools/gesture/eval -teach out/heldout

Each group of labels that is left out makes OUT/LABELS/stream.recur. A net that is done is kept: started again, it goes on with the next.
"""
import argparse
import copy
import time
from pathlib import Path

import torch

import stream
import streams
from layout import Data, Part, Span
from prepare import fit_unit, suspects
from recur import Recur

THIRDS = "G1,G2,G3 G4,G5,G6 G7,G8,G9 G1,G4,G7 G2,G5,G8 G3,G6,G9"


def without(data, labels, odd):
    """A data set without the rows of some gestures, as if there were gaps, and without some parts."""
    out = copy.copy(data)
    out.labels = [l for l in data.labels if l not in labels]
    out.parts, out.spans = [], []
    for k, p in enumerate(data.parts):
        if k in odd:
            continue
        spans = sorted((s for s in data.spans if s.part == k), key=lambda s: s.lo)
        at = p.lo
        for end, resume in [(s.lo, s.hi) for s in spans if data.labels[s.label] in labels] + [(p.hi, p.hi)]:
            if end > at:
                out.spans += [Span(len(out.parts), out.labels.index(data.labels[s.label]), s.lo, s.hi) for s in spans if at <= s.lo and s.hi <= end]
                out.parts.append(Part(p.file, p.subject, p.start + (at - p.lo) / data.rate, at, end))
            at = max(at, resume)
    return out


def fit(data, labels, train, validation, folder, recur, seed, recipe):
    t0 = time.time()
    known = [s for s in data.of({*train, *validation}) if data.labels[s.label] not in labels]
    unit = fit_unit(data, known)
    data = without(data, labels, suspects(data, known, unit))
    spans = data.of(train)
    net = stream.trained(data, spans, unit, validation, seed, lambda m: print(f"  {m}", flush=True), recipe)
    stream.write(net, stream.tuned(net, data, unit, validation), data, spans, unit, folder)
    recur.convert(folder / "model.onnx", folder / "part.recur", "w8a8", folder / "calib.npz")
    (folder / "part.recur").rename(folder / "stream.recur")
    print(f"  {time.time() - t0:.0f} s", flush=True)


def numbers(text):
    lo, _, hi = text.partition("-")
    return {str(k) for k in range(int(lo), int(hi or lo) + 1)}


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--data", required=True, help="a data set in the layout that README.md describes")
    ap.add_argument("--out", type=Path, required=True)
    ap.add_argument("--recur", default="recur", help="the program")
    ap.add_argument("--rate", type=float, help="rows a second that the nets take, in place of the data set's")
    ap.add_argument("--epochs", type=int, default=streams.Recipe.epochs, help="of training, at least (default: %(default)s)")
    ap.add_argument("--without", default=THIRDS, help="groups of labels, with spaces between them (default: %(default)s)")
    ap.add_argument("--train", type=numbers, default="1-11", help="subjects (default: %(default)s)")
    ap.add_argument("--validation", type=numbers, default="12-14", help="subjects (default: %(default)s)")
    ap.add_argument("--seed", type=int, default=1)
    args = ap.parse_args()
    torch.set_num_threads(1)
    data, recur = Data(args.data, args.rate), Recur(args.recur)
    for group in args.without.split():
        folder = args.out / group
        if (folder / "stream.recur").exists():
            continue
        folder.mkdir(parents=True, exist_ok=True)
        print(f"without {group}", flush=True)
        fit(data, group.split(","), args.train, args.validation, folder, recur, args.seed, streams.Recipe(epochs=args.epochs))


if __name__ == "__main__":
    main()
