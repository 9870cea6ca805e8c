// Machine code for the guest's processor, and where it lies: for engine/kvm, which puts some of its own into a guest.
#pragma once

#include "arch/x86_64/assembler.h"
#include "arch/x86_64/large_pages.h"
#include "arch/x86_64/patching.h"
