// The processor's registers in KVM's structures: for engine/kvm. It is apart from arch.h because of <linux/kvm.h>,
// which nobody else needs.
#pragma once

#include "arch/x86_64/kvm_registers.h"
