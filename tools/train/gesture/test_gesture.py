"""python -m unittest discover tools/train/gesture        RECUR=out/recur adds the test from recordings to .recur files, which trains"""
import csv
import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import numpy as np

import curves
import examples
import heldout
import layout
import prepare
import spotting
import to_layout

CHANNELS = ["ax", "ay", "az", "gx", "gy", "gz"]
SHAPES = {"left": (0, 4), "up": (1, 5), "twist": (2, 3)}  # channels that move


def synthesise(out, rng, subjects=5, recordings=2, gestures=6, rate=100, **about):
    """Bumps on two of six channels between rests, by people of different strength and speed, at uneven times."""
    out.mkdir(parents=True, exist_ok=True)
    marks = []
    for s in range(subjects):
        strength, speed = rng.uniform(0.7, 1.4), rng.uniform(0.8, 1.25)
        for r in range(recordings):
            rows, at = [rng.normal(0, 0.05, (150, 6))], 150
            for label in rng.permutation(list(SHAPES) * (gestures // 3)):
                n, k = int(60 / speed * rng.uniform(0.9, 1.1)), SHAPES[label]
                x = rng.normal(0, 0.05, (n, 6))
                x[:, k[0]] += 5 * strength * np.sin(np.linspace(0, 2 * np.pi, n))
                x[:, k[1]] += 2 * strength * np.sin(np.linspace(0, np.pi, n)) ** 2
                marks.append((f"p{s}r{r}.csv", at / rate, (at + n) / rate, label, f"p{s}"))
                rest = rng.normal(0, 0.05, (rng.integers(80, 160), 6))
                rows, at = rows + [x, rest], at + n + len(rest)
            x = np.concatenate(rows) + [0, 0, 9.8, 0, 0, 0]
            t = np.arange(len(x)) / rate + rng.uniform(-0.2, 0.2, len(x)) / rate
            np.savetxt(out / f"p{s}r{r}.csv", np.column_stack([t, x]), "%.5f", ",", header=",".join(["time", *CHANNELS]), comments="")
    with open(out / "labels.csv", "w", newline="") as f:
        csv.writer(f).writerows([("file", "start", "end", "label", "subject"), *marks])
    full = {"channels": CHANNELS, "units": ["m/s2"] * 3 + ["rad/s"] * 3, "rate": 50, "sensors": [CHANNELS]} | about
    (out / "dataset.json").write_text(json.dumps(full))


class Layout(unittest.TestCase):
    def setUp(self):
        tmp = tempfile.TemporaryDirectory()
        self.addCleanup(tmp.cleanup)
        self.dir = Path(tmp.name)
        synthesise(self.dir, np.random.default_rng(1), subjects=2)

    def test_resampled(self):
        data = layout.Data(self.dir)
        self.assertEqual((len(data.spans), len(data.parts), data.labels), (24, 4, ["left", "twist", "up"]))
        x = np.loadtxt(self.dir / "p0r0.csv", delimiter=",", skiprows=1)
        p = data.parts[0]
        self.assertAlmostEqual((p.hi - p.lo) / 50, x[-1, 0] - x[0, 0], delta=0.05)
        self.assertLess(np.abs(data.part_rows(0).mean(0) - x[:, 1:].mean(0)).max(), 0.05)
        for s in data.spans:  # the movement is where the labels say
            moved = np.abs(data.rows[s.lo:s.hi] - [0, 0, 9.8, 0, 0, 0])[:, SHAPES[data.labels[s.label]][0]].max()
            self.assertGreater(moved, 2.5)

    def test_gap(self):
        lines = (self.dir / "p1r0.csv").read_text().splitlines()
        (self.dir / "p1r0.csv").write_text("\n".join(lines[:200] + lines[230:]) + "\n")
        data = layout.Data(self.dir)
        self.assertEqual(len(data.parts), 5)
        self.assertTrue(any("gap" in n for n in data.notes), data.notes)

    def test_errors(self):
        def change(name, old, new):
            path = self.dir / name
            text = path.read_text()
            self.assertIn(old, text)
            path.write_text(text.replace(old, new, 1))
            with self.assertRaises(layout.LayoutError) as e:
                layout.Data(self.dir)
            path.write_text(text)
            return str(e.exception)

        self.assertIn("unknown ['ratte']", change("dataset.json", '"sensors"', '"ratte"'))
        self.assertIn("a unit for each channel", change("dataset.json", '"m/s2", ', ""))
        self.assertIn("want ['ax'] too", change("p0r0.csv", "ax", "bx"))
        self.assertIn("is not finite", change("p0r0.csv", "gz\n", "gz\n0,nan,0,0,0,0,0\n"))
        self.assertIn("line 2: want file,start,end,label,subject", change("labels.csv", "p0r0.csv,1.5", "p0r0.csv,x"))
        self.assertIn("more than one subject", change("labels.csv", ",p0\n", ",p9\n"))

    def test_slower_rate_is_a_mean(self):
        t = np.arange(1000) / 100
        x = np.stack([np.sin(2 * np.pi * 40 * t), t], 1)  # 40 Hz cannot be told at 20 rows a second
        y = layout.resample(t, x, 20)
        self.assertLess(np.abs(y[2:-2, 0]).max(), 0.3)
        self.assertLess(np.abs(y[1:-1, 1] - np.arange(1, len(y) - 1) / 20).max(), 1e-5)


class Spotting(unittest.TestCase):
    def test_events(self):
        spot = spotting.Spotter(0, 2, hold=3, min_rows=4, refractory=10)
        p = np.zeros((80, 3))
        p[:, 2] = 1
        p[10:20] = 0.1, 0.8, 0.1
        p[25:30] = 0.8, 0.1, 0.1  # within the refractory time of the first: it is told at row 22
        p[50:52] = 0.8, 0.1, 0.1  # too short
        p[60:70] = 0.8, 0.1, 0.1
        found = spot.events(p)
        self.assertEqual([(c, a, b, told) for c, a, b, _, told in found], [(1, 8, 18, 22), (0, 58, 68, 72)])
        r = spotting.score([found], [[(1, 8, 18), (0, 30, 40), (1, 58, 68)]], [80], 10, 0)
        self.assertEqual((r["right"], r["wrong_label"], r["missed"], r["false"]), (1, 1, 1, 0))
        self.assertAlmostEqual(r["latency"], 0.5)
        self.assertAlmostEqual(r["f1"], 2 / 5)

    def test_gate(self):
        x = np.zeros((100, 4), np.float32)
        x[40:50, 1] = 4
        awake = spotting.Spotter(0, 0, gate=0.5, gate_rows=8).awake(x)
        self.assertFalse(awake[:40].any())
        self.assertTrue(awake[40:50].all())
        self.assertFalse(awake[70:].any())


class Levels(unittest.TestCase):
    def test_no_order(self):
        """In training a gesture's level tells nothing of the gesture before."""
        with tempfile.TemporaryDirectory() as tmp:
            synthesise(Path(tmp), np.random.default_rng(2))
            data = layout.Data(tmp)
            g = prepare.Gestures(data, data.spans, prepare.fit_unit(data, data.spans))
            rng, idx = np.random.default_rng(0), np.zeros(4000, int)
            drawn = g._levels(rng, idx) - g.rest[0]
            left = g.level[g.lo] - g.rest
            self.assertLess(np.abs(drawn.mean(0) - left.mean(0)).max(), 0.1 * np.abs(left).max())


class Examples(unittest.TestCase):
    def test_rows(self):
        with tempfile.TemporaryDirectory() as tmp:
            synthesise(Path(tmp), np.random.default_rng(5))
            data = layout.Data(tmp)
            lines = list(examples.rows(data, data.subjects))
            begins = [k for k, r in enumerate(lines) if float(r[-2]) == 0]
            self.assertEqual(len(begins), len(data.spans))
            spans = sorted(data.spans, key=lambda s: s.lo)
            for a, b, s in zip(begins, [*begins[1:], len(lines)], spans):
                own = [r for r in lines[a:b] if r[-1]]
                self.assertEqual({r[-1] for r in own}, {data.labels[s.label]})
                self.assertEqual(len(own), s.hi - s.lo - 2 * data.margin)
                first = [float(v) for v in own[0][:-2]]
                np.testing.assert_allclose(first, data.rows[s.lo + data.margin], rtol=1e-5, atol=1e-6)
                self.assertTrue(lines[a][-1] == "" and lines[b - 1][-1] == "")


class Curves(unittest.TestCase):
    def test_bumps(self):
        with tempfile.TemporaryDirectory() as tmp:
            synthesise(Path(tmp), np.random.default_rng(6))
            data = layout.Data(tmp)
            c = curves.fit(data, data.subjects)
            np.testing.assert_allclose(c["rest"], [0, 0, 9.8, 0, 0, 0], atol=0.05)
            for g in c["classes"]:
                k = SHAPES[g["label"]]
                x = curves.basis(g["rows"]) @ np.array(g["coef"]).T
                self.assertLess(np.abs(x[[0, -1]]).max(), 1.5)
                self.assertEqual(sorted(np.abs(x).max(0).argsort()[-2:]), sorted(k))
                self.assertTrue(3 < x[:, k[0]].max() < 7 and -7 < x[:, k[0]].min() < -3, x[:, k[0]])


class Finger(unittest.TestCase):
    def test_units(self):
        with tempfile.TemporaryDirectory() as tmp:
            root, out = Path(tmp) / "in", Path(tmp) / "out"
            (root / "orig").mkdir(parents=True)
            rest = 1.65 / 5 * 1024
            rows = np.tile([0, 0, 0, 0, 0, rest, rest + 0.8 / 5 * 1024, rest, 0, 0, 16], (20, 1))
            np.savetxt(root / "orig" / "subject1_measurement1.csv", rows, delimiter=",")
            (root / "segments.csv").write_text("subject,measurement,gesture,first_row,end_row,score\n1,1,3,2,18,0\n")
            to_layout.finger(root, out)
            data = layout.Data(out, 31.25)
            self.assertEqual((data.channels, data.units, data.margin, data.labels), (["ax", "ay", "az"], ["m/s2"] * 3, 3, ["G3"]))
            np.testing.assert_allclose(data.rows, np.tile([0, 9.80665, 0], (10, 1)), atol=1e-4)


class Heldout(unittest.TestCase):
    def test_no_row_is_left(self):
        with tempfile.TemporaryDirectory() as tmp:
            synthesise(Path(tmp), np.random.default_rng(4))
            data = layout.Data(tmp)
            gone, odd = data.labels[0], {1}
            cut = heldout.without(data, [gone], odd)
            self.assertEqual(cut.labels, data.labels[1:])
            rows = np.concatenate([np.arange(p.lo, p.hi) for p in cut.parts])
            self.assertEqual(len(set(rows)), len(rows))
            for s in data.spans:
                left = np.isin(np.arange(s.lo, s.hi), rows)
                self.assertEqual(left.all(), data.labels[s.label] != gone and s.part not in odd)
                self.assertEqual(left.any(), left.all())
            kept = {(s.lo, s.hi, data.labels[s.label]) for s in data.spans if data.labels[s.label] != gone and s.part not in odd}
            self.assertEqual({(s.lo, s.hi, cut.labels[s.label]) for s in cut.spans}, kept)
            for s in cut.spans:
                self.assertTrue(cut.parts[s.part].lo <= s.lo and s.hi <= cut.parts[s.part].hi)


@unittest.skipUnless(os.environ.get("RECUR"), "RECUR names no program")
class Fit(unittest.TestCase):
    def test_to_recur(self):
        with tempfile.TemporaryDirectory() as tmp:
            tmp = Path(tmp)
            synthesise(tmp / "data", np.random.default_rng(3))
            program = [sys.executable, str(Path(__file__).parent / "fit.py"), "--data", str(tmp / "data"), "--out", str(tmp / "out"),
                       "--recur", os.path.abspath(os.environ["RECUR"])]
            for flags in ["--nets", "one-way,two-way", "--steps", "500"], ["--nets", "stream", "--epochs", "60"]:
                print(subprocess.run([*program, *flags], check=True, capture_output=True, text=True).stdout)
            for name, least in (("stream", 0.8), ("one-way", 0.9), ("two-way", 0.9)):
                report = json.loads((tmp / "out" / name / "report.json").read_text())
                got = report["w8a8"]["f1"] if name == "stream" else report["w8a8"]
                self.assertGreaterEqual(got, least, name)
                self.assertTrue((tmp / "out" / f"{name}.recur").stat().st_size > 1000)


if __name__ == "__main__":
    unittest.main()
