"""What tools/train/gesture computes, for the tests of models/gesture.

    python models/gesture/testdata/golden.py        (from the root of the repository; numpy only)
"""
import json
import sys
from pathlib import Path

import numpy as np

here = Path(__file__).parent
sys.path.insert(0, str(here / "../../../tools/train/gesture"))
import prepare  # noqa: E402
from spotting import Spotter  # noqa: E402

SCALE = 1024  # probabilities are multiples of 1/SCALE, so that they are exact


def probabilities(rng, rows):
    """A walk between "none" and the gestures: [rows, 10] integers that add up to SCALE."""
    drift = np.cumsum(rng.normal(0, 0.6, (rows, 10)), axis=0)
    drift[:, 9] = 4 * np.sin(np.arange(rows) / rng.uniform(9, 25)) + rng.normal(0, 1, rows)
    drift[:, :9] -= drift[:, :9].max(1, keepdims=True)
    e = np.exp(drift)
    p = np.floor(SCALE * e / e.sum(1, keepdims=True)).astype(int)
    p[:, 9] += SCALE - p.sum(1)
    return p


def bits(x):
    return x.astype(np.float32).ravel().view(np.uint32).tolist()


rng = np.random.default_rng(1)
ALPHA = 2.0 ** -7
spots = [Spotter(ALPHA, 20, on=0.5, off=0.2, hold=8, min_rows=20, decay=0.9), Spotter(ALPHA, 0, hold=1, min_rows=1, decay=1),
         Spotter(ALPHA, 40, on=0.7, off=0.3, hold=20, min_rows=30, decay=0.5), Spotter(ALPHA, 3, refractory=12),
         Spotter(ALPHA, 3, on=0.8, off=0.6, hold=1, min_rows=3, refractory=40)]
meta = lambda spot: {k.removeprefix("gesture."): v for k, v in spot.meta().items()}
cases = []
for spot in spots:
    for rows in (300, 77):
        p = probabilities(rng, rows)
        events = [[c, a, b, bits(np.array([v]))[0]] for c, a, b, v, _ in spot.events(p / SCALE)]
        cases.append({"params": meta(spot), "p": p.ravel().tolist(), "events": events})
still = np.round(rng.normal(0, 1, (300, 10)) * (1 + 9 * (np.sin(np.arange(300) / 17) > 0.7))[:, None])
gates = [Spotter(0, 0, gate=g, gate_rows=n, gate_alpha=a) for g, n, a in ((0.25, 5, 0.125), (0.15, 20, 0.5))]
unit = np.array([2, 4, 1, 0.25], np.float32)
raw = np.cumsum(rng.normal(0, 1, (150, 4)), axis=0).astype(np.float32)
level = raw[0]  # as in prepare.levels
for r in raw[:75]:
    level = level + np.float32(ALPHA) * (r - level)
golden = {
    "scale": SCALE,
    "spotter": cases,
    "still": still.astype(int).ravel().tolist(),
    "gates": [{"params": meta(g), "awake": g.awake((still / 16).astype(np.float32)).astype(int).tolist()} for g in gates],
    "unit": " ".join(f"{u:g}" for u in unit),
    "clip": f"{prepare.CLIP:g}",
    "alpha": repr(ALPHA),
    "raw": bits(raw),
    "stream": bits(prepare.following(raw, unit, ALPHA)),
    "segment": bits(prepare.cut(raw, raw[0], unit)),
    "segment_after": bits(prepare.cut(raw[75:], level, unit)),
}
(here / "golden.json").write_text(json.dumps(golden, separators=(",", ":")) + "\n")
print([len(c["events"]) for c in cases], "events,", [sum(g["awake"]) for g in golden["gates"]], "rows awake")
