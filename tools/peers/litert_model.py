"""Writes .tflite files of LSTM nets with the flatbuffer schema of the LiteRT package, since its converter needs TensorFlow."""

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as s

NONE = -1  # an operand that is left out


class Builder:
    def __init__(self):
        self.buffers, self.tensors, self.ops, self.codes = [s.BufferT()], [], [], []

    def tensor(self, name, shape, kind=s.TensorType.FLOAT32, buffer=0, variable=False, quantization=None):
        t = s.TensorT(shape=list(shape), type=kind, buffer=buffer, name=name, isVariable=variable, quantization=quantization)
        self.tensors.append(t)
        return len(self.tensors) - 1

    def constant(self, name, a, kind=s.TensorType.FLOAT32, quantization=None):
        self.buffers.append(s.BufferT(data=np.frombuffer(np.ascontiguousarray(a).tobytes(), np.uint8)))
        return self.tensor(name, a.shape, kind, len(self.buffers) - 1, quantization=quantization)

    def weights(self, name, a, int8):
        """int8 weights have one scale a matrix: what this operation of LiteRT takes."""
        if not int8:
            return self.constant(name, a)
        scale = np.abs(a).max() / 127
        q = s.QuantizationParametersT(scale=[float(scale)], zeroPoint=[0])
        return self.constant(name, np.rint(a / scale).astype(np.int8), s.TensorType.INT8, q)

    def op(self, code, version, inputs, shape, options_type, options):
        out = self.tensor(f"t{len(self.tensors)}", shape)
        key = (code, version)
        if key not in self.codes:
            self.codes.append(key)
        self.ops.append(s.OperatorT(opcodeIndex=self.codes.index(key), inputs=inputs, outputs=[out], builtinOptionsType=options_type,
                                    builtinOptions=options))
        return out

    def finish(self, x, y):
        graph = s.SubGraphT(tensors=self.tensors, inputs=[x], outputs=[y], operators=self.ops, name="net")
        codes = [s.OperatorCodeT(deprecatedBuiltinCode=min(c, 127), builtinCode=c, version=v) for c, v in self.codes]
        model = s.ModelT(version=3, operatorCodes=codes, subgraphs=[graph], buffers=self.buffers)
        b = flatbuffers.Builder(1 << 20)
        b.Finish(model.Pack(b), b"TFL3")
        return bytes(b.Output())


def build(n, int8):
    b = Builder()
    op, opt = s.BuiltinOperator, s.BuiltinOptions
    x = b.tensor("x", (n.steps, 1, n.input))
    halves = []
    for k, d in enumerate(n.dirs):
        def reverse(v, width):
            if k == 0:
                return v
            axis = b.constant(f"axis{v}", np.array([0], np.int32), s.TensorType.INT32)
            return b.op(op.REVERSE_V2, 1, [v, axis], (n.steps, 1, width), opt.ReverseV2Options, s.ReverseV2OptionsT())

        gates = {g: [n.reorder(d[m], g) for m in "WUB"] for g in "ifgo"}
        operands = [reverse(x, n.input)]
        operands += [b.weights(f"W{g}{k}", gates[g][0], int8) for g in "ifgo"]
        operands += [b.weights(f"U{g}{k}", gates[g][1], int8) for g in "ifgo"]
        operands += [NONE] * 3  # peepholes
        operands += [b.constant(f"B{g}{k}", gates[g][2]) for g in "ifgo"]
        operands += [NONE] * 2  # projection
        operands += [b.tensor(f"{v}{k}", (1, n.hidden), variable=True) for v in ("h", "c")]
        operands += [NONE] * 4  # layer normalisation
        options = s.UnidirectionalSequenceLSTMOptionsT(fusedActivationFunction=s.ActivationFunctionType.TANH, timeMajor=True)
        y = b.op(op.UNIDIRECTIONAL_SEQUENCE_LSTM, 2 if int8 else 1, operands, (n.steps, 1, n.hidden), opt.UnidirectionalSequenceLSTMOptions, options)
        halves.append(reverse(y, n.hidden))
    y = halves[0]
    if n.two_way:
        y = b.op(op.CONCATENATION, 1, halves, (n.steps, 1, 2 * n.hidden), opt.ConcatenationOptions, s.ConcatenationOptionsT(axis=2))
    if n.head:
        w, bias = b.constant("Wd", n.head[0]), b.constant("Bd", n.head[1])
        y = b.op(op.FULLY_CONNECTED, 1, [y, w, bias], (n.steps, n.classes), opt.FullyConnectedOptions, s.FullyConnectedOptionsT())
        y = b.op(op.SOFTMAX, 1, [y], (n.steps, n.classes), opt.SoftmaxOptions, s.SoftmaxOptionsT(beta=1.0))
    return b.finish(x, y)
