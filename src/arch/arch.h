// The guest's processor, in words that hold for any processor. This is the one header of this folder that others
// include. There is one processor so far, x86-64. A second one is a folder beside it, whose headers define the same
// names (docs/decisions/018), and a choice here.
//
// Registers are read and set through a template argument, Cpu: an engine::Vcpu, or the vCPU that engine::apply() is
// given.
#pragma once

#include "arch/x86_64/boot.h"
#include "arch/x86_64/frame.h"
#include "arch/x86_64/image.h"
#include "arch/x86_64/page_walk.h"
#include "arch/x86_64/registers.h"
#include "arch/x86_64/system_calls.h"
#include "arch/x86_64/user_registers.h"
