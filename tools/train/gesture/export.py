"""ONNX files."""
import json

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import nets
import prepare

OPSET = 18


def write(net, data, unit, calibration, folder, meta=None):
    """model.onnx, which says what its input is, and calib.npz in the folder."""
    meta = about(data, unit) | (meta or {})
    {nets.BLSTM: blstm, nets.Gestures: gestures, nets.Following: following}[type(net)](net, folder / "model.onnx", meta)
    np.savez_compressed(folder / "calib.npz", **{f"x{k}": x for k, x in enumerate(calibration)})


def about(data, unit):
    return data.credit | {"labels": json.dumps(data.labels), "channels": json.dumps(data.channels), "units": json.dumps(data.units),
            "rate": f"{data.rate:g}", "gesture.unit": " ".join(f"{u:g}" for u in unit), "gesture.clip": f"{prepare.CLIP:g}",
            "gesture.alpha": f"{prepare.alpha_of(data.rate):.9g}"}


def blstm(net, path, meta=None):
    """x [T, 1, I] -> p [1, classes]: one LSTM node with peepholes, softmax at every step, averaged over time."""
    h = net.hidden
    i = net.w.shape[2]
    classes = net.out.out_features
    array = lambda t: np.ascontiguousarray(t.detach().numpy(), dtype=np.float32)
    init = {
        "W": array(net.w), "R": array(net.r),
        "B": np.concatenate([array(net.b), np.zeros((2, 4 * h), np.float32)], 1),
        "P": array(net.p.reshape(2, 3 * h)),
        "out_w": array(net.out.weight.T), "out_b": array(net.out.bias),
        "shape": np.array([0, 0, -1], np.int64), "time": np.array([0], np.int64),
    }
    nodes = [
        helper.make_node("LSTM", ["x", "W", "R", "B", "", "", "", "P"], ["y"], "lstm", hidden_size=h, direction="bidirectional"),
        helper.make_node("Transpose", ["y"], ["yt"], "transpose", perm=[0, 2, 1, 3]),
        helper.make_node("Reshape", ["yt", "shape"], ["yr"], "reshape"),
        helper.make_node("MatMul", ["yr", "out_w"], ["m"], "out_matmul"),
        helper.make_node("Add", ["m", "out_b"], ["logits"], "out_add"),
        helper.make_node("Softmax", ["logits"], ["ps"], "softmax", axis=-1),
        helper.make_node("ReduceMean", ["ps", "time"], ["p"], "mean", keepdims=0),
    ]
    _save(nodes, init, i, [1, classes], path, meta)


def _save(nodes, init, inputs, shape, path, meta):
    graph = helper.make_graph(
        nodes, "gesture",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["T", 1, inputs])],
        [helper.make_tensor_value_info("p", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(v, k) for k, v in init.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8, producer_name="recur/tools/train/gesture")
    helper.set_model_props(model, meta or {})
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def _onnx_gates(t):
    """PyTorch has the gates in order i, f, g, o; ONNX i, o, f, c."""
    i, f, g, o = t.detach().numpy().reshape(4, -1, *t.shape[1:])
    return np.ascontiguousarray(np.concatenate([i, o, f, g]), np.float32)


def _lstm(layers):
    """Initialisers of one LSTM node for nn.LSTM layers, of which a second one goes backward."""
    pack = lambda *names: np.stack([np.concatenate([_onnx_gates(getattr(m, n)) for n in names]) for m in layers])
    return {"W": pack("weight_ih_l0"), "R": pack("weight_hh_l0"), "B": pack("bias_ih_l0", "bias_hh_l0")}


def gestures(net, path, meta=None):
    """nets.Gestures: x [T, 1, I] -> p [1, classes]."""
    array = lambda t: np.ascontiguousarray(t.detach().numpy(), dtype=np.float32)
    init = {**_lstm(net.lstm), "out_w": array(net.out.weight.T), "out_b": array(net.out.bias)}
    init["shape"] = np.array([1, -1], np.int64)
    direction = "bidirectional" if net.ways == 2 else "reverse" if net.backward else "forward"
    nodes = [
        helper.make_node("LSTM", ["x", "W", "R", "B"], ["", "last"], "lstm", hidden_size=net.hidden, direction=direction),
        helper.make_node("Transpose", ["last"], ["yt"], "transpose", perm=[1, 0, 2]),
        helper.make_node("Reshape", ["yt", "shape"], ["yr"], "reshape"),
        helper.make_node("MatMul", ["yr", "out_w"], ["m"], "out_matmul"),
        helper.make_node("Add", ["m", "out_b"], ["logits"], "out_add"),
        helper.make_node("Softmax", ["logits"], ["p"], "softmax", axis=-1),
    ]
    _save(nodes, init, net.lstm[0].input_size, [1, net.out.out_features], path, meta)


def following(net, path, meta=None):
    """nets.Following: x [T, 1, I] -> p [T, 1, classes + 1], state zero before the first row."""
    array = lambda t: np.ascontiguousarray(t.detach().numpy(), dtype=np.float32)
    init = {**_lstm([net.lstm]), "out_w": array(net.out.weight.T), "out_b": array(net.out.bias), "direction": np.array([1], np.int64)}
    nodes = [
        helper.make_node("LSTM", ["x", "W", "R", "B"], ["y"], "lstm", hidden_size=net.hidden),
        helper.make_node("Squeeze", ["y", "direction"], ["yr"], "squeeze"),
        helper.make_node("MatMul", ["yr", "out_w"], ["m"], "out_matmul"),
        helper.make_node("Add", ["m", "out_b"], ["logits"], "out_add"),
        helper.make_node("Softmax", ["logits"], ["p"], "softmax", axis=-1),
    ]
    _save(nodes, init, net.lstm.input_size, ["T", 1, net.out.out_features], path, meta)
