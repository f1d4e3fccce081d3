"""Runs a tracker over sequences and measures it with TrackEval.

    python tools/train/mot/evaluate.py --data ../shared/data/mot15 --split test -- out/mot -motion kalman
    python tools/train/mot/evaluate.py --data ../shared/data/mot15 --split train --json out/kalman.json -- out/mot -motion kalman
    python tools/train/mot/evaluate.py --data ../shared/data/mot15 --split train --detections det_public --scale 150 -- out/mot -good 0.3

What follows -- is the command, to which "-in FILE -out FILE -image 1920x1080" is added, with the sequence's files and size.
With {in} in it, {in}, {out}, {width}, {height} and {rate} are filled in and nothing is added. {name} is filled in always. Splits: train is the five sequences on
which everything is chosen, test the other six, all both; of them those that the folder of detections has. MOTA, MOTP, IDF1 and HOTA are in percent.
"""
import argparse
import contextlib
import io
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import trackeval

import data

COLUMNS = [("MOTA", "CLEAR", "MOTA", 100), ("IDF1", "Identity", "IDF1", 100), ("HOTA", "HOTA", "HOTA", 100), ("IDSW", "CLEAR", "IDSW", 1),
           ("Frag", "CLEAR", "Frag", 1), ("MOTP", "CLEAR", "MOTP", 100), ("FP", "CLEAR", "CLR_FP", 1), ("FN", "CLEAR", "CLR_FN", 1)]


class Measure:
    """TrackEval on folders of results, one FILE.txt a sequence."""

    def __init__(self, root, sequences, hota=True):
        self.root, self.sequences = Path(root).resolve(), list(sequences)
        self.lengths = {s.name: s.length for s in sequences}
        with contextlib.redirect_stdout(io.StringIO()):
            self.metrics = [trackeval.metrics.CLEAR({"PRINT_CONFIG": False}), trackeval.metrics.Identity({"PRINT_CONFIG": False})]
            if hota:
                self.metrics.append(trackeval.metrics.HOTA())

    def __call__(self, folder):
        """-> {sequence or COMBINED: {column: value}}"""
        folder = Path(folder).resolve()
        with contextlib.redirect_stdout(io.StringIO()):
            source = trackeval.datasets.MotChallenge2DBox({
                "GT_FOLDER": str(self.root), "GT_LOC_FORMAT": "{gt_folder}/gt/{seq}.txt", "TRACKERS_FOLDER": str(folder.parent),
                "TRACKERS_TO_EVAL": [folder.name], "TRACKER_SUB_FOLDER": "", "BENCHMARK": "MOT15", "SKIP_SPLIT_FOL": True,
                "SEQ_INFO": dict(self.lengths), "PRINT_CONFIG": False})
            each = {m.get_name(): {} for m in self.metrics}
            for name in self.lengths:
                scene = source.get_preprocessed_seq_data(source.get_raw_seq_data(folder.name, name), "pedestrian")
                for m in self.metrics:
                    each[m.get_name()][name] = m.eval_sequence(scene)
            for m in self.metrics:
                each[m.get_name()]["COMBINED"] = m.combine_sequences({k: v for k, v in each[m.get_name()].items()})
        return self._figures(each)

    def _figures(self, each):
        return {name: {column: scale * float(np.mean(each[family][name][field])) for column, family, field, scale in COLUMNS if family in each}
                for name in [*self.lengths, "COMBINED"]}

    def quick(self, results):
        """The same from {sequence: rows frame, id, cx, cy, w, h}: TrackEval's measures without its reading and checking, which take most of the time."""
        each = {m.get_name(): {} for m in self.metrics}
        for seq in self.sequences:
            scene = quick_scene(seq, results[seq.name])
            for m in self.metrics:
                each[m.get_name()][seq.name] = m.eval_sequence(scene)
        for m in self.metrics:
            each[m.get_name()]["COMBINED"] = m.combine_sequences(dict(each[m.get_name()]))
        return self._figures(each)


def quick_scene(seq, rows):
    """What TrackEval's measures take."""
    out = {"num_timesteps": seq.length, "seq": seq.name}
    split = {}
    for who, boxes in (("gt", seq.gt), ("tracker", rows)):
        boxes = boxes[np.argsort(boxes[:, 0], kind="stable")]
        known, ids = np.unique(boxes[:, 1], return_inverse=True)
        cuts = np.searchsorted(boxes[:, 0], np.arange(2, seq.length + 1))
        split[who] = np.split(boxes[:, 2:6], cuts)
        out[f"{who}_ids"] = np.split(ids.astype(int), cuts)
        out[f"num_{who}_ids"], out[f"num_{who}_dets"] = len(known), len(boxes)
    out["similarity_scores"] = [data.iou(g, t) for g, t in zip(split["gt"], split["tracker"])]
    return out


def read_rows(path):
    """rows frame, id, cx, cy, w, h of a file of results"""
    rows = np.fromstring(Path(path).read_text().replace("\n", ","), sep=",").reshape(-1, 10)
    return np.column_stack([rows[:, :2], data.centred(rows[:, 2:6])])


def command_for(command, seq, source, target):
    """The tracker's command line for one sequence."""
    fields = {"in": source, "out": target, "width": seq.width, "height": seq.height, "rate": f"{seq.rate:g}", "name": seq.name}
    if not any("{in}" in part for part in command):
        command = [*command, "-in", "{in}", "-out", "{out}", "-image", "{width}x{height}"]
    for k, v in fields.items():
        command = [part.replace("{" + k + "}", str(v)) for part in command]
    return command


def run(command, seq, source, target):
    line = command_for(command, seq, source, target)
    done = subprocess.run(line, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(line)}: {done.stderr.strip()}")


def track(command, data_root, detections, scale, sequences, folder):
    """Runs the command on each sequence; the results go to the folder. Scores are divided by scale and kept within 0 and 1, unless it is 0."""
    with tempfile.TemporaryDirectory() as tmp:
        for seq in sequences:
            source = data_root / detections / f"{seq.name}.txt"
            if scale:
                source = Path(tmp) / "det.txt"
                data.write_detections(source, np.column_stack([seq.det[:, :5], np.clip(seq.det[:, 5] / scale, 0, 1)]))
            run(command, seq, source, folder / f"{seq.name}.txt")


def sequences_of(data_root, split, detections):
    names = {"train": data.TRAIN, "test": data.TEST, "all": data.TRAIN + data.TEST}[split]
    found = [data.Sequence(data_root, n, detections) for n in names if (data_root / detections / f"{n}.txt").exists()]
    if not found:
        raise SystemExit(f"no detections of the split {split} in {data_root / detections}")
    return found


def table(results):
    names = [c for c, *_ in COLUMNS if c in next(iter(results.values()))]
    rows = [["sequence", *names]]
    for name, r in results.items():
        rows.append([name, *(f"{r[c]:.0f}" if c in ("IDSW", "Frag", "FP", "FN") else f"{r[c]:.2f}" for c in names)])
    return "\n".join("| " + " | ".join(v.ljust(16) if k == 0 else v.rjust(6) for k, v in enumerate(r)) + " |" for r in rows)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--data", type=Path, required=True, help="folder with gt, det_frcnn and seqinfo")
    ap.add_argument("--split", choices=["train", "test", "all"], default="train")
    ap.add_argument("--detections", default="det_frcnn", help="folder of detections within the data")
    ap.add_argument("--scale", type=float, default=0, help="divide the scores by this, and keep them within 0 and 1")
    ap.add_argument("--json", type=Path, help="also write the numbers to this file")
    ap.add_argument("--keep", type=Path, help="write the tracker's results to this folder")
    ap.add_argument("command", nargs="+", help="after --: the tracker's command")
    args = ap.parse_args()
    sequences = sequences_of(args.data, args.split, args.detections)
    with tempfile.TemporaryDirectory() as tmp:
        folder = args.keep or Path(tmp) / "results"
        folder.mkdir(parents=True, exist_ok=True)
        track(args.command, args.data, args.detections, args.scale, sequences, folder)
        results = Measure(args.data, sequences)(folder)
    print(table(results))
    if args.json:
        args.json.write_text(json.dumps({"command": args.command, "split": args.split, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
