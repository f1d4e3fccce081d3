"""The tables of docs/mot.md: every tracker on the same detections, and the occlusion test.

    python tools/train/mot/results.py --data ../shared/data/mot15 --mot out/mot --nets out --split test

--nets is the folder in which models/mot/convert.sh put the networks in float32.
"""
import argparse
import json
import tempfile
from pathlib import Path

import data
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


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--data", type=Path, required=True, help="folder with gt, det_frcnn and seqinfo")
    ap.add_argument("--mot", required=True, help="the program: go build -o out/mot ./tools/mot")
    ap.add_argument("--nets", type=Path, required=True)
    ap.add_argument("--split", choices=["train", "test"], default="test")
    ap.add_argument("--rounds", type=int, default=10, help="of the occlusion test")
    args = ap.parse_args()
    sequences = [data.Sequence(args.data, n) for n in (data.TRAIN if args.split == "train" else data.TEST)]
    measure = evaluate.Measure(args.data, sequences)
    all_, hidden = {}, {}
    for name, command in trackers(args.mot, args.nets).items():
        with tempfile.TemporaryDirectory() as tmp:
            folder = Path(tmp) / "results"
            folder.mkdir()
            for seq in sequences:
                evaluate.run(command, seq, args.data / "det_frcnn" / f"{seq.name}.txt", folder / f"{seq.name}.txt")
            all_[name] = measure(folder)
        hidden[name] = occlusion.measure(command, sequences, args.rounds, 1)
    columns = [c for c, *_ in evaluate.COLUMNS]
    print(f"## {args.split}, together\n\n| tracker | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 1)}")
    for name, r in all_.items():
        print(f"| {name} | {' | '.join(cell(c, r['COMBINED'][c]) for c in columns)} |")
    for column in ("MOTA", "IDF1", "HOTA", "IDSW", "Frag"):
        print(f"\n## {column} by sequence\n\n| tracker | {' | '.join(s.name for s in sequences)} |\n|{'---|' * (len(sequences) + 1)}")
        for name, r in all_.items():
            print(f"| {name} | {' | '.join(cell(column, r[s.name][column]) for s in sequences)} |")
    print(f"\n## Occlusion, recovered in %\n\n| tracker | {' | '.join(f'{n} frames' for n in occlusion.GAPS)} | all |\n|{'---|' * (len(occlusion.GAPS) + 2)}")
    for name, count in hidden.items():
        share = lambda pairs: f"{100 * sum(a for a, _ in pairs) / max(1, sum(b for _, b in pairs)):.1f}"
        print(f"| {name} | {' | '.join(share([count[n]]) for n in occlusion.GAPS)} | {share(count.values())} |")


def cell(column, v):
    return f"{v:.0f}" if column in ("IDSW", "Frag", "FP", "FN") else f"{v:.1f}"


if __name__ == "__main__":
    main()
