"""From a folder of recordings to a .recur file: README.md describes the folder.

    go build -o out/recur ./tools/recur
    python tools/train/gesture/fit.py --data DIR --out out/my --recur out/recur
    go run ./tools/gesture -model out/my/stream.recur -in recording.csv

Nets: stream finds gestures in a stream, for gesture -model; one-way and two-way name gestures that are already cut out.
"""
import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

import export
import learn
import nets
import stream
import streams
from layout import Data, LayoutError
from prepare import Gestures, fit_unit, suspects
from recur import SCHEMES, Recur
from spotting import gated, score


def split(data, test, validation):
    """Subjects for training, validation and test. Where there are fewer than three, their recordings are dealt out instead."""
    if len(data.subjects) < 3 and not (test and validation):
        data.deal(5)
        print("Fewer than three subjects: the recordings are dealt out, and the test is by recordings of the same people.")
    share = max(1, round(len(data.subjects) / 5))
    test = test or data.subjects[-share:]
    validation = validation or [s for s in data.subjects if s not in test][-share:]
    train = [s for s in data.subjects if s not in {*test, *validation}]
    unknown = {*test, *validation} - set(data.subjects)
    if unknown or not train or set(test) & set(validation):
        raise LayoutError(f"subjects for training {train}, validation {validation}, test {test}; the data set has {data.subjects}")
    return train, validation, test


def describe(data):
    count = np.zeros((len(data.subjects), len(data.labels)), int)
    for s in data.spans:
        count[data.subjects.index(data.subject(s)), s.label] += 1
    wide = max(map(len, [*data.subjects, "subject"]))
    print("subject".ljust(wide), *(v.rjust(6) for v in data.labels))
    for name, row in zip(data.subjects, count):
        print(name.ljust(wide), *(f"{n:6d}" for n in row))
    for note in data.notes:
        print("note:", note)


class Fit:
    def __init__(self, data, parts, out, recur, seed, epochs=None, steps=None):
        self.data, (self.train, self.validation, self.test), self.out, self.recur, self.seed = data, parts, out, recur, seed
        self.length = {"epochs": epochs, "steps": 0} if epochs else {"patience": 8}
        if steps:
            self.length |= {"steps": steps, "epochs": 1}
        spans = data.of(self.train)
        self.unit = fit_unit(data, spans)
        odd = suspects(data, spans, self.unit)
        for p in odd:
            print(f"note: {data.parts[p].file}: most of its gestures look like other labels; left out of training")
        self.spans = [s for s in spans if s.part not in odd]

    def run(self, name):
        folder = self.out / name
        folder.mkdir(parents=True, exist_ok=True)
        print(f"\n{name}")
        result = self.stream(folder) if name == "stream" else self.gestures(name, folder)
        (folder / "report.json").write_text(json.dumps(result, indent=1) + "\n")

    def write(self, folder, scheme):
        """model.SCHEME.recur; the int8 one also as NAME.recur beside the folder."""
        target = folder / f"{scheme}.recur"
        self.recur.convert(folder / "model.onnx", target, scheme, folder / "calib.npz")
        if scheme == "w8a8":
            kept = self.out / f"{folder.name}.recur"
            kept.write_bytes(target.read_bytes())
            print(f"wrote {kept}")
        return target

    def gestures(self, name, folder):
        recipe = replace(learn.RECIPES["one-way"], **self.length)
        watch = self.data.of(self.validation)
        kinds = ["one-way", "backward"] if name == "two-way" else [name]
        halves = [learn.train(self.data, self.spans, self.unit, replace(recipe, kind=k), self.seed, watch) for k in kinds]
        net = nets.both_ways(*halves) if name == "two-way" else halves[0]
        export.write(net, self.data, self.unit, Gestures(self.data, self.spans, self.unit).plain()[:256], folder)
        judged = Gestures(self.data, self.data.of(self.test), self.unit)
        xs, out = judged.plain(), {"recipe": asdict(recipe), "trained_on": self.train, "validation": self.validation, "judged_on": self.test}
        for scheme in SCHEMES:
            p = np.stack([y.ravel() for y in self.recur.answers(self.write(folder, scheme), xs)])
            out[scheme] = float((p.argmax(1) == judged.y).mean())
            print(f"{scheme}: {100 * out[scheme]:.2f} % of {len(xs)} gestures of {', '.join(self.test)} right")
        return out

    def stream(self, folder):
        recipe = replace(streams.Recipe(), **self.length)
        net = stream.trained(self.data, self.spans, self.unit, self.validation, self.seed, print, recipe)
        spot = stream.tuned(net, self.data, self.unit, self.validation)
        stream.write(net, spot, self.data, self.spans, self.unit, folder)
        _, xs, truths = stream.recordings(self.data, self.unit, self.test)
        out = {"recipe": asdict(recipe), "spotter": asdict(spot), "trained_on": self.train, "validation": self.validation, "judged_on": self.test}
        for scheme in SCHEMES:
            ps = gated(spot, stream.runner(self.recur, self.write(folder, scheme)), xs)
            r = out[scheme] = score([spot.events(p) for p in ps], truths, [len(x) for x in xs], self.data.rate, self.data.margin)
            print(f"{scheme}: F1 {100 * r['f1']:.1f} %: of {r['gestures']} gestures of {', '.join(self.test)} {r['right']} right, {r['wrong_label']} with a wrong "
                  f"label, {r['missed']} missed; {r['false']} false in {r['rest_minutes']:.1f} minutes of rest; median latency {1000 * r['latency']:.0f} ms")
        return out


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--data", required=True)
    ap.add_argument("--out", type=Path, required=True)
    ap.add_argument("--recur", default="recur", help="the program")
    ap.add_argument("--nets", default="stream,one-way", help="of stream, one-way, two-way (default: %(default)s)")
    ap.add_argument("--rate", type=float, help="rows a second that the nets take, in place of the data set's")
    ap.add_argument("--test", help="subjects to judge on, with commas (default: the last fifth)")
    ap.add_argument("--validation", help="subjects for early stopping and the spotter's constants (default: the fifth before)")
    ap.add_argument("--epochs", type=int, help="train so long (default: until the validation subjects get no better)")
    ap.add_argument("--steps", type=int, help="steps of the optimiser, at most (default: enough for a small data set)")
    ap.add_argument("--seed", type=int, default=1)
    args = ap.parse_args()
    names = lambda s: s.split(",") if s else None
    if unknown := set(names(args.nets)) - {"stream", "one-way", "two-way"}:
        ap.error(f"unknown nets {sorted(unknown)}")
    torch.set_num_threads(1)
    try:
        data = Data(args.data, args.rate)
        describe(data)
        fit = Fit(data, split(data, names(args.test), names(args.validation)), args.out, Recur(args.recur), args.seed, args.epochs, args.steps)
    except (LayoutError, OSError, json.JSONDecodeError) as e:
        ap.exit(1, f"fit: {e}\n")
    for n in names(args.nets):
        fit.run(n)


if __name__ == "__main__":
    main()
