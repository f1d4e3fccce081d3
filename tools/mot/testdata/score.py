"""What py-motmetrics says of the demo scene, for TestScore: run it from the root of the repository.

    pip install motmetrics==1.4.0
    python tools/mot/testdata/score.py
"""
import io
import json
import subprocess
from pathlib import Path

import numpy as np

np.asfarray = lambda a: np.asarray(a, float)  # motmetrics 1.4 wants what numpy 2 has dropped

import motmetrics as mm

SETTINGS = [[], ["max_age=30", "streak=false"], ["max_age=0", "min_hits=0", "report_gap=3"], ["min_iou=0.01", "max_age=60", "streak=false", "min_hits=0"]]


def mot(*args):
    out = subprocess.run(["go", "run", "./tools/mot", *args], check=True, capture_output=True, text=True).stdout
    return mm.io.loadtxt(io.StringIO(out), fmt="mot15-2D", min_confidence=-1)


def main():
    truth = mot("-demo-truth", "-")
    scores = []
    for settings in SETTINGS:
        tracks = mot("-motion", "kalman", *[a for s in settings for a in ("-set", s)])
        acc = mm.utils.compare_to_groundtruth(truth, tracks, "iou", distth=0.5)
        s = mm.metrics.create().compute(acc, metrics=["mota", "idf1", "num_switches", "num_misses", "num_false_positives", "num_objects"]).iloc[0]
        scores.append({"settings": settings, "mota": round(float(s.mota), 9), "idf1": round(float(s.idf1), 9), "switches": int(s.num_switches),
                       "missed": int(s.num_misses), "false": int(s.num_false_positives), "objects": int(s.num_objects)})
    Path("tools/mot/testdata/score.json").write_text(json.dumps(scores, indent=1) + "\n")


if __name__ == "__main__":
    main()
