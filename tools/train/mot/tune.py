"""Searches settings of a tracker on the training sequences: a random walk that keeps what is better.

    python tools/train/mot/tune.py --data ../shared/data/mot15 --space kalman --out out/kalman.json -- out/mot -motion kalman
    python tools/train/mot/tune.py --data ../shared/data/mot15 --space learnt --start out/pairs.json --out out/tuned.json \\
        -- out/mot -model out/part.recur

{name} is the sequence's, so that each can be tracked by a net that was trained without it. The sequences are played forward and backward. The
measure is the mean of the figures of the sequences together and of the mean over the sequences: IDF1, less 2 for each point of MOTA below the
reference, plus half of what it is above, less 40 for each unit by which identity switches are more than 0.6 of the reference's; plus a tenth of
the percentage that is recovered in the occlusion test. The reference is SORT's settings.
"""
import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import data
import evaluate
import occlusion

SPACES = {
    "kalman": {
        "min_score": ("real", 0.5, 0.95), "high_score": ("real", 0.5, 0.95), "min_iou": ("real", 0.05, 0.6), "low_stage": ("bool",),
        "low_max_gap": ("int", 0, 10), "low_min_iou": ("real", 0.2, 0.7), "recover_min_iou": ("real", 0, 0.6), "recover_max_gap": ("int", 5, 60),
        "tentative_last": ("bool",), "scene": ("bool",), "birth_score": ("real", 0.5, 0.98), "birth_iou": ("real", 0.3, 1), "min_hits": ("int", 0, 5),
        "early": ("bool",), "streak": ("bool",), "max_age": ("int", 20, 90), "tentative_max_age": ("int", 0, 5), "max_outside": ("real", 0.2, 1),
        "outside_max_age": ("int", 0, 10), "duplicate_iou": ("real", 0.5, 1), "report_detection": ("bool",), "report_gap": ("int", 0, 10),
    },
}
SPACES["learnt"] = {k: v for k, v in SPACES["kalman"].items() if k not in ("min_iou", "low_min_iou")} | {
    "min_logit": ("real", -5, 4), "low_min_logit": ("real", -3, 5), "max_sigma": ("real", 1, 12), "replay": ("bool",), "min_exist": ("real", 0, 0.3),
    "birth_min_exist": ("real", 0, 0.8), "keep_min_exist": ("real", 0, 0.6), "report_min_exist": ("real", 0.3, 0.9), "report_gap": ("int", 0, 40),
    "min_hits": ("int", 0, 4),
}
SPACES["paper"] = {"min_score": ("real", 0.5, 0.95), "paper.miss_distance": ("real", 0.02, 0.3), "paper.min_exist": ("real", 0.2, 0.9),
                   "paper.reset_frames": ("int", 0, 20), "paper.new_ids": ("bool",)}


def nested(settings):
    """{"paper.new_ids": v} -> {"paper": {"new_ids": v}}"""
    out = {}
    for name, v in settings.items():
        group, _, rest = name.partition(".")
        if rest:
            out.setdefault(group, {})[rest] = v
        else:
            out[name] = v
    return out


class Trial:
    """Runs settings over the training sequences, forward and backward, and over the occlusion test."""

    def __init__(self, root, command, rounds):
        self.command, self.work = command, tempfile.TemporaryDirectory()
        forward = [data.Sequence(root, n) for n in data.TRAIN]
        self.ways = []
        for way, sequences in enumerate((forward, [s.backward() for s in forward])):
            jobs = [(seq, self._write(f"{seq.name}-way{way}", seq.det)) for seq in sequences]
            self.ways.append((evaluate.Measure(root, sequences, hota=False), jobs))
        self.hidden = []
        for seq in forward:
            rng = np.random.default_rng([7, *seq.name.encode()])
            for k in range(rounds):
                rows, gaps = occlusion.hide(seq, rng)
                self.hidden.append((seq, self._write(f"{seq.name}-hidden{k}", rows), gaps))

    def _write(self, name, rows):
        path = Path(self.work.name) / f"{name}.txt"
        data.write_detections(path, rows)
        return path

    def __call__(self, settings):
        """-> figures of the two ways, percentage recovered"""
        target = Path(self.work.name) / "out.txt"
        (Path(self.work.name) / "settings.json").write_text(json.dumps(nested(settings)))
        command = [*self.command, "-config", str(Path(self.work.name) / "settings.json")]
        figures = []
        for measure, jobs in self.ways:
            results = {}
            for seq, source in jobs:
                evaluate.run(command, seq, source, target)
                results[seq.name] = evaluate.read_rows(target)
            figures.append(measure.quick(results))
        back = []
        for seq, source, gaps in self.hidden:
            evaluate.run(command, seq, source, target)
            back += occlusion.recovered(seq, gaps, occlusion.read_results(target))
        return figures, 100 * float(np.mean(back)) if back else 0.0


def worth(figures, back, reference):
    """Of the figures of the two ways, or however many there are."""
    return 0.1 * back + float(np.mean([one_way(f, r) for f, r in zip(figures, reference)]))


def one_way(figures, reference):
    each = [n for n in figures if n != "COMBINED"]
    both = lambda column, of: (of["COMBINED"][column] + np.mean([of[n][column] for n in each])) / 2
    mota = both("MOTA", figures) - both("MOTA", reference)
    switches = figures["COMBINED"]["IDSW"] / reference["COMBINED"]["IDSW"]
    return both("IDF1", figures) + min(0.5 * mota, 2 * mota) - 40 * max(0, switches - 0.6)


def draw(rng, kind, at=None):
    """A value, near `at` if given."""
    if kind[0] == "bool":
        return bool(rng.random() < 0.5) if at is None else not at
    _, lo, hi = kind
    v = rng.uniform(lo, hi) if at is None or rng.random() < 0.15 else at + rng.standard_normal() * (hi - lo) * np.exp(rng.uniform(-3.5, -1))
    v = min(max(v, lo), hi)
    if kind[0] == "real":
        return round(float(v), 4)
    n = int(round(v))
    return n if n != at else int(np.clip(at + rng.choice([-1, 1]), lo, hi))


def search(trial, space, start, reference, trials, minutes, seed, weights_too, keep, report=print):
    rng = np.random.default_rng(seed)
    value = lambda s: worth(*trial(s), reference)
    best, t0 = dict(start), time.time()
    score = value(best)
    report(f"start {score:.3f}", flush=True)
    for k in range(trials):
        if time.time() - t0 > 60 * minutes:
            break
        new = json.loads(json.dumps(best))
        for name in map(str, rng.choice(sorted(space), rng.choice([1, 1, 2, 3]), replace=False)):
            new[name] = draw(rng, space[name], best.get(name))
        if weights_too and rng.random() < 0.4:
            name = rng.choice(sorted(new["weights"]))
            new["weights"][name] = round(new["weights"][name] * float(np.exp(rng.normal(0, 0.3))) + float(rng.normal(0, 0.1)), 4)
        got = value(new)
        if got > score:
            changed = {n: v for n, v in new.items() if v != best.get(n) and n != "weights"}
            best, score = new, got
            keep(best)
            report(f"{k + 1} {score:.3f} {changed} {time.time() - t0:.0f} s", flush=True)
    return best, score


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--data", required=True, help="folder with gt, det_frcnn and seqinfo")
    ap.add_argument("--space", choices=sorted(SPACES), required=True)
    ap.add_argument("--start", type=Path, help="settings to begin with, a JSON file")
    ap.add_argument("--reference", nargs="+", help="command of the reference (the first word of the command, -motion kalman)")
    ap.add_argument("--weights", action="store_true", help="vary the pairs' weights too")
    ap.add_argument("--trials", type=int, default=400)
    ap.add_argument("--minutes", type=float, default=60)
    ap.add_argument("--rounds", type=int, default=1, help="of the occlusion test")
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    ap.add_argument("command", nargs="+", help="after --: the tracker's command")
    args = ap.parse_args()
    reference, _ = Trial(args.data, args.reference or [args.command[0], "-motion", "kalman"], 0)({})
    trial = Trial(args.data, args.command, args.rounds)
    start = json.loads(args.start.read_text()) if args.start else {}
    best, score = search(trial, SPACES[args.space], start, reference, args.trials, args.minutes, args.seed, args.weights,
                         lambda s: args.out.write_text(json.dumps(nested(s), indent=1) + "\n"))
    figures, back = trial(best)
    for way in figures:
        print(evaluate.table(way))
    print(f"measure {score:.3f}, {back:.1f} % recovered")
    args.out.write_text(json.dumps(nested(best), indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
