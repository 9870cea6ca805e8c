// The part of QEMU's TCG plugin interface, version 7 (QEMU 11.1), that Oboro uses. Debian ships no header for it; QEMU
// exports these functions from its executable. Documentation: QEMU, docs/devel/tcg-plugins.rst.
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" {

// GLib's structure, of which only the shape matters here.
struct GByteArray {
  uint8_t* data;
  unsigned len;
};
struct GArray {
  char* data;
  unsigned len;
};
GByteArray* g_byte_array_new(void);
GByteArray* g_byte_array_set_size(GByteArray* array, unsigned length);
char* g_array_free(GArray* array, int free_segment);

using qemu_plugin_id_t = uint64_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_plugin_register;

struct qemu_info_t {
  const char* target_name;
  struct {
    int min;
    int cur;
  } version;
  bool system_emulation;
  struct {
    int smp_vcpus;
    int max_vcpus;
  } system;
};

struct qemu_plugin_reg_descriptor {
  qemu_plugin_register* handle;
  const char* name;
  const char* feature;
  bool is_readonly;
};

enum qemu_plugin_cb_flags {
  QEMU_PLUGIN_CB_NO_REGS,
  QEMU_PLUGIN_CB_R_REGS,
  QEMU_PLUGIN_CB_RW_REGS,
  QEMU_PLUGIN_CB_RW_REGS_PC,
};

using qemu_plugin_udata_cb_t = void (*)(void* userdata);
using qemu_plugin_vcpu_udata_cb_t = void (*)(unsigned vcpu_index, void* userdata);
using qemu_plugin_vcpu_tb_trans_cb_t = void (*)(qemu_plugin_tb* tb, void* userdata);

void qemu_plugin_reset(qemu_plugin_id_t id, qemu_plugin_udata_cb_t cb, void* userdata);
void qemu_plugin_register_vcpu_init_cb(qemu_plugin_id_t id, qemu_plugin_vcpu_udata_cb_t cb, void* userdata);
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, qemu_plugin_vcpu_tb_trans_cb_t cb, void* userdata);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t id, qemu_plugin_udata_cb_t cb, void* userdata);
void qemu_plugin_register_vcpu_insn_exec_cb(qemu_plugin_insn* insn, qemu_plugin_vcpu_udata_cb_t cb,
                                            qemu_plugin_cb_flags flags, void* userdata);
size_t qemu_plugin_tb_n_insns(const qemu_plugin_tb* tb);
uint64_t qemu_plugin_tb_vaddr(const qemu_plugin_tb* tb);
qemu_plugin_insn* qemu_plugin_tb_get_insn(const qemu_plugin_tb* tb, size_t index);
size_t qemu_plugin_insn_data(const qemu_plugin_insn* insn, void* dest, size_t len);
size_t qemu_plugin_insn_size(const qemu_plugin_insn* insn);
uint64_t qemu_plugin_insn_vaddr(const qemu_plugin_insn* insn);
GArray* qemu_plugin_get_registers(void);
bool qemu_plugin_read_register(qemu_plugin_register* handle, GByteArray* buf);
bool qemu_plugin_write_register(qemu_plugin_register* handle, GByteArray* buf);
[[noreturn]] void qemu_plugin_set_pc(uint64_t vaddr);
bool qemu_plugin_read_memory_vaddr(uint64_t addr, GByteArray* data, size_t len);

}  // extern "C"
