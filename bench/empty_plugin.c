// A plugin that asks QEMU for every translation, as any tracer must, and does nothing with it. What it costs is QEMU's
// own price of having a plugin (QEMU 11.1: a store behind every memory access of the guest).

#include <stdint.h>

struct qemu_plugin_tb;
void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id, void (*callback)(struct qemu_plugin_tb*, void*), void* data);

__attribute__((visibility("default"))) extern const int qemu_plugin_version;
const int qemu_plugin_version = 7;

static void on_translate(struct qemu_plugin_tb* tb, void* data) { (void)tb, (void)data; }

__attribute__((visibility("default"))) int qemu_plugin_install(uint64_t id, const void* info, int argc, char** argv) {
  (void)info, (void)argc, (void)argv;
  qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate, 0);
  return 0;
}
