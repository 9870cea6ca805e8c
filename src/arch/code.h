// Machine code for the guest's processor: for engine/kvm, which puts some of its own into a guest.
#pragma once

#include "arch/x86_64/assembler.h"
