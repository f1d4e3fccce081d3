"""Finding gestures in the stream net's softmax, and matching what was found with the truth."""
from dataclasses import asdict, dataclass

import numpy as np


@dataclass
class Spotter:
    """A gesture is a run of rows in which "none" is improbable.

    rows are 16 ms. The net's answer is late by `delay` rows (it was trained on labels shifted by as much).
    """

    alpha: float = 1 / 256  # baseline step, normalise_stream
    delay: int = 20
    on: float = 0.5  # 1 - p(none) that opens a gesture
    off: float = 0.15  # and below which a row counts as quiet
    hold: int = 8  # quiet rows in a row that close it
    min_rows: int = 16  # shorter ones are dropped
    decay: float = 0.8  # of the summed softmax, each such row: the last ones have seen the whole gesture

    def params(self):
        return asdict(self)

    def events(self, p):
        """p: [T, 10] softmax -> [(class, first row, end row, confidence)]. float32, sums in time order."""
        p = p.astype(np.float32)
        on, off, decay = np.float32(self.on), np.float32(self.off), np.float32(self.decay)
        out, active, total = [], False, None
        for t in range(len(p)):
            a = np.float32(1) - p[t, 9]
            if not active:
                if a >= on:
                    active, first, last, total = True, t, t, p[t, :9].copy()
                continue
            if a >= off:
                last = t
                total = total * decay + p[t, :9]
            if t - last >= self.hold:
                active = False
                self._close(out, first, last, total)
        if active:
            self._close(out, first, last, total)
        return out

    def _close(self, out, first, last, total):
        if last + 1 - first < self.min_rows:
            return
        c, s = 0, np.float32(0)
        for k in range(9):
            s = s + total[k]
            if total[k] > total[c]:
                c = k
        out.append((c, max(0, first - self.delay), max(1, last + 1 - self.delay), float(total[c] / s)))


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


def score(pairs):
    """pairs: [(events, truth)]. right: matched and labelled right; wrong: matched, other label;
    false: matched with nothing (a second event on one gesture is such); missed: truth without an event.
    Rates are of the number of true gestures."""
    n = right = wrong = false = 0
    for events, truth in pairs:
        n += len(truth)
        for e, j in zip(events, match(events, truth)):
            if j < 0:
                false += 1
            elif truth[j][0] == e[0]:
                right += 1
            else:
                wrong += 1
    return {"gestures": n, "right": right, "wrong_label": wrong, "missed": n - right - wrong, "false": false,
            "right_rate": right / n, "false_rate": false / n}
