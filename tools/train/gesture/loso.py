"""Leave subjects out: each subject's gestures are named by nets that have never seen the subject.

    go build -o out/recur ./tools/recur
    python tools/train/gesture/to_layout.py mobrobot ../shared/data/mobrobot_gestures out/mobrobot
    python tools/train/gesture/loso.py --data out/mobrobot --out out/loso --recur out/recur

Float answers and those of the int8 schemes are the runtime's. A fold that is done is kept in --out: started again, it goes on with the next.
"""
import argparse
import json
import platform
import time
from pathlib import Path

import numpy as np
import torch

import baselines
import export
import learn
import nets
import stream
from layout import Data
from picture import confusion_svg
from prepare import Gestures, fit_unit, suspects
from recur import SCHEMES, Recur

PLAIN = ["ridge", "dtw"]
NETS = [*PLAIN, "lefebvre", "one-way", "two-way", "stream"]
VALIDATION = 3  # subjects on whom the spotter's constants are fitted


def folder_of(out, name, left_out):
    return out / name / "-".join(left_out)


def trained(name, data, fit, unit, seed, folder, say):
    """The two-way net is the one-way net of the same fold and the one that reads backward: trained apart, they err apart."""
    path = folder / "model.pt"
    if path.exists():
        return torch.load(path, weights_only=False)
    if name == "two-way":
        halves = [trained(n, data, fit, unit, seed, folder.parents[1] / n / folder.name, say) for n in ("one-way", "backward")]
        return nets.both_ways(*halves)
    net = learn.train(data, fit, unit, learn.RECIPES[name], seed, say=say)
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(net, path)
    return net


def fold(name, data, left_out, seed, folder, recur):
    """Trains and judges; leaves result.npz in the folder."""
    t0 = time.time()
    rest = [s for s in data.subjects if s not in left_out]
    if name == "stream":
        at = data.subjects.index(left_out[-1])  # those who come next, so that each has the task in some folds
        watch = [s for s in data.subjects[at + 1:] + data.subjects[:at] if s in rest][:VALIDATION]
        rest = [s for s in rest if s not in watch]
    fit, judge = data.of(rest), data.of(left_out)
    unit = fit_unit(data, fit)
    odd = suspects(data, fit, unit)
    fit = [s for s in fit if s.part not in odd]
    result = {"y": np.array([s.label for s in judge]), "who": np.array([data.subject(s) for s in judge])}
    say = lambda m: print(f"  {m}", flush=True)
    if name == "stream":
        result.update(stream.fold(data, fit, unit, watch, left_out, seed, folder, recur, say))
    elif name in PLAIN:
        result["answer"] = getattr(baselines, name)(data, fit, judge, unit)
    else:
        net = trained(name, data, fit, unit, seed, folder, say)
        xs = Gestures(data, judge, unit).plain()
        result["torch"] = learn.answers(net, xs)
        export.write(net, data, unit, Gestures(data, fit, unit).plain()[::7], folder)
        for scheme in SCHEMES:
            recur.convert(folder / "model.onnx", folder / f"{scheme}.recur", scheme, folder / "calib.npz")
            result[scheme] = np.stack([y.ravel() for y in recur.answers(folder / f"{scheme}.recur", xs)])
    result["seconds"] = time.time() - t0
    result["left_out"] = sorted(data.parts[p].file for p in odd)
    np.savez_compressed(folder / "part.npz", **result)
    (folder / "part.npz").rename(folder / "result.npz")


def results(out, names, folds):
    """{net: [result]} of the folds that are done."""
    paths = {n: [folder_of(out, n, f) / "result.npz" for f in folds] for n in names}
    return {n: [dict(np.load(p)) for p in ps if p.exists()] for n, ps in paths.items()}


def columns(done):
    """{column: answers of all gestures}"""
    names = ["answer"] if "answer" in done[0] else SCHEMES
    return {c: np.concatenate([r[c] if r[c].ndim == 1 else r[c].argmax(1) for r in done]) for c in names}


def summary(y, who, answers):
    right = {str(s): float((answers == y)[who == s].mean()) for s in dict.fromkeys(who)}
    each = np.array(list(right.values()))
    worst = min(right, key=right.get)
    return {"subjects": len(right), "gestures": len(y), "wrong": int((answers != y).sum()), "mean": each.mean(),
            "deviation": each.std(ddof=1) if len(each) > 1 else 0.0, "worst": right[worst], "worst_subject": worst, "by_subject": right}


def joined(done, key):
    return np.concatenate([r[key] for r in done])


def table(all):
    lines = ["| net | scheme | right, mean of subjects | standard deviation | worst subject | wrong | decisions that differ from f32 |",
             "|---|---|---|---|---|---|---|"]
    for name, done in all.items():
        cols = columns(done)
        for c, answers in cols.items():
            s = summary(joined(done, "y"), joined(done, "who"), answers)
            changed = "–" if c in ("answer", "f32") else int((answers != cols["f32"]).sum())
            lines.append(f"| {name} | {'–' if c == 'answer' else c} | {100 * s['mean']:.2f} % | {100 * s['deviation']:.2f} | "
                         f"{100 * s['worst']:.1f} % ({s['worst_subject']}) | {s['wrong']} of {s['gestures']} | {changed} |")
    return "\n".join(lines) + "\n"


def report(out, data, names, folds, seed):
    all = {n: d for n, d in results(out, names, folds).items() if d}
    text = ""
    full = {"data": data.name, "rate": data.rate, "folds": folds, "seed": seed, "nets": {},
            "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}}
    if spotted := all.pop("stream", None):
        full["nets"]["stream"] = stream.summary(spotted)
        text += stream.table(spotted)
    for name, done in all.items():
        y, who, cols = joined(done, "y"), joined(done, "who"), columns(done)
        about = {"seconds": sum(float(r["seconds"]) for r in done), "left_out_of_training": sorted(set(map(str, joined(done, "left_out"))))}
        if name not in PLAIN:
            about["recipe"] = learn.settings(learn.RECIPES["one-way" if name == "two-way" else name])
            about["torch_decisions_that_differ_from_f32"] = int((joined(done, "torch").argmax(1) != cols["f32"]).sum())
        full["nets"][name] = about | {c: summary(y, who, a) for c, a in cols.items()}
        c = "answer" if name in PLAIN else "w8a8"
        count = np.zeros((len(data.labels),) * 2, int)
        np.add.at(count, (y, cols[c]), 1)
        (out / f"confusion-{name}.svg").write_text(confusion_svg(count, data.labels, name if name in PLAIN else f"{name}, {c}"))
    text = (table(all) if all else "") + ("\n" if all and text else "") + text
    (out / "table.md").write_text(text)
    (out / "report.json").write_text(json.dumps(full, indent=1) + "\n")
    return text


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--data", required=True, help="a data set in the layout that README.md describes")
    ap.add_argument("--out", type=Path, required=True)
    ap.add_argument("--recur", default="recur", help="the program")
    ap.add_argument("--nets", default=",".join(NETS))
    ap.add_argument("--rate", type=float, help="rows a second, in place of the data set's")
    ap.add_argument("--left-out", type=int, default=1, help="subjects that a fold leaves out")
    ap.add_argument("--subjects", help="the subjects to leave out, with commas (default: each)")
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--report", action="store_true", help="only write the report of the folds that are done")
    args = ap.parse_args()
    torch.set_num_threads(1)
    data, recur, names = Data(args.data, args.rate), Recur(args.recur), args.nets.split(",")
    subjects = args.subjects.split(",") if args.subjects else data.subjects
    folds = [subjects[k:k + args.left_out] for k in range(0, len(subjects), args.left_out)]
    for n, f in ((n, f) for n in names for f in folds if not args.report):
        folder = folder_of(args.out, n, f)
        if (folder / "result.npz").exists():
            continue
        folder.mkdir(parents=True, exist_ok=True)
        print(f"{n}, without {' and '.join(f)}", flush=True)
        fold(n, data, f, args.seed + data.subjects.index(f[0]), folder, recur)
    print(report(args.out, data, names, folds, args.seed), end="")


if __name__ == "__main__":
    main()
