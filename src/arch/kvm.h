// How KVM has the processor's registers: for engine/kvm. Apart from arch.h for <linux/kvm.h>, which nobody else needs.
#pragma once

#include "arch/x86_64/kvm_registers.h"
