"""The tables of docs/mot.md: every tracker on the same detections, and the occlusion test.

    python tools/train/mot/results.py --data ../shared/data/mot15 --mot out/mot --nets out --split test
    python tools/train/mot/results.py --data ../shared/data/mot15 --mot out/mot --nets out --public

--nets is the folder in which models/mot/convert.sh put the networks in float32. --public is the paper's comparison: the public detections, on all
sequences that the data have them for, and the authors' own network if it lies as checkpoint.recur in that folder (checkpoint.py).
"""
import argparse
import json
import tempfile
from pathlib import Path

import numpy as np

import evaluate
import occlusion

HERE = Path(__file__).resolve().parent
MODELS = HERE.parents[2] / "models" / "mot"


def trackers(mot, nets):
    memory = json.loads((HERE / "tracker.json").read_text())["max_age"]
    paper = [mot, "-model", str(MODELS / "paper.recur")]
    return {
        "Kalman + Hungarian (SORT)": [mot, "-motion", "kalman"],
        "SORT with a memory as long as ours": [mot, "-motion", "kalman", "-set", f"max_age={memory}"],
        "Kalman + Hungarian, tuned": [mot, "-motion", "kalman", "-config", str(HERE / "kalman.json")],
        "Kalman + Hungarian, unconfirmed": [mot, "-motion", "kalman", "-set", "min_hits=0", "-set", "max_age=3", "-set", "min_score=0.9"],
        "paper's net + Hungarian, as published": [*paper, "-set", "min_score=0", "-set", "paper.new_ids=false", "-set", "paper.reset_frames=10",
                                                  "-set", "paper.min_exist=0.5"],
        "paper's net + Hungarian": paper,
        "paper's net + Hungarian, float": [mot, "-model", str(nets / "paper-float.recur")],
        "paper's net + LSTM": [*paper, "-assoc", "lstm", "-assoc-model", str(MODELS / "lstm.recur")],
        "ours": [mot],
        "ours, float": [mot, "-model", str(nets / "float.recur")],
    }


PUBLIC_SCALE = 150  # public detections score up to 140


def public(mot, nets):
    """Rows of the paper's comparison. Scores are over PUBLIC_SCALE; the limits here were chosen on the training sequences."""
    some = ["-set", "min_score=0.2"]
    every = ["-set", "min_score=0"]
    published = [*every, "-set", "paper.new_ids=false", "-set", "paper.reset_frames=10", "-set", "paper.min_exist=0.5"]
    paper = [mot, "-model", str(MODELS / "paper.recur")]
    lstm = ["-assoc", "lstm", "-assoc-model", str(MODELS / "lstm.recur")]
    kalman = [mot, "-motion", "kalman", "-set", "max_age=3", "-set", "min_hits=0"]
    rows = {
        "Kalman-HA": [*kalman, *every],
        "paper's net + Hungarian": [*paper, *every],
        "paper's net + LSTM": [*paper, *every, *lstm],
        "paper's net + Hungarian, existence from 0.93": [*paper, *every, "-set", "paper.min_exist=0.93"],
        "Kalman, reported from the second match on": [*kalman, *every, "-set", "min_hits=1"],
        "paper's net + Hungarian, as published": [*paper, *published],
        "paper's net + LSTM, as published": [*paper, *published, *lstm],
    }
    checkpoint = nets / "checkpoint.recur"
    if checkpoint.exists():
        authors = [mot, "-model", str(checkpoint), "-motion", "paper"]
        rows |= {"authors' weights + Hungarian": [*authors, "-config", str(HERE / "paper.json"), *every],
                 "authors' weights + Hungarian, as published": [*authors, *published]}
    return rows | {
        "Kalman-HA, scores from 0.2": [*kalman, *some],
        "paper's net + Hungarian, scores from 0.2": [*paper, *some],
        "paper's net + LSTM, scores from 0.2": [*paper, *some, *lstm],
        "Kalman + Hungarian (SORT)": [mot, "-motion", "kalman"],
        "ours, `-good 0.3`": [mot, "-good", "0.3"],
    }


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--data", type=Path, required=True, help="folder with gt, det_frcnn and seqinfo")
    ap.add_argument("--mot", required=True, help="the program: go build -o out/mot ./tools/mot")
    ap.add_argument("--nets", type=Path, required=True)
    ap.add_argument("--split", choices=["train", "test"], default="test")
    ap.add_argument("--public", action="store_true", help="the paper's comparison")
    ap.add_argument("--rounds", type=int, default=10, help="of the occlusion test")
    args = ap.parse_args()
    if args.public:
        sequences = evaluate.sequences_of(args.data, "all", "det_public")
        results = measure(args.data, "det_public", PUBLIC_SCALE, sequences, public(args.mot, args.nets))
        together("public detections", results)
        by_sequence("MOTA", sequences, results)
        leads("Kalman-HA", sequences, results)
        return
    sequences = evaluate.sequences_of(args.data, args.split, "det_frcnn")
    rows = trackers(args.mot, args.nets)
    results = measure(args.data, "det_frcnn", 0, sequences, rows)
    together(args.split, results)
    for column in ("MOTA", "IDF1", "HOTA", "IDSW", "Frag"):
        by_sequence(column, sequences, results)
    occlusions({name: occlusion.measure(command, sequences, args.rounds, 1) for name, command in rows.items()})


def measure(root, detections, scale, sequences, rows):
    """{name: command} -> {name: {sequence or COMBINED: {column: value}}}"""
    tool, out = evaluate.Measure(root, sequences), {}
    for name, command in rows.items():
        with tempfile.TemporaryDirectory() as tmp:
            folder = Path(tmp) / "results"
            folder.mkdir()
            evaluate.track(command, root, detections, scale, sequences, folder)
            out[name] = tool(folder)
    return out


def together(title, results):
    columns = [c for c, *_ in evaluate.COLUMNS]
    print(f"## {title}, together\n\n| tracker | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 1)}")
    for name, r in results.items():
        print(f"| {name} | {' | '.join(cell(c, r['COMBINED'][c]) for c in columns)} |")


def by_sequence(column, sequences, results):
    print(f"\n## {column} by sequence\n\n| tracker | {' | '.join(s.name for s in sequences)} |\n|{'---|' * (len(sequences) + 1)}")
    for name, r in results.items():
        print(f"| {name} | {' | '.join(cell(column, r[s.name][column]) for s in sequences)} |")


def leads(base, sequences, results, draws=10000):
    """MOTA above base's, and between what it lies in 95 % of draws of as many sequences with replacement."""
    errors = lambda r: np.array([r[s.name]["FP"] + r[s.name]["FN"] + r[s.name]["IDSW"] for s in sequences])
    boxes = np.array([len(s.gt) for s in sequences])
    drawn = np.random.default_rng(1).integers(len(sequences), size=(draws, len(sequences)))
    print(f"\n## MOTA above {base}\n\n| tracker | together | 95 % of draws of sequences |\n|---|---|---|")
    for name, r in results.items():
        less = errors(results[base]) - errors(r)
        lo, hi = np.percentile(100 * less[drawn].sum(1) / boxes[drawn].sum(1), [2.5, 97.5])
        print(f"| {name} | {100 * less.sum() / boxes.sum():+.1f} | {lo:+.1f} to {hi:+.1f} |")


def occlusions(counts):
    print(f"\n## Occlusion, recovered in %\n\n| tracker | {' | '.join(f'{n} frames' for n in occlusion.GAPS)} | all |\n|{'---|' * (len(occlusion.GAPS) + 2)}")
    for name, count in counts.items():
        share = lambda pairs: f"{100 * sum(a for a, _ in pairs) / max(1, sum(b for _, b in pairs)):.1f}"
        print(f"| {name} | {' | '.join(share([count[n]]) for n in occlusion.GAPS)} | {share(count.values())} |")


def cell(column, v):
    return f"{v:.0f}" if column in ("IDSW", "Frag", "FP", "FN") else f"{v:.1f}"


if __name__ == "__main__":
    main()
