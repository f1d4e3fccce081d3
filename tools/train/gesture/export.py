"""ONNX files, each checked against PyTorch with ONNX Runtime."""
import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

OPSET = 18


def blstm(net, path):
    """x [T, 1, 10] -> p [1, 9]: one LSTM node with peepholes, softmax at every step, averaged over time."""
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
    graph = helper.make_graph(
        nodes, "blstm",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["T", 1, i])],
        [helper.make_tensor_value_info("p", TensorProto.FLOAT, [1, classes])],
        [numpy_helper.from_array(v, k) for k, v in init.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8, producer_name="recur/tools/train/gesture")
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


class _StreamProbabilities(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return torch.softmax(self.net(x)[0], -1)


def stream(net, path):
    """x [T, 1, 10] -> p [T, 1, 10], state zero before the first row; as torch.onnx writes it."""
    net = _StreamProbabilities(net).eval()
    # dynamo=True (torch 2.12) writes the example's length into the reshape after the GRU
    torch.onnx.export(net, (torch.zeros(64, 1, net.net.gru.input_size),), path, input_names=["x"], output_names=["p"],
                      opset_version=OPSET, dynamo=False, dynamic_axes={"x": {0: "T"}, "p": {0: "T"}})


def check(path, xs, ps):
    """Largest absolute difference between ONNX Runtime and what PyTorch gave."""
    s = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return max(float(np.abs(s.run(None, {"x": x[:, None]})[0].reshape(p.shape) - p).max()) for x, p in zip(xs, ps))
