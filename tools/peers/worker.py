"""One peer in a process of its own: the protocol of ours/main.go. `python worker.py NAME [steps]`."""

import ctypes
import importlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np

from nets import Net


class Unsupported(Exception):
    """The peer has no such cell."""


class Peer:
    package = None  # on PyPI
    module = None  # if not named like the package

    def version(self):
        return str(importlib.import_module(self.module or self.package).__version__)

    def load(self, n):
        """Makes a net ready, or raises Unsupported."""

    def run(self):
        """One pass: returns the outputs of all steps."""


class Onnxruntime(Peer):
    """One Run a pass, on bound buffers."""

    package = "onnxruntime"
    int8 = False

    def load(self, n):
        import onnxruntime as ort

        ort.set_default_logger_severity(3)
        o = ort.SessionOptions()
        o.intra_op_num_threads = o.inter_op_num_threads = 1
        self.session = ort.InferenceSession(onnx_model(n, self.int8), o, providers=["CPUExecutionProvider"])
        self.y = np.zeros((n.steps, n.width), np.float32)
        self.binding = self.session.io_binding()
        x = np.ascontiguousarray(n.x.reshape(n.steps, 1, n.input))
        self.keep = x
        self.binding.bind_input("x", "cpu", 0, np.float32, x.shape, x.ctypes.data)
        out = self.session.get_outputs()[0]
        shape = (n.steps, 1, n.width) if n.head or n.two_way else (n.steps, 1, 1, n.width)
        self.binding.bind_output(out.name, "cpu", 0, np.float32, shape, self.y.ctypes.data)

    def run(self):
        self.session.run_with_iobinding(self.binding)
        return self.y


class OnnxruntimeInt8(Onnxruntime):
    int8 = True


class OnnxruntimeStep(Peer):
    """One Run a time step, called from C (ortstep.c), with the state passed in and out."""

    package = "onnxruntime"

    def load(self, n):
        import onnxruntime as ort

        if n.mode != "step":
            raise Unsupported("only for streaming")
        lib = compile_c("ortstep.c")
        [core] = pathlib.Path(ort.__file__).parent.glob("capi/libonnxruntime.so.*")
        self.n, self.y = n, np.zeros((n.steps, n.width), np.float32)
        self.state = np.zeros((4, n.hidden), np.float32)
        model = onnx_model(n, False, state=True)
        lib.ortstep_open.restype = ctypes.c_void_p
        why = ctypes.create_string_buffer(512)
        self.s = lib.ortstep_open(ctypes.CDLL(str(core)).OrtGetApiBase, model, ctypes.c_size_t(len(model)), n.input, n.hidden, n.cell == "lstm",
                                  ptr(self.state), why, len(why))
        if not self.s:
            raise RuntimeError(why.value.decode())
        self.lib, self.why = lib, why

    def run(self):
        self.state[:] = 0
        if self.lib.ortstep_run(ctypes.c_void_p(self.s), ptr(self.n.x), ptr(self.y), self.n.steps, self.why, len(self.why)):
            raise RuntimeError(self.why.value.decode())
        return self.y


def ptr(a):
    return ctypes.c_void_p(a.ctypes.data)


def compile_c(name, compiler=os.environ.get("CC", "cc"), flags=("-O2",)):
    source = pathlib.Path(__file__).parent / name
    with tempfile.TemporaryDirectory(prefix="peers-") as d:  # a loaded library stays when its file is gone
        out = pathlib.Path(d) / "lib.so"
        try:
            subprocess.run([compiler, *flags, "-shared", "-fPIC", "-o", out, source], check=True, capture_output=True, text=True)
        except FileNotFoundError as e:
            raise Unsupported(f"no compiler ({e.filename})") from e
        except subprocess.CalledProcessError as e:
            errors = [line for line in e.stderr.splitlines() if "error" in line]
            raise RuntimeError((errors or ["the compiler failed"])[0]) from e
        return ctypes.CDLL(str(out))


def onnx_model(n, int8, state=False):
    from onnx import TensorProto, helper, numpy_helper

    f, lstm, h = TensorProto.FLOAT, n.cell == "lstm", n.hidden
    order = "iofg" if lstm else "zrn"
    stack = lambda k: np.stack([n.reorder(d[k], order) for d in n.dirs])
    bias_h = stack("BH") if not lstm else np.zeros_like(stack("B"))
    init = [numpy_helper.from_array(a, k) for k, a in [("W", stack("W")), ("R", stack("U")), ("B", np.concatenate([stack("B"), bias_h], 1))]]
    attrs = dict(hidden_size=h, direction="bidirectional" if n.two_way else "forward")
    if not lstm:
        attrs["linear_before_reset"] = 1
    steps = 1 if state else n.steps
    info = helper.make_tensor_value_info
    inputs, outputs = [info("x", f, [steps, 1, n.input])], [info("Y", f, [steps, len(n.dirs), 1, h])]
    node_in, node_out = ["x", "W", "R", "B"], ["Y"]
    if state:
        names = ["h", "c"] if lstm else ["h"]
        inputs += [info(k, f, [1, 1, h]) for k in names]
        outputs = [info(k + "_out", f, [1, 1, h]) for k in names]
        node_in, node_out = node_in + [""] + names, [""] + [k + "_out" for k in names]
    nodes = [helper.make_node(n.cell.upper(), node_in, node_out, **attrs)]
    if n.two_way:
        nodes += [helper.make_node("Transpose", ["Y"], ["Yt"], perm=[0, 2, 1, 3]), helper.make_node("Reshape", ["Yt", "shape"], ["hidden"])]
        init.append(numpy_helper.from_array(np.array([steps, 1, 2 * h], np.int64), "shape"))
        outputs = [info("hidden", f, [steps, 1, 2 * h])]
    if n.head:
        last = "hidden" if n.two_way else "Y"
        nodes += [helper.make_node("MatMul", [last, "Wd"], ["z"]), helper.make_node("Add", ["z", "Bd"], ["zb"]),
                  helper.make_node("Softmax", ["zb"], ["p"], axis=-1)]
        init += [numpy_helper.from_array(np.ascontiguousarray(n.head[0].T), "Wd"), numpy_helper.from_array(n.head[1], "Bd")]
        outputs = [info("p", f, [steps, 1, n.classes])]
    graph = helper.make_graph(nodes, "net", inputs, outputs, init)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    if not int8:
        return model.SerializeToString()
    if not lstm:
        raise Unsupported("ONNX Runtime has no int8 GRU")
    from onnxruntime.quantization import QuantType, quantize_dynamic
    import logging

    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as d:
        out = pathlib.Path(d) / "q.onnx"
        quantize_dynamic(model, out, op_types_to_quantize=["LSTM", "MatMul"], weight_type=QuantType.QInt8, per_channel=True)
        return out.read_bytes()


class Ncnn(Peer):
    """One extractor a pass. The layer goes step by step, so a sequence costs what streaming costs, less the calls."""

    package = "ncnn"
    int8 = False

    def load(self, n):
        import ncnn

        self.ncnn, self.net = ncnn, ncnn.Net()
        o = self.net.opt
        o.num_threads, o.use_vulkan_compute, o.lightmode = 1, False, True
        o.use_fp16_storage = o.use_fp16_arithmetic = o.use_fp16_packed = o.use_bf16_storage = False
        rows, i, h = n.gates, n.input, n.hidden
        size = len(n.dirs) * rows * h * i
        direction = 2 if n.two_way else 0
        layers = ["Input in0 0 1 in0", f"{n.cell.upper()} rnn 1 1 in0 hidden 0={h} 1={size} 2={direction}" + (" 8=2" if self.int8 else "")]
        self.out = "hidden"
        if n.head:
            layers += [f"InnerProduct dense 1 1 hidden z 0={n.classes} 1=1 2={n.head[0].size}", "Softmax softmax 1 1 z p 0=1 1=1"]
            self.out = "p"
        with tempfile.TemporaryDirectory() as d:
            param, model = pathlib.Path(d) / "net.param", pathlib.Path(d) / "net.bin"
            param.write_text("\n".join(["7767517", f"{len(layers)} {len(layers)}", *layers, ""]))
            model.write_bytes(self.weights(n))
            if self.net.load_param(str(param)) or self.net.load_model(str(model)):
                raise RuntimeError("ncnn cannot load the net")
        self.x = ncnn.Mat(n.x).clone()

    def weights(self, n):
        order = "ifog" if n.cell == "lstm" else "rzn"
        stack = lambda k: np.stack([n.reorder(d[k], order) for d in n.dirs])
        w, u, b = stack("W"), stack("U"), stack("B")
        if n.cell == "gru":
            bh, h = stack("BH"), n.hidden
            b = np.concatenate([b[:, : 2 * h] + bh[:, : 2 * h], b[:, 2 * h :], bh[:, 2 * h :]], 1)
        flag = lambda v: np.array([v], "<u4").tobytes()
        f32 = lambda a: flag(0) + a.astype("<f4").tobytes()
        if not self.int8:
            out = f32(w) + f32(b) + f32(u)
        else:
            def quantised(a):
                scale = 127 / np.abs(a).max(-1)
                q = np.rint(a * scale[..., None]).astype(np.int8).tobytes()
                return flag(0x000D4B38) + q + bytes(-len(q) % 4), scale.astype("<f4").tobytes()

            (qw, sw), (qu, su) = quantised(w), quantised(u)
            out = qw + f32(b) + qu + sw + su
        if n.head:
            out += f32(n.head[0]) + n.head[1].astype("<f4").tobytes()
        return out

    def run(self):
        e = self.net.create_extractor()
        e.input("in0", self.x)
        code, out = e.extract(self.out)
        if code:
            raise RuntimeError(f"ncnn: extract returned {code}")
        return out


class NcnnInt8(Ncnn):
    int8 = True


class Torch(Peer):
    package = "torch"
    int8 = False

    def load(self, n):
        import torch

        torch.set_num_threads(1)
        torch.set_grad_enabled(False)
        self.cell = getattr(torch.nn, n.cell.upper())(n.input, n.hidden, bidirectional=n.two_way)
        order = "ifgo" if n.cell == "lstm" else "rzn"
        for d, suffix in zip(n.dirs, ["", "_reverse"]):
            for name, a in [("weight_ih", d["W"]), ("weight_hh", d["U"]), ("bias_ih", d["B"]), ("bias_hh", d.get("BH", 0 * d["B"]))]:
                getattr(self.cell, name + "_l0" + suffix).copy_(torch.from_numpy(n.reorder(a, order)))
        self.head = None
        if n.head:
            self.head = torch.nn.Linear(n.head[0].shape[1], n.classes)
            self.head.weight.copy_(torch.from_numpy(n.head[0].copy()))
            self.head.bias.copy_(torch.from_numpy(n.head[1].copy()))
        model = torch.nn.ModuleList([self.cell] + ([self.head] if self.head else [])).eval()
        if self.int8:
            import warnings

            warnings.simplefilter("ignore")
            torch.backends.quantized.engine = "fbgemm"
            model = torch.ao.quantization.quantize_dynamic(model, {torch.nn.LSTM, torch.nn.GRU, torch.nn.Linear}, dtype=torch.qint8)
            self.cell, self.head = model[0], model[1] if self.head else None
        self.x = torch.from_numpy(n.x[:, None, :].copy())

    def run(self):
        y, _ = self.cell(self.x)
        return self.head(y).softmax(-1) if self.head else y


class TorchInt8(Torch):
    """Dynamic quantisation: FBGEMM's kernels."""

    int8 = True


class Litert(Peer):
    package, module = "ai-edge-litert", "ai_edge_litert"
    int8 = False

    def load(self, n):
        from ai_edge_litert.interpreter import Interpreter
        from litert_model import build

        if n.cell != "lstm":
            raise Unsupported("LiteRT's converter splits a GRU into a loop of small operations")
        self.model = build(n, self.int8)
        self.interpreter = Interpreter(model_content=self.model, num_threads=1)
        self.interpreter.allocate_tensors()
        self.interpreter.set_tensor(self.interpreter.get_input_details()[0]["index"], n.x[:, None, :])
        self.out = self.interpreter.get_output_details()[0]["index"]

    def run(self):
        self.interpreter.reset_all_variables()
        self.interpreter.invoke()
        return self.interpreter.tensor(self.out)()


class LitertInt8(Litert):
    int8 = True


class Tract(Peer):
    package = "tract"

    def version(self):
        import tract

        return tract.version()

    def load(self, n):
        import tract

        with tempfile.NamedTemporaryFile(suffix=".onnx") as f:
            f.write(onnx_model(n, False))
            f.flush()
            self.model = tract.onnx().load(f.name).into_model().into_runnable()
        self.x = tract.Tensor.from_numpy(np.ascontiguousarray(n.x[:, None, :]))

    def run(self):
        return self.model.run([self.x])[0].to_numpy()


class Rtneural(Peer):
    """C++ templates, compiled for the net (rtneural.cc); RTNEURAL_PATH is a checkout, RTNEURAL_FLAGS choose the instruction set."""

    backend = "EIGEN"

    def version(self):
        return pathlib.Path(os.environ["RTNEURAL_PATH"]).name

    def load(self, n):
        if n.mode != "step":
            raise Unsupported("only for streaming")
        root = pathlib.Path(os.environ["RTNEURAL_PATH"])
        lib = compile_c("rtneural.cc", os.environ.get("CXX", "c++"), [
            "-std=c++17", "-O3", *os.environ["RTNEURAL_FLAGS"].split(), f"-DUSE_{self.backend}=1", f"-DRTNEURAL_USE_{self.backend}=1",
            "-DRTNEURAL_NAMESPACE=RTNeural", "-DEIGEN_STACK_ALLOCATION_LIMIT=0", f"-DIN={n.input}", f"-DHIDDEN={n.hidden}",
            f"-DCELL={n.cell.upper()}LayerT",
            *(f"-I{root / d}" for d in [".", "modules/Eigen", "modules/xsimd/include", "modules/json"])])
        d = n.dirs[0]
        lib.rtneural_load(ptr(d["W"]), ptr(d["U"]), ptr(d["B"]), ptr(d["BH"]) if "BH" in d else None, n.gates * n.hidden)
        self.n, self.y, self.lib = n, np.zeros((n.steps, n.hidden), np.float32), lib

    def run(self):
        self.lib.rtneural_run(ptr(self.n.x), ptr(self.y), self.n.steps)
        return self.y


class RtneuralXsimd(Rtneural):
    backend = "XSIMD"


PEERS = {
    "onnxruntime": Onnxruntime,
    "onnxruntime-step": OnnxruntimeStep,
    "onnxruntime-int8": OnnxruntimeInt8,
    "ncnn": Ncnn,
    "ncnn-int8": NcnnInt8,
    "torch": Torch,
    "torch-int8": TorchInt8,
    "litert": Litert,
    "litert-int8": LitertInt8,
    "tract": Tract,
    "rtneural-eigen": Rtneural,
    "rtneural-xsimd": RtneuralXsimd,
}


def measure(peer, steps, ms):
    peer.run()
    ns, start = [], time.perf_counter_ns()
    while time.perf_counter_ns() - start < ms * 1e6 or len(ns) < 3:
        t = time.perf_counter_ns()
        peer.run()
        ns.append((time.perf_counter_ns() - t) / steps)
    ns.sort()
    return dict(min_ns=ns[0], median_ns=ns[len(ns) // 2], passes=len(ns))


def serve(peer, lines, out):
    net = None
    for line in lines:
        try:
            r = json.loads(line)
            reply = {}
            if r["cmd"] == "info":
                reply = dict(version=peer.version())
            elif r["cmd"] == "load":
                net = Net(r["net"])
                peer.load(net)
            elif r["cmd"] == "check":
                np.asarray(peer.run()).astype("<f4").reshape(net.steps, net.width).tofile(r["out"])
            elif r["cmd"] == "time":
                reply = measure(peer, net.steps, r["ms"])
            else:
                reply = dict(error=f"unknown command {r['cmd']!r}")
        except Unsupported as e:
            reply = dict(unsupported=str(e))
        except Exception as e:  # the harness reports it
            reply = dict(error=f"{type(e).__name__}: {e}")
        print(json.dumps(reply), file=out, flush=True)


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer
    serve(PEERS[sys.argv[1]](), sys.stdin, answers)
