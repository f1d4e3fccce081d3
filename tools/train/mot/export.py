"""ONNX files, each checked against PyTorch with ONNX Runtime, and calibration data beside them.

    python tools/train/mot/export.py filter --data ../shared/data/mot15 --out out/filter
    python tools/train/mot/export.py motion --data ../shared/data/mot15 --out out/paper
    python tools/train/mot/export.py association --data ../shared/data/mot15 --out out/lstm

reads model.pt in the folder and writes model.onnx and calib.npz there.
"""
import argparse
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper

import data
import filter as learnt
import paper
import scenes
import synth

OPSET = 18


def save(path, nodes, init, inputs, outputs):
    info = lambda pair: helper.make_tensor_value_info(pair[0], TensorProto.FLOAT, pair[1])
    graph = helper.make_graph(nodes, "mot", [info(v) for v in inputs], [info(v) for v in outputs],
                              [numpy_helper.from_array(np.ascontiguousarray(v), k) for k, v in init.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8, producer_name="recur/tools/train/mot")
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def array(t):
    return np.ascontiguousarray(t.detach().numpy(), np.float32)


def session(path):
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def same(got, want, name, limit=1e-5):
    worst = float(np.abs(got - want).max())
    print(f"{name}: ONNX Runtime and PyTorch differ by at most {worst:.1e}")
    if not worst <= limit:
        raise SystemExit(f"{name}: more than {limit}")


def gates(t, order):
    """Rows of gates into another order."""
    return np.concatenate([np.split(array(t), len(order))[k] for k in order])


def filter_onnx(net, path):
    """x [T, 1, 16] -> y [T, 1, 13]; the state is zero before the first row."""
    g = net.gru
    zrn = [1, 0, 2]  # PyTorch has r, z, n; ONNX z, r, h
    init = {"W": gates(g.weight_ih, zrn)[None], "R": gates(g.weight_hh, zrn)[None],
            "B": np.concatenate([gates(g.bias_ih, zrn), gates(g.bias_hh, zrn)])[None],
            "out_w": array(net.out.weight.T), "out_b": array(net.out.bias), "direction": np.array([1], np.int64)}
    nodes = [helper.make_node("GRU", ["x", "W", "R", "B"], ["h4"], "gru", hidden_size=net.hidden, linear_before_reset=1),
             helper.make_node("Squeeze", ["h4", "direction"], ["h"], "squeeze"),
             helper.make_node("Concat", ["h", "x"], ["hx"], "concat", axis=-1),
             helper.make_node("MatMul", ["hx", "out_w"], ["m"], "out_matmul"),
             helper.make_node("Add", ["m", "out_b"], ["y"], "out_add")]
    save(path, nodes, init, [("x", ["T", 1, len(learnt.FEATURES)])], [("y", ["T", 1, len(learnt.OUTPUTS)])])


def motion_onnx(net, path):
    """x [1, 11]: box (4), measurement (4), assignment (2), existence (1); h [1, H] -> y [1, 9]: prediction (4), update (4), existence (1); hn [1, H]"""
    init, nodes = {}, []

    def linear(layer, source, target):
        name = "w_" + target
        init[name], init["b_" + target] = array(layer.weight.T), array(layer.bias)
        nodes.extend([helper.make_node("MatMul", [source, name], ["m_" + target]), helper.make_node("Add", ["m_" + target, "b_" + target], [target])])

    def op(kind, inputs, target, **flags):
        nodes.append(helper.make_node(kind, inputs, [target], **flags))

    init["parts"] = np.array([4, 4, 1, 1, 1], np.int64)
    nodes.append(helper.make_node("Split", ["x", "parts"], ["box", "z", "a0", "a1", "e"], axis=1))
    linear(net.i2h_pred, "box", "p1")
    linear(net.h2h_pred, "h", "p2")
    op("Add", ["p1", "p2"], "p3")
    op("Tanh", ["p3"], "p")
    linear(net.state_xstar, "p", "star")
    op("Mul", ["z", "a0"], "d1")
    op("Mul", ["star", "a1"], "d2")
    op("Add", ["d1", "d2"], "d")
    linear(net.det_inp, "d", "u1")
    linear(net.h2h_upd, "p", "u2")
    op("Add", ["u1", "u2"], "u3")
    op("Tanh", ["u3"], "hn")
    linear(net.state_x, "hn", "box2")
    linear(net.ter_ex, "e", "t1")
    op("Tanh", ["t1"], "t2")
    op("Concat", ["a0", "a1"], "a", axis=1)
    linear(net.ter_lab, "a", "t3")
    op("Add", ["t2", "t3"], "t4")
    linear(net.ter_out, "t4", "t5")
    op("Sigmoid", ["t5"], "e2")
    op("Concat", ["star", "box2", "e2"], "y", axis=1)
    save(path, nodes, init, [("x", [1, 11]), ("h", [1, net.hidden])], [("y", [1, 9]), ("hn", [1, net.hidden])])


def association_onnx(net, path):
    """x [T, 1, N*M] -> p [T, 1, M + 1], one step a target"""
    iofc = [0, 3, 1, 2]  # PyTorch has i, f, g, o; ONNX i, o, f, c
    init = {"out_w": array(net.out.weight.T), "out_b": array(net.out.bias), "direction": np.array([1], np.int64)}
    nodes, source = [], "x"
    for k in range(net.layers):
        part = lambda name: getattr(net.lstm, f"{name}_l{k}")
        init |= {f"W{k}": gates(part("weight_ih"), iofc)[None], f"R{k}": gates(part("weight_hh"), iofc)[None],
                 f"B{k}": np.concatenate([gates(part("bias_ih"), iofc), gates(part("bias_hh"), iofc)])[None]}
        nodes += [helper.make_node("LSTM", [source, f"W{k}", f"R{k}", f"B{k}"], [f"y{k}"], f"lstm{k}", hidden_size=net.hidden),
                  helper.make_node("Squeeze", [f"y{k}", "direction"], [f"h{k}"], f"squeeze{k}")]
        source = f"h{k}"
    nodes += [helper.make_node("MatMul", [source, "out_w"], ["m"]), helper.make_node("Add", ["m", "out_b"], ["logits"]),
              helper.make_node("Softmax", ["logits"], ["p"], axis=-1)]
    save(path, nodes, init, [("x", ["T", 1, net.size ** 2])], [("p", ["T", 1, net.size + 1])])


def export_filter(net, sequences, rng, folder):
    filter_onnx(net, folder / "model.onnx")
    rows = []
    scene, size = learnt.tensors(scenes.Maker(sequences).batch(rng, 24, 80))
    with torch.no_grad():
        p, b, out, active, new = learnt.play(net, scene, size, rows.append)
    x = torch.stack(rows).numpy()  # [T, B, 16]
    used = active.flatten(1).numpy()
    sequence = [x[np.argmax(used[:, k]):, k] for k in range(x.shape[1]) if used[:, k].sum() >= 40]
    calibration(folder, [s[:40] for s in sequence])
    k = int(np.flatnonzero(used.sum(0) >= 40)[0])
    first = int(np.argmax(used[:, k]))
    got = session(folder / "model.onnx").run(None, {"x": x[first:, k][:, None]})[0][:, 0]
    same(got, out.flatten(1, 2)[first:, k].numpy(), "filter", 1e-4)


def motion_rows(net, stats, rng, count=64, length=20):
    """Inputs [B, T, 11] and outputs [B, T, 9] of the net on training data."""
    truth, exists, z, a = map(torch.from_numpy, synth.batch(rng, stats, count, length))
    x, e, h = z[0], torch.full((count, 1), 0.5), torch.zeros(count, net.hidden)
    rows, answers = [], []
    with torch.no_grad():
        for t in range(length):
            rows.append(torch.cat([x, z[t], a[t], e], 1))
            star, x, logit, h = net(x, z[t], a[t], e, h)
            e = torch.sigmoid(logit)
            answers.append(torch.cat([star, x, e], 1))
    return torch.stack(rows, 1).numpy(), torch.stack(answers, 1).numpy()


def export_motion(net, stats, rng, folder):
    motion_onnx(net, folder / "model.onnx")
    x, y = motion_rows(net, stats, rng)
    calibration(folder, x)
    run, h, got = session(folder / "model.onnx"), np.zeros((1, net.hidden), np.float32), []
    for row in x[0]:
        out, h = run.run(None, {"x": row[None], "h": h})
        got.append(out[0])
    same(np.array(got), y[0], "motion")


def export_association(net, stats, rng, folder):
    association_onnx(net, folder / "model.onnx")
    c, _ = paper.scenes(rng, stats, 64, net.size)
    x = np.stack([np.roll(c, -i, 1).reshape(len(c), -1) for i in range(net.size)], 1)
    calibration(folder, x)
    got = session(folder / "model.onnx").run(None, {"x": x[0][:, None]})[0][:, 0]
    with torch.no_grad():
        same(got, torch.softmax(net(torch.from_numpy(c[:1]))[:, 0], -1).numpy(), "association")


def calibration(folder, sequences):
    np.savez_compressed(folder / "calib.npz", **{f"x{k}": s.astype(np.float32) for k, s in enumerate(sequences)})


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("net", choices=["filter", "motion", "association"])
    ap.add_argument("--data", required=True, help="folder with gt, det_frcnn and seqinfo")
    ap.add_argument("--out", type=Path, required=True, help="folder with model.pt")
    args = ap.parse_args()
    torch.set_num_threads(1)
    sequences = [data.Sequence(args.data, n) for n in data.TRAIN]
    rng = np.random.default_rng(1000)
    if args.net == "filter":
        export_filter(learnt.load(args.out / "model.pt"), sequences, rng, args.out)
    else:
        stats = synth.Statistics(sequences)
        net = paper.load(args.out / "model.pt")
        (export_motion if args.net == "motion" else export_association)(net, stats, rng, args.out)


if __name__ == "__main__":
    main()
