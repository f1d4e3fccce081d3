// A plugin for qemu-user (TCG plugin interface 1, QEMU 4.2 and later): counts the instructions that each thread executes, and writes
// the calling thread's count to the log at each system call of the number mark=. Debian's qemu-user has no qemu-plugin.h, hence the declarations.
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
extern void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, void (*cb)(qemu_plugin_id_t, struct qemu_plugin_tb *));
extern void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb, void (*cb)(unsigned, void *), int flags, void *arg);
extern void qemu_plugin_register_vcpu_syscall_cb(qemu_plugin_id_t id, void (*cb)(qemu_plugin_id_t, unsigned, int64_t, uint64_t,
	uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t));
extern void qemu_plugin_outs(const char *text);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

enum { THREADS = 1024 };
static uint64_t executed[THREADS];
static int64_t mark_number;

static void on_block(unsigned thread, void *instructions)
{
	if (thread < THREADS)
		executed[thread] += (uintptr_t)instructions;
}

static void on_translation(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	qemu_plugin_register_vcpu_tb_exec_cb(tb, on_block, 0, (void *)qemu_plugin_tb_n_insns(tb));
}

static void on_syscall(qemu_plugin_id_t id, unsigned thread, int64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e,
	uint64_t f, uint64_t g, uint64_t h)
{
	char line[32];
	if (number != mark_number || thread >= THREADS)
		return;
	snprintf(line, sizeof line, "executed %" PRIu64 "\n", executed[thread]);
	qemu_plugin_outs(line);
}

__attribute__((visibility("default"))) int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
	for (int i = 0; i < argc; i++)
		if (strncmp(argv[i], "mark=", 5) == 0)
			mark_number = atoll(argv[i] + 5);
	if (mark_number == 0)
		return -1;
	qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
	qemu_plugin_register_vcpu_syscall_cb(id, on_syscall);
	return 0;
}
