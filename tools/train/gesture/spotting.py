"""Finding gestures in a stream: the motion gate, the events in the net's softmax, what they are worth, and fitting the constants.

models/gesture has the same in Go; the constants are metadata of a model file, gesture.NAME.
"""
from dataclasses import asdict, dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Spotter:
    """A gesture is a run of rows in which "none" (the last class) is improbable."""

    alpha: float  # share by which the level follows, of prepare.following
    delay: int  # rows by which the net's answer is late: it was trained on labels shifted by as much
    on: float = 0.5  # 1 - p(none) that opens a gesture
    off: float = 0.2  # and below which a row counts as quiet
    hold: int = 3  # quiet rows in a row that close it
    min_rows: int = 8  # shorter ones are dropped
    decay: float = 0.8  # of the summed softmax, each row that is not quiet: the last ones have seen the whole gesture
    refractory: int = 0  # rows after an event in which none opens
    gate: float = 0.0  # motion, mean of channels in units of the input, below which the net rests; 0: it never does
    gate_rows: int = 32  # rows without motion before it does
    gate_alpha: float = 2.0 ** -3  # motion is the distance from a level that moves by this share of it each row

    def meta(self):
        return {f"gesture.{k}": f"{v:.9g}" for k, v in asdict(self).items() if self.gate or not k.startswith("gate")}

    def awake(self, x):
        """Rows of x [T, C] that the net sees."""
        if not self.gate:
            return np.ones(len(x), bool)
        level, alpha = x[0].copy(), np.float32(self.gate_alpha)
        d = np.empty_like(x)
        for t, v in enumerate(x):
            d[t] = v - level
            level = level + alpha * d[t]
        moved = np.zeros(len(x), np.float32)
        for c in np.abs(d).T:  # in this order, as models/gesture adds
            moved = moved + c
        last = np.maximum.accumulate(np.where(moved >= np.float32(self.gate) * np.float32(x.shape[1]), np.arange(len(x)), -self.gate_rows))
        return np.arange(len(x)) - last < self.gate_rows

    def events(self, p):
        """p: [T, classes + 1] softmax -> [(class, first row, end row, confidence, row at which it is told)]."""
        p = p.astype(np.float32)
        any = np.float32(1) - p[:, -1]
        loud, begins = np.flatnonzero(any >= np.float32(self.off)), np.flatnonzero(any >= np.float32(self.on))
        out, t, decay = [], 0, np.float32(self.decay)
        while True:
            k = np.searchsorted(begins, t)
            if k == len(begins):
                return out
            first = last = int(begins[k])
            total = p[first, :-1].copy()
            for t in loud[np.searchsorted(loud, first + 1):]:
                if t - last > self.hold:
                    break
                total = total * decay + p[t, :-1]
                last = int(t)
            told = min(last + self.hold, len(p) - 1)
            t = told + 1
            if last + 1 - first >= self.min_rows:
                c, s = int(total.argmax()), np.float32(0)
                for v in total:
                    s = s + v
                out.append((c, max(0, first - self.delay), max(1, last + 1 - self.delay), float(total[c] / s), int(told)))
                t += self.refractory


def match(events, truth):
    """Walk both lists in time order. An event matches the earliest truth not yet passed that it overlaps by at
    least half of the shorter of the two; each truth is matched once. -> [index of truth or -1, one per event]."""
    out, nxt = [], 0
    for e in events:
        hit = -1
        for j in range(nxt, len(truth)):
            a, b = truth[j][1], truth[j][2]
            if 2 * (min(b, e[2]) - max(a, e[1])) >= min(b - a, e[2] - e[1]):
                hit, nxt = j, j + 1
                break
        out.append(hit)
    return out


def score(found, truths, rows, rate, margin):
    """found, truths, rows: of each recording. right: matched and labelled right; false: matched with nothing (a second event on one
    gesture is such). Latency: from the end of the movement, the margin of rest in the span taken off, to the row at which it is told."""
    n = right = wrong = false = rest = 0
    late = []
    for events, truth, length in zip(found, truths, rows):
        n += len(truth)
        rest += length - sum(b - a for _, a, b in truth)
        for e, j in zip(events, match(events, truth)):
            if j < 0:
                false += 1
            elif truth[j][0] == e[0]:
                right += 1
                late.append((e[4] - (truth[j][2] - 1 - margin)) / rate)
            else:
                wrong += 1
    return {"gestures": n, "right": right, "wrong_label": wrong, "missed": n - right - wrong, "false": false,
            "f1": 2 * right / max(1, n + right + wrong + false), "rest_minutes": rest / rate / 60,
            "false_a_minute": false / max(rest / rate / 60, 1e-9), "latency": float(np.median(late)) if late else float("nan")}


CHOICES = {
    "on": [0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9], "off": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8], "hold": [1, 2, 3, 4, 5, 6, 8],
    "min_rows": [3, 4, 6, 8, 10, 12, 16], "decay": [0.6, 0.7, 0.8, 0.9, 0.95], "refractory": [0, 2, 4, 8, 16],
}


def fit(spot, ps, truths, rate, margin, latency=0.22):
    """Constants with the best F1 on these recordings, one after the other, twice; what is late or often false costs."""
    rows = [len(p) for p in ps]

    def worth(s):
        r = score([s.events(p) for p in ps], truths, rows, rate, margin)
        late = max(0, r["latency"] - latency) if r["right"] else 1
        return r["f1"] - 0.02 * max(0, r["false_a_minute"] - 0.3) - 0.5 * late

    best = worth(spot)
    for _ in range(2):
        for key, values in CHOICES.items():
            for v in values:
                s = replace(spot, **{key: v})
                if s.off <= s.on and (w := worth(s)) > best + 1e-9:
                    spot, best = s, w
    return spot


def fit_gate(spot, run, xs, truths, rate, margin, levels=(0.5, 0.4, 0.3, 0.2, 0.1), seconds=(0.5, 1.0), cost=0.002):
    """The motion gate under which the net sees the fewest rows of these recordings, at this cost of F1."""
    rows = [len(x) for x in xs]

    def f1(s):
        return score([s.events(p) for p in gated(s, run, xs)], truths, rows, rate, margin)["f1"]

    def seen(s):
        return np.concatenate([s.awake(x) for x in xs]).mean()

    open = replace(spot, gate=0.0)
    least = f1(open) - cost
    gates = [replace(spot, gate=g, gate_rows=round(n * rate)) for g in levels for n in seconds]
    for s in sorted(gates, key=seen):
        if f1(s) >= least:
            return s
    return open


def gated(spot, run, xs):
    """Answers of the net, run([[T, C]]) -> [[T, classes + 1]], where the gate lets it see the rows, and "none" elsewhere."""
    masks = [spot.awake(x) for x in xs]
    seen = run([x[m] if m.any() else x[:1] for x, m in zip(xs, masks)])
    out = []
    for x, m, p in zip(xs, masks, seen):
        full = np.zeros((len(x), p.shape[-1]), np.float32)
        full[:, -1] = 1
        if m.any():
            full[m] = p
        out.append(full)
    return out
