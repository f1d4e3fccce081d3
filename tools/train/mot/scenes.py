"""Scenes for the training of the learnt filter: ground-truth tracks of whole scenes with the detector's misses, noise, scores and false
alarms, as measured, and with turned, stretched, shaken and synthetic variants."""
import numpy as np

import data
import synth

EMPTY = {"truth": (4,), "aim": (4,), "exists": (), "z": (4,), "seen": (), "score": ()}


def minus(z, p):
    """z ⊖ p: the step from box p to box z, in units of p's height, sizes by logarithms."""
    return np.concatenate([(z[..., :2] - p[..., :2]) / p[..., 3:4], np.log(z[..., 2:] / p[..., 2:])], -1)


def plus(p, d):
    return np.concatenate([p[..., :2] + d[..., :2] * p[..., 3:4], p[..., 2:] * np.exp(d[..., 2:])], -1)


class Source:
    """What one sequence has: its tracks with the detections that belong to them, and the false alarms, linked.

    The ground truth of one sequence is tighter than that of another, by up to a quarter of the width. A filter cannot know by how much, so aim, to
    which it is trained, is the truth plus the sequence's mean difference of detection and truth.
    """

    def __init__(self, seq):
        self.seq = seq
        matched = seq.matched(0.3)
        owner = {int(g): d for d, g in enumerate(matched) if g >= 0}
        self.tracks, self.residuals = [], []
        for k in np.unique(seq.gt[:, 1]):
            rows = np.flatnonzero(seq.gt[:, 1] == k)
            rows = rows[np.argsort(seq.gt[rows, 0])]
            first, n = int(seq.gt[rows[0], 0]), int(seq.gt[rows[-1], 0] - seq.gt[rows[0], 0]) + 1
            at = seq.gt[rows, 0].astype(int) - first
            truth = np.stack([np.interp(np.arange(n), at, seq.gt[rows, c]) for c in range(2, 6)], 1)
            t = {"first": first, "truth": truth, "exists": np.zeros(n, bool), "z": truth.copy(), "seen": np.zeros(n, bool), "score": np.zeros(n)}
            t["exists"][at] = True
            for r, i in zip(rows, at):
                if int(r) in owner:
                    d = seq.det[owner[int(r)]]
                    t["z"][i], t["seen"][i], t["score"][i] = d[1:5], True, d[5]
            self.tracks.append(t)
            self.residuals.append(minus(t["z"][t["seen"]], truth[t["seen"]]))
        self.residuals = np.concatenate(self.residuals)
        bias = self.residuals.mean(0)
        self.residuals = self.residuals - bias
        rng = np.random.default_rng(0)
        for t in self.tracks:
            t["aim"] = plus(t["truth"], bias)
            hidden = ~t["seen"]  # where nothing was seen, what might have been
            t["z"][hidden] = plus(t["aim"][hidden], self.residuals[rng.integers(len(self.residuals), size=hidden.sum())])
        self.false = self._link(seq, np.flatnonzero(matched < 0))

    @staticmethod
    def _link(seq, rows):
        open_, done = [], []
        for f in range(1, seq.length + 1):
            new = rows[seq.det[rows, 0] == f]
            taken = set()
            for t in open_:
                if len(new):
                    o = data.iou(seq.det[t[-1:], 1:5], seq.det[new, 1:5])[0]
                    o[[i in taken for i in new]] = 0
                    if o.max() > 0.3:
                        t.append(new[o.argmax()])
                        taken.add(new[o.argmax()])
            done += [t for t in open_ if seq.det[t[-1], 0] < f - 4]
            open_ = [t for t in open_ if seq.det[t[-1], 0] >= f - 4] + [[i] for i in new if i not in taken]
        out = []
        for t in done + open_:
            first = int(seq.det[t[0], 0])
            at = seq.det[t, 0].astype(int) - first
            n = at[-1] + 1
            box = np.stack([np.interp(np.arange(n), at, seq.det[t, c]) for c in range(1, 5)], 1)
            seen, score = np.zeros(n, bool), np.zeros(n)
            seen[at], score[at] = True, seq.det[t, 5]
            out.append({"first": first, "truth": box, "aim": box, "exists": np.zeros(n, bool), "z": box, "seen": seen, "score": score})
        return out


class Maker:
    """Draws scenes: arrays [T, S, N, …] of truth, aim, exists, z, seen, score and the sizes of the images [S, 2].

    A slot is unused before its first seen frame. z holds a likely detection also where seen is 0.
    """

    def __init__(self, sequences, slots=10):
        self.sources = [Source(s) for s in sequences]
        self.stats = synth.Statistics(sequences)
        self.slots = slots
        self.weights = np.sqrt([sum(t["seen"].sum() for t in s.tracks) for s in self.sources])
        self.weights = self.weights / self.weights.sum()

    def batch(self, rng, scenes, length):
        out = {k: np.zeros((length, scenes, self.slots, *shape), np.float32) for k, shape in EMPTY.items()}
        out["truth"][...] = out["aim"][...] = out["z"][...] = [100, 100, 40, 100]
        size = np.zeros((scenes, 2), np.float32)
        for s in range(scenes):
            size[s] = self._scene(rng, {k: v[:, s] for k, v in out.items()}, length)
        return out, size

    def _scene(self, rng, out, length):
        source = self.sources[rng.choice(len(self.sources), p=self.weights)]
        seq = source.seq
        kind = rng.random()
        if kind < 0.15:
            picked = [self._synthetic(rng, seq, length) for _ in range(rng.integers(2, self.slots - 2))]
            start, stretch = 0, 1.0
        else:
            stretch = np.exp(rng.uniform(-0.7, 0.7)) if kind < 0.6 else 1.0
            span = int(np.ceil(length * stretch)) + 1
            start = int(rng.integers(1 - span // 4, max(2, seq.length - span // 2)))
            picked = []
            for t in source.tracks:
                part = self._cut(t, start, span, stretch, length)
                if part is not None:
                    if stretch != 1 or rng.random() < 0.3:
                        self._observe(rng, part)
                    picked.append(part)
            rng.shuffle(picked)
        picked = picked[:self.slots - 2]
        if kind >= 0.15:
            false = [t for t in source.false if t["first"] < start + length and t["first"] + len(t["z"]) > start]
            rng.shuffle(false)
            picked += [p for p in (self._cut(t, start, length, 1.0, length) for t in false[:self.slots - len(picked)]) if p is not None]
        shake = self._camera(rng, seq, length)
        mirror = rng.random() < 0.5
        for k, t in enumerate(picked):
            t = {n: v.copy() for n, v in t.items()}
            if rng.random() < 0.3:  # an occlusion
                n = int(rng.integers(5, 40))
                at = int(rng.integers(2, length))
                t["seen"][at:at + n] = False
            for b in (t["truth"], t["aim"], t["z"]):
                b[:, :2] += shake
                if mirror:
                    b[:, 0] = seq.width - b[:, 0]
            for n, v in t.items():
                out[n][:, k] = v
        return seq.width, seq.height

    @staticmethod
    def _cut(t, start, span, stretch, length):
        """The frames start … start + span of a track, stretched in time; beyond its end it is neither there nor seen."""
        grid = start + np.arange(length) * stretch - t["first"]
        n = len(t["truth"])
        inside = (grid >= 0) & (grid <= n - 1)
        near = np.clip(np.round(grid).astype(int), 0, n - 1)
        if (t["seen"][near] & inside).sum() < 1:
            return None
        if stretch == 1:
            pick = lambda v: v[near].copy()
        else:
            pick = lambda v: np.stack([np.interp(grid, np.arange(n), c) for c in v.T], 1)
        return {"truth": pick(t["truth"]), "aim": pick(t["aim"]), "exists": t["exists"][near] & inside, "z": pick(t["z"]), "seen": t["seen"][near] & inside,
                "score": np.where(t["seen"][near] & inside, t["score"][near], 0)}

    def _observe(self, rng, t):
        """Replaces the detections by the course of misses, errors and scores of another track."""
        other = self.sources[rng.integers(len(self.sources))]
        length = len(t["truth"])
        seen, score, error = [], [], []
        while sum(map(len, seen)) < length:
            o = other.tracks[rng.integers(len(other.tracks))]
            if o["seen"].sum() < 3:
                continue
            seen.append(o["seen"])
            score.append(o["score"])
            error.append(minus(o["z"], o["aim"]))
        seen, score, error = (np.concatenate(v)[:length] for v in (seen, score, error))
        if rng.random() < 0.5:
            error = error * [-1, 1, 1, 1]
        t["z"] = plus(t["aim"], error)
        t["seen"] = seen & t["exists"]
        t["score"] = np.where(t["seen"], score, 0)

    def _synthetic(self, rng, seq, length):
        size = np.array([seq.width, seq.height, seq.width, seq.height])
        truth = (self.stats.track(rng, length) + 0.5) * size
        truth[:, 2:] = np.maximum(truth[:, 2:], 8)
        inside = (np.abs(truth[:, :2] / size[:2] - 0.5) < 0.5).all(1)
        if rng.random() < 0.5:
            inside[rng.integers(5, length):] = False
        t = {"truth": truth, "aim": truth, "exists": inside, "z": truth, "seen": inside, "score": inside.astype(float)}
        self._observe(rng, t)
        return t

    @staticmethod
    def _camera(rng, seq, length):
        """Shift of the image in pixels [T, 2]: slow turns and shaking."""
        if rng.random() < 0.6:
            return np.zeros((length, 2))
        turn, v = np.zeros((length, 2)), np.zeros(2)
        keep, strength = rng.uniform(0.7, 0.98), np.exp(rng.uniform(-8.5, -5)) * seq.height * np.array([1, 0.4])
        for i in range(length):
            v = keep * v + strength * rng.standard_normal(2)
            turn[i] = v
        jump = np.exp(rng.uniform(-8.5, -5.5)) * seq.height * rng.standard_normal((length, 2))
        return np.cumsum(turn, 0) + jump
