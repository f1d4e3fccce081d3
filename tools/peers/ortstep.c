// Calls ONNX Runtime once a time step, so that no Python runs between the steps. The wheel has the library but no headers: the
// functions are taken from the table of its C API by position, which its ABI fixes for ever.
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GetErrorMessage = 2, CreateEnv = 3, CreateSessionFromArray = 8, Run = 9, CreateSessionOptions = 10,
       SetIntraOpNumThreads = 24, SetInterOpNumThreads = 25, CreateTensorWithDataAsOrtValue = 49, CreateCpuMemoryInfo = 69 };

typedef void *status;
typedef struct { void **(*get_api)(uint32_t); const char *(*version)(void); } api_base;

typedef struct {
	void **api, *env, *session, *memory;
	int input, hidden, lstm;
	float *x, *state; // state: h, c, and the next h, c
	void *in[3], *out[2];
	void *next_in[3], *next_out[2];
} stepper;

static int failed(stepper *s, status st, char *why, int n) {
	if (st)
		snprintf(why, n, "onnxruntime: %s", ((const char *(*)(status))s->api[GetErrorMessage])(st));
	return st != NULL;
}

static status tensor(stepper *s, float *data, int width, void **out) {
	int64_t shape[3] = {1, 1, width};
	return ((status(*)(void *, void *, size_t, const int64_t *, size_t, int, void **))s->api[CreateTensorWithDataAsOrtValue])(
		s->memory, data, 4 * (size_t)width, shape, 3, 1, out);
}

void *ortstep_open(const api_base *(*get_base)(void), const void *model, size_t size, int input, int hidden, int lstm, float *state, char *why, int n) {
	stepper *s = calloc(1, sizeof *s);
	void *options;
	status st;
	s->api = get_base()->get_api(1);
	s->input = input, s->hidden = hidden, s->lstm = lstm, s->state = state;
	s->x = aligned_alloc(64, (4 * (size_t)input + 63) / 64 * 64);
	st = NULL;
	(st = ((status(*)(int, const char *, void **))s->api[CreateEnv])(3, "peers", &s->env)) ||
		(st = ((status(*)(void **))s->api[CreateSessionOptions])(&options)) ||
		(st = ((status(*)(void *, int))s->api[SetIntraOpNumThreads])(options, 1)) ||
		(st = ((status(*)(void *, int))s->api[SetInterOpNumThreads])(options, 1)) ||
		(st = ((status(*)(void *, const void *, size_t, void *, void **))s->api[CreateSessionFromArray])(s->env, model, size, options, &s->session)) ||
		(st = ((status(*)(int, int, void **))s->api[CreateCpuMemoryInfo])(0, 0, &s->memory)) ||
		(st = tensor(s, s->x, input, &s->in[0])) || (st = tensor(s, state, hidden, &s->in[1])) ||
		(st = tensor(s, state + hidden, hidden, &s->in[2])) || (st = tensor(s, state + 2 * hidden, hidden, &s->out[0])) ||
		(st = tensor(s, state + 3 * hidden, hidden, &s->out[1]));
	if (failed(s, st, why, n))
		return NULL;
	// Every other step goes from the second half of the state to the first.
	s->next_in[0] = s->in[0], s->next_in[1] = s->out[0], s->next_in[2] = s->out[1];
	s->next_out[0] = s->in[1], s->next_out[1] = s->in[2];
	return s;
}

int ortstep_run(stepper *s, const float *x, float *y, int steps, char *why, int n) {
	static const char *const in_names[] = {"x", "h", "c"}, *const out_names[] = {"h_out", "c_out"};
	status (*run)(void *, void *, const char *const *, void *const *, size_t, const char *const *, size_t, void **) = s->api[Run];
	size_t states = s->lstm ? 2 : 1;
	for (int t = 0; t < steps; t++) {
		memcpy(s->x, x + (size_t)t * s->input, 4 * (size_t)s->input);
		int odd = t & 1;
		if (failed(s, run(s->session, NULL, in_names, odd ? s->next_in : s->in, 1 + states, out_names, states, odd ? s->next_out : s->out), why, n))
			return 1;
		memcpy(y + (size_t)t * s->hidden, s->state + (odd ? 0 : 2 * s->hidden), 4 * (size_t)s->hidden);
	}
	return 0;
}
