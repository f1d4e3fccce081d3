"""python -m unittest discover tools/train/mot; with RECUR=out/recur and MOT=out/mot also through the converter and the tracker"""
import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import numpy as np
import torch

import data
import evaluate
import export
import filter as learnt
import occlusion
import pairs
import paper
import predict
import scenes
import synth
import tune

HERE = Path(__file__).parent


def synthesise(root, name="Crossing", length=120, width=640, height=480):
    """Four people who walk to and fro, seen with a little noise, some misses and false alarms."""
    rng = np.random.default_rng(3)
    for folder in ("gt", "det_frcnn", "seqinfo"):
        (root / folder).mkdir(exist_ok=True)
    (root / "seqinfo" / f"{name}.ini").write_text(
        f"[Sequence]\nname={name}\nframeRate=25\nseqLength={length}\nimWidth={width}\nimHeight={height}\n")
    gt, det = [], []
    for f in range(1, length + 1):
        for k in range(4):
            w, h = 30 + 4 * k, 90 + 12 * k
            x, y = 320 + 200 * np.sin(0.04 * f + 1.7 * k), 150 + 60 * k
            gt.append([f, k + 1, x - w / 2, y - h / 2, w, h, 1, -1, -1, -1])
            if rng.random() < 0.9:
                n = rng.normal(0, 0.02 * h, 4)
                det.append([f, -1, x - w / 2 + n[0], y - h / 2 + n[1], w + n[2], h + n[3], rng.uniform(0.8, 1), -1, -1, -1])
        if rng.random() < 0.2:
            det.append([f, -1, rng.uniform(0, 600), rng.uniform(0, 380), 40, 100, rng.uniform(0.5, 0.9), -1, -1, -1])
    for folder, rows in (("gt", gt), ("det_frcnn", det)):
        np.savetxt(root / folder / f"{name}.txt", rows, delimiter=",", fmt="%.3f" if folder == "det_frcnn" else "%d")
    return data.Sequence(root, name)


class Made(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.root = Path(self.folder.name)
        self.seq = synthesise(self.root)
        torch.set_num_threads(1)


class Data(Made):
    def test_overlap(self):
        a = np.array([[10.0, 10, 4, 4]])
        self.assertAlmostEqual(data.iou(a, a)[0, 0], 1)
        self.assertAlmostEqual(data.iou(a, a + [2, 0, 0, 0])[0, 0], 1 / 3)
        self.assertEqual(data.iou(a, a + [4, 0, 0, 0])[0, 0], 0)

    def test_matched(self):
        m = self.seq.matched()
        right = m >= 0
        self.assertGreater(right.mean(), 0.9)
        self.assertTrue((self.seq.gt[m[right], 0] == self.seq.det[right, 0]).all())
        self.assertEqual(len(set(m[right])), right.sum())

    def test_backward(self):
        back = self.seq.backward()
        np.testing.assert_array_equal(back.backward().gt, self.seq.gt)
        self.assertTrue((np.diff(back.det[:, 0]) >= 0).all())
        last = self.seq.det[self.seq.det[:, 0] == self.seq.length, 1:]
        np.testing.assert_array_equal(back.det[back.det[:, 0] == 1, 1:], last)

    def test_steps(self):
        rng = np.random.default_rng(0)
        p = np.abs(rng.normal(100, 20, (20, 4)))
        z = np.abs(rng.normal(100, 20, (20, 4)))
        np.testing.assert_allclose(scenes.plus(p, scenes.minus(z, p)), z)


class Measures(Made):
    def write(self, change=lambda r: r):
        folder = self.root / "results"
        folder.mkdir(exist_ok=True)
        rows = [change(r.copy()) for r in self.seq.gt]
        boxes = data.cornered(np.array(rows)[:, 2:6])
        (folder / "Crossing.txt").write_text("".join(
            f"{int(r[0])},{int(r[1])},{','.join(f'{v:.2f}' for v in b)},1,-1,-1,-1\n" for r, b in zip(rows, boxes)))
        return evaluate.Measure(self.root, [self.seq])(folder)["COMBINED"]

    def test_truth_is_perfect(self):
        r = self.write()
        self.assertEqual((r["MOTA"], r["IDF1"], r["HOTA"], r["IDSW"], r["FP"], r["FN"]), (100, 100, 100, 0, 0, 0))

    def test_a_switch(self):
        def change(r):
            if r[1] == 1 and r[0] > 60:
                r[1] = 9
            return r

        r = self.write(change)
        self.assertEqual(r["IDSW"], 1)
        self.assertAlmostEqual(r["MOTA"], 100 * (1 - 1 / len(self.seq.gt)))
        self.assertLess(r["IDF1"], 90)

    def test_quick_is_the_same(self):
        def change(r):
            if r[0] % 7 == 0:
                r[1] += 5
            r[2] += r[0] % 13
            return r

        slow = self.write(change)
        rows = evaluate.read_rows(self.root / "results" / "Crossing.txt")
        quick = evaluate.Measure(self.root, [self.seq]).quick({"Crossing": rows})["COMBINED"]
        for column, v in slow.items():
            self.assertAlmostEqual(quick[column], v, places=6)
        self.assertGreater(slow["IDSW"], 10)

    def test_worth(self):
        base = {n: {"MOTA": 50.0, "IDF1": 50.0, "IDSW": 100.0} for n in ("a", "COMBINED")}
        other = lambda **c: {n: v | c for n, v in base.items()}
        worth = lambda figures, back: tune.worth([figures], back, [base])
        at = worth(other(IDSW=60.0), 0)
        self.assertAlmostEqual(at, 50)
        self.assertLess(worth(base, 0), at)
        self.assertAlmostEqual(worth(other(IDSW=60.0, MOTA=49.0), 0), 48)
        self.assertAlmostEqual(worth(other(IDSW=60.0, MOTA=52.0), 10), 52)

    def test_nested(self):
        self.assertEqual(tune.nested({"a": 1, "b.c": 2, "b.d": 3}), {"a": 1, "b": {"c": 2, "d": 3}})

    def test_occlusion(self):
        rows, gaps = occlusion.hide(self.seq, np.random.default_rng(1))
        self.assertTrue(gaps)
        ids = {int(r[0]): [] for r in self.seq.gt}
        for k, first, n in gaps:
            truth = self.seq.tracks()[k]
            for f in range(first, first + n):
                near = data.iou(truth[truth[:, 0] == f, 1:], rows[rows[:, 0] == f, 1:5])
                self.assertLess(near.max(initial=0), 0.6)
        results = {f: (self.seq.gt[self.seq.gt[:, 0] == f, 1].astype(int), self.seq.gt[self.seq.gt[:, 0] == f, 2:6]) for f in ids}
        self.assertTrue(all(occlusion.recovered(self.seq, gaps, results)))
        k, first, n = gaps[0]
        for f, (who, _) in results.items():
            who[(who == k) & (f >= first + n)] = 99
        self.assertFalse(occlusion.recovered(self.seq, gaps, results)[0])


class Nets(Made):
    def test_filter_learns(self):
        losses = []
        net = learnt.train([self.seq], 60, 0, 16, scenes_each=4, length=24, report=lambda *a, **k: None)
        rng = np.random.default_rng(9)
        scene, size = learnt.tensors(scenes.Maker([self.seq]).batch(rng, 8, 30))
        with torch.no_grad():
            trained, fresh = learnt.losses(net, scene, size), learnt.losses(learnt.Filter(16), scene, size)
        for term in ("prediction", "exists"):
            self.assertLess(trained[term], fresh[term])

    def test_unseen_targets_do_not_look(self):
        """Where a target is not seen its detection must not matter."""
        scene, size = learnt.tensors(scenes.Maker([self.seq]).batch(np.random.default_rng(4), 6, 30))
        net = learnt.Filter(16)
        started = scene["seen"].cumsum(0) > 0
        other = {k: v.clone() for k, v in scene.items()}
        other["z"][(scene["seen"] < 0.5) & started] += 50
        with torch.no_grad():
            a, b = learnt.play(net, scene, size), learnt.play(net, other, size)
        active = a[3]
        self.assertTrue(active.any())
        for u, v in zip(a[:3], b[:3]):
            self.assertTrue(torch.equal(u[active], v[active]))

    def test_the_papers_net_starts_as_an_alpha_beta_filter(self):
        truth, exists, z, a = map(torch.from_numpy, synth.batch(np.random.default_rng(5), synth.Statistics([self.seq]), 16, 10))
        torch.manual_seed(0)
        net = paper.Motion()
        x, h, e = z[0], torch.zeros(16, net.hidden), torch.full((16, 1), 0.5)
        want, speed = z[0], torch.zeros(16, 4)
        with torch.no_grad():
            for t in range(1, 10):
                star, x, _, h = net(x, z[t], a[t], e, h)
                predicted = want + speed
                off = a[t, :, :1] * (z[t] - predicted)
                want, speed = predicted + 0.6 * off, speed + 0.2 * off
                for got, filtered in ((star, predicted), (x, want)):
                    self.assertLess((got - filtered).abs().max(), 0.01)

    def test_the_papers_net_learns(self):
        stats = synth.Statistics([self.seq])
        truth, exists, z, a = map(torch.from_numpy, synth.batch(np.random.default_rng(5), stats, 64, 10))

        def error(net):
            x, h, e, total = z[0], torch.zeros(64, net.hidden), torch.full((64, 1), 0.5), 0
            with torch.no_grad():
                for t in range(1, 10):
                    _, x, logit, h = net(x, z[t], a[t], e, h)
                    e = torch.sigmoid(logit)
                    total += torch.nn.functional.binary_cross_entropy_with_logits(logit, exists[t][:, None])
            return total

        torch.manual_seed(0)
        fresh = paper.Motion()
        self.assertLess(error(paper.train_motion(stats, 150, 0, 16, 10, 1e-5)), 0.8 * error(fresh))

    def test_kalman_finds_the_speed(self):
        z = np.column_stack([np.arange(40) * 3.0, np.full(40, 50.0), np.full(40, 30.0), np.full(40, 80.0)])
        seen = np.arange(40) < 20
        self.assertLess(np.abs(predict.kalman(z, seen) - z)[5:].max(), 1)

    def test_export(self):
        stats, rng = synth.Statistics([self.seq]), np.random.default_rng(1)
        torch.manual_seed(0)
        for name, net, write in (("filter", learnt.Filter(16), lambda n, f: export.export_filter(n, [self.seq], rng, f)),
                                 ("motion", paper.Motion(20), lambda n, f: export.export_motion(n, stats, rng, f)),
                                 ("association", paper.Association(6, 16), lambda n, f: export.export_association(n, stats, rng, f))):
            folder = self.root / name
            folder.mkdir()
            write(net, folder)
            self.assertTrue((folder / "calib.npz").exists())

    def test_scenes_of_distances(self):
        c, y = paper.scenes(np.random.default_rng(2), synth.Statistics([self.seq]), 32, 8)
        self.assertTrue(((y >= -1) & (y <= 8)).all())
        for row in y:
            taken = row[(row >= 0) & (row < 8)]
            self.assertEqual(len(set(taken)), len(taken))
        near = [c[b, i, y[b, i]] for b in range(32) for i in range(8) if 0 <= y[b, i] < 8]
        self.assertLess(np.median(near), 0.3)

    def test_logistic(self):
        rng = np.random.default_rng(0)
        x = np.column_stack([np.ones(20000), rng.normal(0, 2, 20000), np.full(20000, 3.0)])
        y = (rng.random(20000) < 1 / (1 + np.exp(-(0.5 - x[:, 1])))).astype(float)
        v, _ = pairs.fit(x, y, np.ones(20000), 0)
        np.testing.assert_allclose(v[:2], [0.5, -1], atol=0.1)
        self.assertEqual(v[2], 0)


@unittest.skipUnless(os.environ.get("RECUR") and os.environ.get("MOT"), "RECUR and MOT name no programs")
class Programs(Made):
    def test_round_trip(self):
        recur, mot = (os.path.abspath(os.environ[n]) for n in ("RECUR", "MOT"))
        net = learnt.train([self.seq], 80, 0, 16, scenes_each=4, length=24, report=lambda *a, **k: None)
        export.export_filter(net, [self.seq], np.random.default_rng(1), self.root)
        subprocess.run([recur, "convert", str(self.root / "model.onnx"), "-o", str(self.root / "model.recur"), "-scheme", "w8a16",
                        "-calib", str(self.root / "calib.npz")], check=True, capture_output=True)
        command = [mot, "-model", str(self.root / "model.recur"), "-set", "max_age=20"]
        (self.root / "results").mkdir()
        evaluate.run(command, self.seq, self.root / "det_frcnn" / "Crossing.txt", self.root / "results" / "Crossing.txt")
        self.assertGreater(evaluate.Measure(self.root, [self.seq])(self.root / "results")["COMBINED"]["MOTA"], 50)


if __name__ == "__main__":
    unittest.main()
