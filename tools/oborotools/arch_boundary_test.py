import os
import unittest

from . import arch_boundary

# For every exception, so that none of them counts as unused.
USES = [(place + "x.cpp" if place.endswith("/") else place, ["pt_regs" if rule == "pt_regs" else "syscall(SYS_futex)"])
        for place, rule, _ in arch_boundary.EXCEPTIONS]


def problems(path, *lines):
    return arch_boundary.check(USES + [(path, lines)])


class ArchBoundaryTest(unittest.TestCase):

    def test_what_is_neutral(self):
        self.assertEqual(
            problems("src/hooks/a.cpp", '#include "arch/arch.h"\n', '#include "arch/kvm.h"\n',
                     "arch::argument(vcpu, 0); uint64_t reg(arch::Reg reg); arch::sys::openat\n"), [])

    def test_each_rule(self):
        for line in ('#include "arch/x86_64/frame.h"', '  #  include "arch/arm64/frame.h"', "vcpu.reg(arch::Reg::rsp)",
                     "set(Reg::rax, 1);", "Field::pt_regs_di", "arch::PtRegs r{};", "case SYS_read:", "case __NR_read:"):
            found = problems("src/steer/a.h", "\n", line)
            self.assertEqual(len(found), 1, line)
            self.assertTrue(found[0].startswith("src/steer/a.h:2: "), found)

    def test_the_processors_own_folder_is_free(self):
        self.assertEqual(problems("src/arch/x86_64/a.h", "Reg::rsp", '#include "arch/x86_64/b.h"', "pt_regs"), [])
        self.assertEqual(len(problems("src/architecture/a.h", "Reg::rsp")), 1)

    def test_an_exception_is_for_its_place_and_rule_alone(self):
        self.assertEqual(problems("src/proxy/deep/a.cpp", "syscall(SYS_close_range, 3)"), [])
        self.assertEqual(len(problems("src/proxy/a.cpp", "Reg::rsp")), 1)
        self.assertEqual(len(problems("src/proxying/a.cpp", "syscall(SYS_close_range, 3)")), 1)
        self.assertEqual(len(problems("src/stream/reader.cpp", "SYS_futex")), 1)

    def test_an_exception_that_nobody_needs_is_said(self):
        found = arch_boundary.check(USES[1:])
        self.assertEqual(len(found), 1)
        self.assertIn(arch_boundary.EXCEPTIONS[0][0], found[0])

    def test_the_tree(self):
        top = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
        self.assertEqual(arch_boundary.check(arch_boundary.sources(top)), [])


if __name__ == "__main__":
    unittest.main()
