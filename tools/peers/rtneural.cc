// One RTNeural cell, its sizes fixed at compile time: IN, HIDDEN, and CELL, which is LSTMLayerT or GRULayerT.
#include <RTNeural/RTNeural.h>

#include <cstring>
#include <vector>

using matrix = std::vector<std::vector<float>>;

static RTNeural::ModelT<float, IN, HIDDEN, RTNeural::CELL<float, IN, HIDDEN>> model;

static matrix transposed(const float *w, int rows, int cols) {
	matrix t(cols, std::vector<float>(rows));
	for (int r = 0; r < rows; r++)
		for (int c = 0; c < cols; c++)
			t[c][r] = w[r * cols + c];
	return t;
}

static void set_biases(void (RTNeural::CELL<float, IN, HIDDEN>::*set)(const std::vector<float> &), const float *b, const float *, int rows) {
	(model.get<0>().*set)(std::vector<float>(b, b + rows));
}

static void set_biases(void (RTNeural::CELL<float, IN, HIDDEN>::*set)(const matrix &), const float *b, const float *bh, int rows) {
	(model.get<0>().*set)(matrix{std::vector<float>(b, b + rows), std::vector<float>(bh, bh + rows)});
}

// Gates are in the order i f g o, or z r n. bh is null for an LSTM.
extern "C" void rtneural_load(const float *w, const float *u, const float *b, const float *bh, int rows) {
	model.get<0>().setWVals(transposed(w, rows, IN));
	model.get<0>().setUVals(transposed(u, rows, HIDDEN));
	set_biases(&RTNeural::CELL<float, IN, HIDDEN>::setBVals, b, bh, rows);
}

extern "C" void rtneural_run(const float *x, float *y, int steps) {
	alignas(64) float in[IN];
	model.reset();
	for (int t = 0; t < steps; t++) {
		memcpy(in, x + t * IN, sizeof in);
		model.forward(in);
		memcpy(y + t * HIDDEN, model.getOutputs(), HIDDEN * sizeof(float));
	}
}
