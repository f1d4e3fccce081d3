"""Data sets in the layout that fit.py takes; README.md describes it.

    DIR/dataset.json   {"channels": ["ax", …], "units": ["m/s2", …], "rate": 100, "sensors": [["ax", "ay", "az"], …]}
    DIR/labels.csv     file,start,end,label,subject      seconds; without label: a recording of movements that are no gestures
    DIR/*.csv          a line of names; the channels in any order, and "time" in seconds unless the rows are at "rate" already
"""
import csv
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

GAP = 4  # sampling periods without a sample that end a part of a recording


class LayoutError(ValueError):
    pass


@dataclass
class Part:
    """Rows without a gap; a recording has one where no samples are missing."""

    file: str
    subject: str
    start: float  # s, time of the first row
    lo: int  # rows of Data.rows
    hi: int


@dataclass
class Span:
    part: int
    label: int
    lo: int  # rows of Data.rows
    hi: int


class Data:
    """rows: [all rows, channels] float32 of all parts, one after the other."""

    def __init__(self, root, rate=None):
        """rate: in place of the data set's."""
        root = Path(root)
        about = _about(root / "dataset.json")
        self.recorded = float(about["rate"])  # rows a second of files without times
        self.name = about.get("name", root.resolve().name)
        self.credit = {"data": self.name + (f" ({about['source']})" if "source" in about else "")}  # for the files of nets
        if "licence" in about:
            self.credit["licence"] = about["licence"]
        self.channels, self.units, self.rate = about["channels"], about["units"], float(rate or about["rate"])
        self.sensors = [[self.channels.index(c) for c in s] for s in about.get("sensors", [])]
        self.margin = int(round(about.get("margin", 0) * self.rate))  # rows of rest that a span holds at either end
        self.notes, self.parts, self.spans = [], [], []
        marks = _labels(root / "labels.csv")
        self.labels = about.get("labels") or sorted({m[3] for m in marks if m[3]}, key=_natural)
        self.subjects = sorted({m[4] for m in marks}, key=_natural)
        rows, at = [], 0
        for file in dict.fromkeys(m[0] for m in marks):
            own = [m for m in marks if m[0] == file]
            if len({m[4] for m in own}) > 1:
                raise LayoutError(f"labels.csv: {file} belongs to more than one subject")
            for start, x in self._read(root / file):
                self.parts.append(Part(file, own[0][4], start, at, at + len(x)))
                rows.append(x)
                at += len(x)
            self._mark(file, own)
        if not self.spans:
            raise LayoutError(f"{root}: no gesture lies in a recording")
        self.rows = np.concatenate(rows)

    def _read(self, path):
        with open(path, newline="") as f:
            names = [n.strip() for n in f.readline().lstrip("\ufeff").split(",")]
            try:
                table = np.loadtxt(f, delimiter=",", ndmin=2, dtype=np.float64)
            except ValueError as e:
                raise LayoutError(f"{path}: {e}") from None
        missing = [c for c in self.channels if c not in names]
        if missing or table.shape[1:] != (len(names),):
            raise LayoutError(f"{path}: columns {names}" + (f", want {missing} too" if missing else ""))
        if not np.isfinite(table).all():
            raise LayoutError(f"{path}: row {int(np.argmin(np.isfinite(table).all(1))) + 2} is not finite")
        x = table[:, [names.index(c) for c in self.channels]]
        if "time" not in names and self.rate == self.recorded:
            return [(0.0, x.astype(np.float32))]
        t = table[:, names.index("time")] if "time" in names else np.arange(len(x)) / self.recorded
        if (np.diff(t) <= 0).any():
            raise LayoutError(f"{path}: time does not grow after row {int(np.argmax(np.diff(t) <= 0)) + 2}")
        cuts = np.flatnonzero(np.diff(t) > GAP * max(np.median(np.diff(t)), 1 / self.rate)) + 1
        if len(cuts):
            self.notes.append(f"{path.name}: cut at {len(cuts)} gaps")
        pieces = zip(np.split(t, cuts), np.split(x, cuts))
        return [(a[0], resample(a, b, self.rate)) for a, b in pieces if len(a) > 1]

    def _mark(self, file, marks):
        parts = [(k, p) for k, p in enumerate(self.parts) if p.file == file]
        for _, start, end, label, _ in marks:
            if not label:
                continue
            for k, p in parts:
                lo, hi = (p.lo + int(round((t - p.start) * self.rate)) for t in (start, end))
                if p.lo <= lo < hi <= p.hi:
                    self.spans.append(Span(k, self.labels.index(label), lo, hi))
                    break
            else:
                self.notes.append(f"{file}: {label} at {start} s lies outside or across a gap; left out")

    def subject(self, span):
        return self.parts[span.part].subject

    def of(self, subjects):
        return [s for s in self.spans if self.subject(s) in subjects]

    def truth(self, part):
        """[(class, first row, end row)] of one part, rows from its beginning, in time order."""
        lo = self.parts[part].lo
        return sorted(((s.label, s.lo - lo, s.hi - lo) for s in self.spans if s.part == part), key=lambda t: t[1])

    def deal(self, groups):
        """Makes groups of recordings take the place of subjects, each with a share of every label."""
        order = sorted(range(len(self.parts)), key=lambda k: [t[0] for t in self.truth(k)])
        for n, k in enumerate(order):
            self.parts[k].subject = f"group {n % groups + 1}"
        self.subjects = sorted({p.subject for p in self.parts})

    def part_rows(self, part):
        p = self.parts[part]
        return self.rows[p.lo:p.hi]

    def rests(self, subject, skip=(), shortest=16):
        """Rows between gestures, before the first and after the last, but for the parts to skip."""
        out = []
        for k, p in enumerate(self.parts):
            if p.subject == subject and k not in skip:
                t = self.truth(k)
                ends = [0] + [b for _, _, b in t]
                starts = [a for _, a, _ in t] + [p.hi - p.lo]
                out += [self.part_rows(k)[a:b] for a, b in zip(ends, starts) if b - a >= shortest]
        return out


def resample(t, x, rate):
    """Rows of x at times t, put on a grid of the given rate. Where that is much slower, each row is the mean over its period."""
    grid = t[0] + np.arange(int((t[-1] - t[0]) * rate + 1e-6) + 1) / rate
    if np.median(np.diff(t)) * rate > 0.8:
        return np.stack([np.interp(grid, t, c) for c in x.T], 1).astype(np.float32)
    area = np.concatenate([np.zeros((1, x.shape[1])), np.cumsum((x[1:] + x[:-1]) / 2 * np.diff(t)[:, None], 0)])
    a, b = np.maximum(grid - 0.5 / rate, t[0]), np.minimum(grid + 0.5 / rate, t[-1])
    return np.stack([(np.interp(b, t, c) - np.interp(a, t, c)) / (b - a) for c in area.T], 1).astype(np.float32)


def _about(path):
    about = json.loads(path.read_text())
    known = {"name", "channels", "units", "rate", "sensors", "labels", "margin", "source", "licence"}
    for key in ("channels", "units", "rate"):
        if key not in about:
            raise LayoutError(f"{path}: {key} is missing")
    if unknown := set(about) - known:
        raise LayoutError(f"{path}: unknown {sorted(unknown)}")
    if len(about["units"]) != len(about["channels"]) or len(set(about["channels"])) != len(about["channels"]):
        raise LayoutError(f"{path}: want a unit for each channel, and each channel once")
    if not about["rate"] > 0:
        raise LayoutError(f"{path}: rate is {about['rate']}")
    for s in about.get("sensors", []):
        if not s or len(s) % 3 or not set(s) <= set(about["channels"]):
            raise LayoutError(f"{path}: sensor {s}: want channels x, y, z, and again x, y, z for each further quantity with the same axes")
    return about


def _labels(path):
    with open(path, newline="") as f:
        rows = list(csv.DictReader(f))
    out = []
    for n, r in enumerate(rows, 2):
        try:
            gesture = bool(r["label"].strip())
            start, end = (float(r["start"]), float(r["end"])) if gesture else (0.0, 0.0)
            out.append((r["file"].strip(), start, end, r["label"].strip(), r["subject"].strip()))
        except (KeyError, ValueError, AttributeError) as e:
            raise LayoutError(f"{path}: line {n}: want file,start,end,label,subject: {e}") from None
    return out


def _natural(s):
    return (0, float(s), s) if s.replace(".", "", 1).isdigit() else (1, 0.0, s)
