"""Makes keras2.tar.bz2 and keras3.tar.bz2: small models saved by Keras, with an input and the output that Keras computes.

Keras 2:  python make.py keras2.tar.bz2                          (tensorflow-cpu 2.15.1)
Keras 3:  KERAS_BACKEND=jax python make.py keras3.tar.bz2        (keras 3.12.0, jax 0.10.2)
"""
import io
import os
import sys
import tarfile
import tempfile

import numpy as np

THREE = "keras3" in sys.argv[1]
if THREE:
    import keras
else:
    from tensorflow import keras
L = keras.layers
S = keras.Sequential
I = keras.Input


def rnn_cases():
    act = dict(units=4, return_sequences=True)
    yield "lstm", S([I((6, 3)), L.LSTM(4), L.Dense(2, activation="softmax")])
    yield "lstm_open", S([I((None, 3)), L.LSTM(4, return_sequences=True), L.Dense(2)])
    yield "lstm_nobias", S([I((6, 3)), L.LSTM(4, use_bias=False)])
    for a in ["relu", "elu", "softsign", "softplus", "linear", "hard_sigmoid", "sigmoid"]:
        yield "lstm_" + a, S([I((6, 3)), L.LSTM(activation=a, **act)])
        yield "rnn_" + a, S([I((6, 3)), L.SimpleRNN(activation=a, **act)])
    yield "lstm_hard", S([I((6, 3)), L.LSTM(recurrent_activation="hard_sigmoid", **act)])
    yield "gru_hard_before", S([I((6, 3)), L.GRU(recurrent_activation="hard_sigmoid", reset_after=False, **act)])
    yield "gru_hard", S([I((6, 3)), L.GRU(recurrent_activation="hard_sigmoid", **act)])
    yield "gru_relu", S([I((6, 3)), L.GRU(activation="relu", **act)])
    yield "gru_relu_before", S([I((6, 3)), L.GRU(activation="relu", reset_after=False, **act)])
    yield "gru_after", S([I((6, 3)), L.GRU(4, reset_after=True), L.Dense(2)])
    yield "gru_before", S([I((6, 3)), L.GRU(4, reset_after=False), L.Dense(2)])
    yield "gru_after_nobias", S([I((6, 3)), L.GRU(4, reset_after=True, use_bias=False)])
    leaky = lambda: L.LeakyReLU(0.1) if THREE else L.LeakyReLU(alpha=0.1)
    yield "lstm_leaky", S([I((6, 3)), L.LSTM(activation=leaky(), **act)])
    yield "lstm_relu_layer", S([I((6, 3)), L.LSTM(activation=L.ReLU(), **act)])
    yield "lstm_tanh_none", S([I((6, 3)), L.LSTM(activation=None, **act)])
    yield "backwards", S([I((6, 3)), L.LSTM(4, go_backwards=True), L.Dense(2)])
    yield "backwards_sequence", S([I((6, 3)), L.GRU(4, go_backwards=True, return_sequences=True), L.LSTM(3)])
    yield "stacked", S([I((6, 3)), L.LSTM(4, return_sequences=True), L.Dropout(0.2), L.GRU(3, return_sequences=True), L.SimpleRNN(2)])
    for mode in ["concat", "sum", "mul", "ave"]:
        yield "two_way_" + mode, S([I((6, 3)), L.Bidirectional(L.LSTM(4), merge_mode=mode), L.Dense(2)])
        yield "two_way_sequence_" + mode, S([I((6, 3)), L.Bidirectional(L.GRU(4, return_sequences=True), merge_mode=mode)])
    yield "two_way_others", S([I((6, 3)), L.Bidirectional(L.LSTM(4, return_sequences=True),
                                                         backward_layer=L.GRU(2, return_sequences=True, go_backwards=True))])
    yield "two_way_backwards", S([I((6, 3)), L.Bidirectional(L.LSTM(4, return_sequences=True, go_backwards=True),
                                                            backward_layer=L.LSTM(4, return_sequences=True))])
    yield "two_way_relu", S([I((6, 3)), L.Bidirectional(L.LSTM(4, activation="relu"))])
    yield "cell", S([I((6, 3)), L.RNN(L.LSTMCell(4), return_sequences=True)])
    yield "cell_gru", S([I((6, 3)), L.RNN(L.GRUCell(4, reset_after=False))])
    yield "cell_rnn", S([I((6, 3)), L.RNN(L.SimpleRNNCell(4, activation="relu"), go_backwards=True)])
    yield "cells", S([I((6, 3)), L.RNN([L.LSTMCell(4), L.GRUCell(3), L.SimpleRNNCell(2)], return_sequences=True)])
    yield "cells_two_way", S([I((6, 3)), L.Bidirectional(L.RNN([L.LSTMCell(4), L.LSTMCell(3)]))])
    x = I((6, 3))
    y, h, c = L.LSTM(4, return_sequences=True, return_state=True)(x)
    yield "states", keras.Model(x, L.Concatenate()([h, c, L.GlobalMaxPooling1D()(y)]))
    x = I((6, 3))
    y, h = L.GRU(4, return_state=True)(x)
    yield "states_gru", keras.Model(x, L.Add()([y, h]))
    x = I((6, 3))
    y, fh, fc, bh, bc = L.Bidirectional(L.LSTM(4, return_sequences=True, return_state=True))(x)
    yield "states_two_way", keras.Model(x, L.Concatenate()([fh, fc, bh, bc]))
    x = I((6, 3))
    _, h, c = L.LSTM(4, return_state=True)(x)
    y = L.RepeatVector(5)(h)
    y = L.LSTM(4, return_sequences=True)(y, initial_state=[h, c])
    yield "seq2seq", keras.Model(x, L.TimeDistributed(L.Dense(2))(y))
    yield "autoencoder", S([I((6, 3)), L.LSTM(4, activation="relu"), L.RepeatVector(6), L.LSTM(4, return_sequences=True),
                            L.TimeDistributed(L.Dense(3))])
    x = I((6, 3))
    y = L.LSTM(4, return_state=True)(x)
    y = L.Bidirectional(L.LSTM(4))(x, initial_state=[y[1], y[2], y[1], y[2]])
    yield "two_way_initial", keras.Model(x, y)


def cudnn_cases():
    """Layers of GPUs, which models of Keras 2.1 have; what they compute is taken from the usual layers with the weights converted."""
    if THREE:
        return
    old = __import__("tensorflow").compat.v1.keras.layers
    yield "cudnn_lstm", S([I((6, 3)), old.CuDNNLSTM(4, return_sequences=True)])
    yield "cudnn_gru", S([I((6, 3)), old.CuDNNGRU(4, go_backwards=True)])
    yield "cudnn_two_way", S([I((6, 3)), L.Bidirectional(old.CuDNNLSTM(4))])


def on_cpu(name, model):
    if not name.startswith("cudnn"):
        return model
    from keras.src.saving.legacy.hdf5_format import preprocess_weights_for_loading
    usual = {"cudnn_lstm": lambda: L.LSTM(4, return_sequences=True), "cudnn_gru": lambda: L.GRU(4, go_backwards=True, reset_after=True),
             "cudnn_two_way": lambda: L.Bidirectional(L.LSTM(4))}[name]
    same = S([I((6, 3)), usual()])
    same.layers[0].set_weights(preprocess_weights_for_loading(same.layers[0], model.layers[0].get_weights(), "2"))
    return same


def static_cases():
    lstm = lambda: [L.LSTM(4), L.Dense(2)]
    yield "conv1d_valid", S([I((12, 3)), L.Conv1D(4, 3, activation="relu"), L.MaxPooling1D(2), L.LSTM(4), L.Dense(2, activation="softmax")])
    yield "conv1d_same", S([I((11, 3)), L.Conv1D(4, 4, strides=2, padding="same"), L.AveragePooling1D(2, padding="same")] + lstm())
    yield "conv1d_causal", S([I((12, 3)), L.Conv1D(4, 3, padding="causal", dilation_rate=2, activation="tanh"), L.GRU(3, return_sequences=True)])
    x = I((None, 3))
    y = L.Conv1D(4, 2, padding="causal", activation="relu")(x)
    y = L.Add()([L.Conv1D(4, 3, padding="causal", dilation_rate=2)(y), L.Conv1D(4, 1)(x)])
    yield "causal", keras.Model(x, L.LSTM(3, return_sequences=True)(L.LayerNormalization()(y)))
    yield "causal_two_way", S([I((6, 3)), L.Conv1D(4, 3, padding="causal"), L.Bidirectional(L.GRU(3)), L.Dense(2)])
    yield "causal_strided", S([I((7, 3)), L.Conv1D(4, 3, padding="causal", strides=2), L.GRU(3), L.Dense(2)])
    yield "pointwise", S([I((6, 3)), L.Conv1D(4, 1, padding="same", activation="relu"), L.GRU(3), L.Dense(2)])
    if THREE:
        yield "conv1d_groups", S([I((12, 4)), L.Conv1D(6, 3, groups=2), L.Flatten()])
    yield "conv1d_pools", S([I((12, 3)), L.MaxPooling1D(3, strides=2, padding="same"), L.AveragePooling1D(3, strides=1), L.Conv1D(2, 1, use_bias=False)])
    yield "conv2d", S([I((8, 7, 2)), L.Conv2D(4, (3, 2), strides=(1, 2), padding="same", activation="relu"), L.MaxPooling2D((2, 2)),
                       L.BatchNormalization(), L.Flatten(), L.Dense(3)])
    yield "conv2d_dilated", S([I((8, 7, 2)), L.Conv2D(3, 3, dilation_rate=(2, 1)), L.AveragePooling2D(2, padding="same"), L.GlobalAveragePooling2D()])
    yield "conv2d_reshape_lstm", S([I((8, 6, 1)), L.Conv2D(2, 3, padding="same"), L.MaxPooling2D((1, 2)), L.Reshape((8, 6)), L.LSTM(3)])
    yield "depthwise1d", S([I((12, 3)), L.DepthwiseConv1D(3, depth_multiplier=2, padding="same"), L.GlobalMaxPooling1D()])
    yield "depthwise2d", S([I((8, 6, 3)), L.DepthwiseConv2D((3, 2), depth_multiplier=2, strides=2, padding="same"), L.GlobalMaxPooling2D()])
    yield "separable1d", S([I((12, 3)), L.SeparableConv1D(5, 3, depth_multiplier=2, strides=2, activation="elu"), L.GRU(2)])
    yield "separable2d", S([I((8, 6, 3)), L.SeparableConv2D(5, 3, padding="same"), L.GlobalAveragePooling2D(keepdims=True)])
    yield "transpose1d_same", S([I((6, 3)), L.Conv1DTranspose(4, 3, strides=2, padding="same")])
    yield "transpose1d_valid", S([I((6, 3)), L.Conv1DTranspose(4, 2, strides=3), L.LSTM(2)])
    yield "transpose2d", S([I((4, 3, 2)), L.Conv2DTranspose(3, (3, 4), strides=(2, 1), padding="same")])
    yield "pad1d", S([I((6, 3)), L.ZeroPadding1D((1, 2)), L.Cropping1D((0, 2)), L.UpSampling1D(2), L.LSTM(3)])
    yield "pad2d", S([I((6, 5, 2)), L.ZeroPadding2D(((1, 0), (2, 1))), L.Cropping2D(((0, 1), (1, 0))), L.UpSampling2D((2, 1)), L.Conv2D(2, 2)])
    yield "flatten", S([I((6, 3)), L.LSTM(4, return_sequences=True), L.Flatten(), L.Dense(2)])
    yield "permute", S([I((6, 3)), L.Permute((2, 1)), L.LSTM(4), L.Dense(2)])
    yield "reshape", S([I((24,)), L.Reshape((8, 3)), L.GRU(4), L.Dense(2)])
    yield "reshape_open", S([I((8, 3)), L.Reshape((-1, 6)), L.GRU(4), L.Dense(2)])
    yield "reshape_one", S([I((5,)), L.Reshape((1, 5)), L.LSTM(4), L.Dense(2)])
    yield "norm_time", S([I((6, 3)), L.BatchNormalization(axis=1), L.LSTM(4)])
    yield "norm_plain", S([I((6, 3)), L.BatchNormalization(scale=False, center=False, epsilon=0.01), L.LSTM(4)])
    yield "layer_norm", S([I((6, 3)), L.LSTM(4, return_sequences=True), L.LayerNormalization(), L.GRU(2)])
    yield "layer_norm_axes", S([I((6, 3)), L.LayerNormalization(axis=[1, 2], epsilon=0.01, scale=False), L.GRU(2)])
    yield "layer_norm_time", S([I((6, 3)), L.LayerNormalization(axis=1, center=False), L.GRU(2)])
    norm = L.Normalization()
    norm.adapt(np.random.default_rng(5).normal(1, 2, (50, 6, 3)).astype("float32"))
    yield "normalization", S([I((6, 3)), norm, L.LSTM(4)])
    yield "normalization_given", S([I((6, 3)), L.Normalization(mean=[1.0, 2.0, 3.0], variance=[4.0, 0.5, 1.0]), L.LSTM(4)])
    yield "rescaling", S([I((6, 3)), L.Rescaling(2.0, offset=-1.0), L.GaussianNoise(0.1), L.SpatialDropout1D(0.1), L.LSTM(4)])
    yield "softmax_axis", S([I((6, 3)), L.Softmax(axis=1)])
    yield "softmax_last", S([I((6, 3)), L.Softmax()])
    yield "softmax_axes", S([I((6, 3)), L.Softmax(axis=[1, 2])])
    yield "rectified", S([I((6, 3)), L.ReLU(max_value=0.7, negative_slope=0.1, threshold=0.2)])
    yield "rectified6", S([I((6, 3)), L.ReLU(6.0), L.LeakyReLU(0.2), L.ELU(0.5)])
    yield "leaky", S([I((6, 3)), L.LeakyReLU(0.2)])
    yield "elu", S([I((6, 3)), L.ELU(0.5)])
    yield "prelu", S([I((6, 3)), L.PReLU(alpha_initializer="normal")])
    yield "prelu_shared", S([I((6, 3)), L.PReLU(shared_axes=[1]), L.LSTM(2)])
    names = ["relu", "relu6" if THREE else "relu", "elu", "selu", "softplus", "softsign", "sigmoid", "tanh", "exponential", "hard_sigmoid", "swish",
             "gelu", "softmax", "mish" if THREE else "linear", "leaky_relu" if THREE else "linear"]
    if THREE:
        names += ["silu", "hard_silu", "log_softmax", "hard_tanh", "log_sigmoid", "celu", "tanh_shrink", "hard_shrink", "soft_shrink"]
    for n in dict.fromkeys(names):
        yield "activation_" + n, S([I((6, 3)), L.Dense(4, activation=n)])
    yield "activation_object", S([I((6, 3)), L.Dense(4, activation=L.LeakyReLU(0.05) if THREE else L.LeakyReLU(alpha=0.05)), L.Activation("tanh")])
    yield "keepdims", S([I((6, 3)), L.GlobalAveragePooling1D(keepdims=True)])
    if THREE:
        yield "channels_first", S([I((3, 12)), L.Conv1D(4, 3, data_format="channels_first", padding="same"),
                                   L.MaxPooling1D(2, data_format="channels_first"), L.Flatten(data_format="channels_first"), L.Dense(2)])
        yield "channels_first2d", S([I((2, 6, 5)), L.Conv2D(4, 3, data_format="channels_first"), L.BatchNormalization(axis=1),
                                     L.AveragePooling2D(2, data_format="channels_first"), L.GlobalMaxPooling2D(data_format="channels_first")])
    yield "group_norm", S([I((6, 4)), L.GroupNormalization(2)])


def functional_cases():
    x = I((6, 3))
    a, b = L.LSTM(4)(x), L.GRU(4)(x)
    yield "merges", keras.Model(x, L.Concatenate()([L.Add()([a, b]), L.Subtract()([a, b]), L.Multiply()([a, b]), L.Average()([a, b]),
                                                    L.Maximum()([a, b]), L.Minimum()([a, b])]))
    x = I((6, 3))
    a = L.LSTM(3, return_sequences=True)(x)
    yield "residual", keras.Model(x, L.GRU(2)(L.Add()([a, x, x])))
    x = I((6, 3))
    yield "concat_time", keras.Model(x, L.LSTM(2)(L.Concatenate(axis=1)([x, L.Dense(3)(x)])))
    x = I((6, 3))
    a = L.LSTM(4, return_sequences=True)(x)
    b = L.GRU(4)(x)
    yield "dot", keras.Model(x, L.Dot(axes=[2, 1])([a, b]))
    x = I((6, 3))
    a, b = L.LSTM(4)(x), L.GRU(4)(x)
    yield "dot_flat", keras.Model(x, L.Dot(axes=1, normalize=True)([a, b]))
    x = I((6, 3))
    a = L.LSTM(4, return_sequences=True)(x)
    weights = L.Softmax(axis=1)(L.Dense(1, activation="tanh")(a))
    yield "weighted", keras.Model(x, L.Dot(axes=1)([weights, a]))
    x = I((6, 3))
    a = L.LSTM(4, return_sequences=True)(x)
    w = L.Activation("softmax")(L.Flatten()(L.Dense(1, activation="tanh")(a)))
    w = L.Permute([2, 1])(L.RepeatVector(4)(w))
    yield "weighted_by_hand", keras.Model(x, L.GlobalAveragePooling1D()(L.Multiply()([a, w])))
    x = I((6, 3))
    shared = L.LSTM(3, return_sequences=True)
    yield "shared", keras.Model(x, L.LSTM(2)(shared(shared(x))))
    inner = S([I((6, 3)), L.LSTM(4, return_sequences=True), L.BatchNormalization(), L.LSTM(4), L.BatchNormalization(), L.Dense(2)], name="inner")
    x = I((6, 3))
    yield "nested", keras.Model(x, L.Dense(2)(inner(L.Dense(3)(x))))
    i = I((6, 3))
    inner = keras.Model(i, [L.LSTM(2)(i), L.GRU(2)(i)], name="two")
    x = I((6, 3))
    p, q = inner(x)
    r, s = inner(L.Dense(3)(x))
    yield "nested_shared", keras.Model(x, L.Concatenate()([p, q, r, s]))
    inner = S([L.Dense(3), L.BatchNormalization()], name="frozen")
    inner.build((None, 6, 3))
    inner.layers[0].trainable = False
    yield "nested_frozen", S([I((6, 3)), inner, L.LSTM(2)])
    deep = S([I((6, 3)), S([I((6, 3)), L.Dense(3), S([I((6, 3)), L.Dense(3, activation="tanh")])]), L.Dense(2)])
    yield "nested_deep", S([I((6, 3)), deep, L.LSTM(2)])
    x = I((6, 3))
    a = L.LSTM(4, name="rnn")(x)
    yield "outputs", keras.Model(x, [L.Dense(2, name="left")(a), L.Dense(3, name="right")(a)])
    yield "distributed_conv", S([I((4, 6, 3)), L.TimeDistributed(L.Conv1D(4, 3, activation="relu")), L.TimeDistributed(L.MaxPooling1D(2)),
                                 L.TimeDistributed(L.Flatten()), L.LSTM(3), L.Dense(2)])
    yield "distributed_conv_static", S([I((4, 6, 3)), L.TimeDistributed(L.Conv1D(4, 3, strides=2)), L.TimeDistributed(L.Flatten()),
                                        L.Flatten(), L.Dense(2)])
    cnn = S([I((6, 5, 2)), L.Conv2D(3, 3), L.BatchNormalization(), L.ReLU(), L.MaxPooling2D(2), L.Flatten(), L.Dense(4)], name="cnn")
    yield "distributed_model", S([I((3, 6, 5, 2)), L.TimeDistributed(cnn), L.Bidirectional(L.LSTM(3)), L.Dense(2)])
    yield "distributed_lstm", S([I((4, 6, 3)), L.TimeDistributed(L.LSTM(4)), L.LSTM(2)])
    yield "distributed_lstm_static", S([I((4, 6, 3)), L.TimeDistributed(L.Bidirectional(L.LSTM(3))), L.Flatten(), L.Dense(2)])
    yield "distributed_reshape", S([I((4, 6)), L.TimeDistributed(L.Reshape((3, 2))), L.TimeDistributed(L.GRU(2))])
    yield "flat_input", S([I((5,)), L.Dense(4, activation="relu"), L.BatchNormalization(), L.Dense(2, activation="softmax")])
    yield "masked", S([I((6, 3)), L.Masking(0.0), L.LSTM(4, return_sequences=True), L.Dropout(0.1), L.GRU(3), L.Dense(2)])
    yield "masked_last", S([I((6, 3)), L.Masking(-1.0), L.LSTM(4), L.Dense(2)])
    yield "masked_two_way", S([I((6, 3)), L.Masking(0.0), L.Bidirectional(L.LSTM(4)), L.Dense(2)])
    yield "masked_two_way_sequence", S([I((6, 3)), L.Masking(0.0), L.Bidirectional(L.GRU(4, return_sequences=True)),
                                        L.Bidirectional(L.LSTM(3)), L.Dense(2)])
    yield "masked_zero", S([I((6, 3)), L.Masking(0.0), L.LSTM(4, return_sequences=True, zero_output_for_mask=True), L.Dense(2)])
    yield "masked_cells", S([I((6, 3)), L.Masking(0.0), L.RNN([L.LSTMCell(4), L.GRUCell(3)], return_sequences=True), L.Dense(2)])
    yield "masked_flatten", S([I((6, 3)), L.Masking(0.0), L.LSTM(4, return_sequences=True), L.TimeDistributed(L.Dense(2)), L.Flatten()])
    yield "masked_mean", S([I((6, 3)), L.Masking(0.0), L.LSTM(4, return_sequences=True), L.GlobalAveragePooling1D()])
    x = I((6, 3))
    y = L.LSTM(4, return_sequences=True)(x)
    yield "operators", keras.Model(x, L.Dense(2)(y[:, -1, :] * 2.0 + y[:, 0] - 1.0 / (3.0 + y[:, -1])))
    yield "operators_static", keras.Model(x, L.Flatten()(y[:, 1:4, ::2]))
    ops = keras.ops if THREE else None
    if THREE:
        f = ops.concatenate([ops.mean(y, axis=1), ops.max(y, axis=1), ops.squeeze(ops.sum(y * y, axis=1, keepdims=True), 1)], axis=-1)
        f = ops.reshape(ops.stack([ops.relu(f), -f, ops.softmax(f)], axis=1), (-1, 36))
    else:
        import tensorflow as tf
        f = tf.concat([tf.reduce_mean(y, axis=1), tf.reduce_max(y, axis=1), tf.squeeze(tf.reduce_sum(y * y, axis=1, keepdims=True), 1)], axis=-1)
        f = tf.reshape(tf.stack([tf.nn.relu(f), -f, tf.nn.softmax(f)], axis=1), (-1, 36))
    yield "operators_more", keras.Model(x, f)
    x = I((6, 3))
    z = I((6, 3), name="second")
    yield "two_inputs", keras.Model([x, z], L.LSTM(2)(L.Concatenate()([x, z])))


def step_cases():
    shape = dict(batch_shape=(1, 3, 3)) if THREE else dict(batch_input_shape=(1, 3, 3))
    first = L.InputLayer(**shape)
    yield "stateful", S([first, L.LSTM(4, stateful=True, return_sequences=True), L.GRU(3, stateful=True), L.Dense(2)])
    first = L.InputLayer(**shape)
    yield "stateful_static", S([first, L.Conv1D(3, 2, padding="same"), L.LSTM(4, stateful=True), L.Dense(2)])
    first = L.InputLayer(**shape)
    yield "stateful_two_way", S([first, L.Bidirectional(L.LSTM(4, stateful=True)), L.Dense(2)])
    first = L.InputLayer(**shape)
    yield "stateful_masked", S([first, L.Masking(0.0), L.LSTM(4, stateful=True), L.Dense(2)])
    x, h, c = I((1, 3), name="x"), I((4,), name="h"), I((4,), name="c")
    y, h2, c2 = L.LSTM(4, return_state=True, name="rnn")(x, initial_state=[h, c])
    yield "decoder", keras.Model([x, h, c], [L.Dense(2)(y), h2, c2])


def randomise(model, rng):
    for w in model.weights:
        v = w.numpy() if hasattr(w, "numpy") else np.array(w)
        if v.dtype.kind != "f" or "count" in w.name:
            continue
        new = rng.normal(0, 0.5, v.shape)
        if "variance" in w.name:
            new = np.abs(new) + 0.2
        w.assign(new.astype(v.dtype))
    for layer in model.layers:
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()


def saved(model, name):
    with tempfile.TemporaryDirectory() as d:
        path = os.path.join(d, name)
        model.save(path)
        return open(path, "rb").read()


def npy(a):
    b = io.BytesIO()
    np.save(b, np.ascontiguousarray(a, dtype="<f4"))
    return b.getvalue()


def infer(model, x):
    y = model(x, training=False)
    return [np.asarray(v) for v in (y if isinstance(y, (list, tuple)) else [y])]


def stepped(name, model, x):
    """The output of calls that go on from each other."""
    if name != "decoder":
        return [np.concatenate([infer(model, v[None])[0] for v in x])]
    h = c = np.zeros((1, 4), "float32")
    out = []
    for v in x:
        y, h, c = infer(model, [v[None], h, c])
        out.append(y)
    return [np.concatenate(out)]


# BOTH are the cases whose weights lie in other places in the two formats; the others are saved in the usual one of the version.
BOTH = ["nested", "two_way", "cell", "distributed", "shared", "stacked", "stateful", "decoder", "masked", "operators", "normalization"]


def main():
    rng = np.random.default_rng(1)
    files = {}
    for source in [rnn_cases, cudnn_cases, static_cases, functional_cases, step_cases]:
        for name, model in source():
            randomise(model, rng)
            steps = source == step_cases
            shapes = [tuple(6 if d is None else d for d in t.shape[1:]) for t in model.inputs]
            x = [rng.normal(0, 1, (3,) + s).astype("float32") for s in shapes]
            if "masked" in name:
                value = -1.0 if name == "masked_last" else 0.0
                x[0][0, 2:], x[0][1, :2], x[0][2, 1] = value, value, value
            y = stepped(name, model, x[0]) if steps else infer(on_cpu(name, model), x if len(x) > 1 else x[0])
            if hasattr(model, "reset_states"):
                model.reset_states()
            both = any(name.startswith(b) for b in BOTH)
            if both or not THREE:
                files[name + "/model.h5"] = saved(model, "m.h5")
            if both or THREE:
                files[name + "/model.keras"] = saved(model, "m.keras")
            files[name + "/x.npy"] = npy(x[0])
            for k, v in enumerate(y):
                files[f"{name}/y{k}.npy"] = npy(v)
    with tarfile.open(sys.argv[1], "w:bz2") as t:
        for name in sorted(files, key=lambda n: (n.split(".")[-1], n)):  # neighbours that are alike compress well
            info = tarfile.TarInfo(name)
            info.size = len(files[name])
            t.addfile(info, io.BytesIO(files[name]))


main()
