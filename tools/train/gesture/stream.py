"""A fold of the net that follows a stream: trained, its spotter fitted on validation subjects, judged on raw recordings."""
import json
from dataclasses import asdict

import numpy as np
import torch

import export
import streams
from prepare import alpha_of, following
from recur import SCHEMES
from spotting import Spotter, fit, fit_gate, gated, score

LATE = 0.1  # s by which the net's answers are late


def recordings(data, unit, subjects):
    """Inputs of whole recordings, and the truth."""
    parts = [k for k, p in enumerate(data.parts) if p.subject in subjects]
    return parts, [following(data.part_rows(k), unit, alpha_of(data.rate)) for k in parts], [data.truth(k) for k in parts]


def untuned(data):
    return Spotter(alpha_of(data.rate), max(1, round(LATE * data.rate)))


def trained(data, spans, unit, watch, seed, say, recipe=None):
    spot = untuned(data)
    _, xs, truths = recordings(data, unit, watch)
    found = lambda net: [spot.events(p) for p in streams.answers(net, xs)]
    worth = lambda net: score(found(net), truths, [len(x) for x in xs], data.rate, data.margin)["f1"]
    return streams.train(data, spans, unit, recipe or streams.Recipe(), spot.delay, seed, say, worth)


def tuned(net, data, unit, watch):
    """The spotter with the constants that are best for the validation subjects."""
    _, xs, truths = recordings(data, unit, watch)
    spot = fit(untuned(data), streams.answers(net, xs), truths, data.rate, data.margin)
    return fit_gate(spot, lambda v: streams.answers(net, v), xs, truths, data.rate, data.margin)


def write(net, spot, data, spans, unit, folder):
    labels = json.dumps([*data.labels, "none"])
    calibration = recordings(data, unit, {data.subject(s) for s in spans})[1][::10]
    export.write(net, data, unit, calibration, folder, {"labels": labels, "gesture.none": "none"} | spot.meta())


def runner(recur, model):
    return lambda xs: [y.reshape(len(x), -1) for x, y in zip(xs, recur.answers(model, xs))]


def fold(data, spans, unit, watch, left_out, seed, folder, recur, say):
    path = folder / "model.pt"
    net = torch.load(path, weights_only=False) if path.exists() else trained(data, spans, unit, watch, seed, say)
    torch.save(net, path)
    spot = tuned(net, data, unit, watch)
    write(net, spot, data, spans, unit, folder)
    parts, xs, truths = recordings(data, unit, left_out)
    out = {"watch": watch, "spotter": json.dumps(asdict(spot)), "awake": np.concatenate([spot.awake(x) for x in xs]).mean()}
    for scheme in SCHEMES:
        recur.convert(folder / "model.onnx", folder / f"{scheme}.recur", scheme, folder / "calib.npz")
        events = [spot.events(p) for p in gated(spot, runner(recur, folder / f"{scheme}.recur"), xs)]
        out[scheme] = json.dumps(events)
        say(f"{scheme} {score(events, truths, [len(x) for x in xs], data.rate, data.margin)}")
    return out | {"parts": np.array([data.parts[k].file for k in parts]), "owner": np.array([data.parts[k].subject for k in parts]),
                  "truth": json.dumps(truths), "rows": np.array([len(x) for x in xs]), "rate": data.rate, "margin": data.margin}


def scores(done, scheme):
    """Of all subjects, and of each."""
    found = [e for r in done for e in json.loads(str(r[scheme]))]
    truths = [t for r in done for t in json.loads(str(r["truth"]))]
    rows, owner = (np.concatenate([r[k] for r in done]) for k in ("rows", "owner"))
    rate, margin = float(done[0]["rate"]), int(done[0]["margin"])
    pick = lambda keep: score([found[k] for k in keep], [truths[k] for k in keep], rows[keep], rate, margin)
    return pick(np.arange(len(rows))), {str(s): pick(np.flatnonzero(owner == s)) for s in dict.fromkeys(owner)}


def summary(done):
    return {"seconds": sum(float(r["seconds"]) for r in done), "awake": float(np.mean([r["awake"] for r in done])),
            "recipe": asdict(streams.Recipe()), "spotters": [json.loads(str(r["spotter"])) for r in done],
            **{s: dict(zip(["all", "by_subject"], scores(done, s))) for s in SCHEMES}}


def table(done):
    lines = ["| stream | F1 | right | wrong label | missed | false | false a minute of rest | median latency | lowest F1 of a subject |",
             "|---|---|---|---|---|---|---|---|---|"]
    for scheme in SCHEMES:
        r, each = scores(done, scheme)
        low = min(each, key=lambda s: each[s]["f1"])
        lines.append(f"| {scheme} | {100 * r['f1']:.2f} % | {r['right']} of {r['gestures']} | {r['wrong_label']} | {r['missed']} | {r['false']} | "
                     f"{r['false_a_minute']:.2f} | {1000 * r['latency']:.0f} ms | {100 * each[low]['f1']:.1f} % ({low}) |")
    lines.append(f"\nThe motion gate lets the net see {100 * np.mean([r['awake'] for r in done]):.0f} % of the rows.")
    return "\n".join(lines) + "\n"
