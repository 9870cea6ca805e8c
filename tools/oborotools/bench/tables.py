"""The figures that are measured, and their limits."""

# name, benchmark, phase, managed, limit, ratio in the paper
ROWS = [
    ("getppid (moves no data)", "getppid", 0, False, 1.02, 1.07),
    ("UNIX datagram sendto 64 B", "unix-datagram", 0, False, 1.10, 2.84),
    ("UNIX datagram recvfrom 64 B", "unix-datagram", 1, False, 1.10, 4.60),
    ("UNIX stream sendto 64 B", "unix-stream", 0, False, 1.10, 2.84),
    ("UNIX stream recvfrom 64 B", "unix-stream", 1, False, 1.10, 4.60),
    ("UNIX datagram sendto 64 B, managed", "unix-datagram", 0, True, 1.15, 3.64),
    ("UNIX datagram recvfrom 64 B, managed", "unix-datagram", 1, True, 1.15, 4.99),
    ("UNIX stream sendto 64 B, managed", "unix-stream", 0, True, 1.15, 3.64),
    ("UNIX stream recvfrom 64 B, managed", "unix-stream", 1, True, 1.15, 4.99),
    ("select, 100 TCP fds (as lat_select)", "lat_select", 0, False, 1.15, 3.28),
    ("UNIX echo 1 B (as lat_unix)", "lat_unix", 0, False, 1.15, 5.47),
    ("UDP echo 4 B (as lat_udp)", "lat_udp", 0, False, 1.15, 4.74),
    ("TCP echo 1 B (as lat_tcp)", "lat_tcp", 0, False, 1.15, 3.61),
    ("TCP connect (as lat_connect)", "lat_connect", 0, False, 1.15, 1.66),
    ("select, managed", "lat_select", 0, True, 1.15, None),
    ("UNIX echo, managed", "lat_unix", 0, True, 1.15, None),
    ("UDP echo, managed", "lat_udp", 0, True, 1.15, None),
    ("TCP echo, managed", "lat_tcp", 0, True, 1.15, None),
    ("TCP connect, managed", "lat_connect", 0, True, 1.15, None),
]
MANY_LIMIT = 1.05
JOB_LIMIT = 1.05
ARM_LIMITS = {"new": 1500, "cached": 150}  # ms
MEMORY_LIMIT = 64  # MiB

# Exits of the vCPU: name, benchmark, managed, at most so many a call.
EXITS = [
    ("getppid", "getppid", False, 0), ("sched_yield", "sched_yield", False, 0), ("futex", "futex", False, 0),
    ("clock_gettime", "clock_gettime", False, 0), ("nanosleep", "nanosleep", False, 0), ("open, close", "open-close", False, 0), ("stat", "stat", False, 0),
    ("UNIX datagram sendto, recvfrom", "unix-datagram", False, 0), ("UNIX stream sendto, recvfrom", "unix-stream", False, 0),
    ("TCP send, recv", "tcp", False, 0), ("UDP send, recv", "udp", False, 0), ("pwrite, pread of a file", "file", False, 0),
    ("write, read of a pipe", "pipe", False, 0), ("fork, exit, wait", "fork", False, 0), ("vfork, execve, wait", "execve", False, 0),
    ("UNIX datagram sendto, recvfrom, managed", "unix-datagram", True, 1), ("UNIX stream sendto, recvfrom, managed", "unix-stream", True, 1),
    ("TCP send, recv, managed", "tcp", True, 1), ("UDP send, recv, managed", "udp", True, 1),
    ("pwrite, pread, managed", "file", True, 2), ("write, read of a pipe, managed", "pipe", True, 2),
]
# off against on, in one run; benchmark, phase, limit
KVM_TIMES = [
    ("getppid", "getppid", 0, False, None), ("open + close", "open-close", 0, False, None), ("stat", "stat", 0, False, None),
    ("UNIX datagram sendto 64 B", "unix-datagram", 0, False, 1.05), ("UNIX datagram recvfrom 64 B", "unix-datagram", 1, False, 1.05),
    ("UNIX stream sendto 64 B", "unix-stream", 0, False, 1.05), ("UNIX stream recvfrom 64 B", "unix-stream", 1, False, 1.05),
    ("pwrite 64 B", "file", 0, False, 1.05), ("pread 64 B", "file", 1, False, 1.05),
    ("TCP echo 1 B (as lat_tcp)", "lat_tcp", 0, False, 1.05), ("UNIX echo 1 B (as lat_unix)", "lat_unix", 0, False, None),
    ("UDP echo 4 B (as lat_udp)", "lat_udp", 0, False, None), ("TCP connect (as lat_connect)", "lat_connect", 0, False, None),
    ("select, 100 TCP fds (as lat_select)", "lat_select", 0, False, None),
    ("UNIX datagram sendto, managed", "unix-datagram", 0, True, None), ("UNIX datagram recvfrom, managed", "unix-datagram", 1, True, None),
    ("UNIX stream sendto, managed", "unix-stream", 0, True, None), ("UNIX stream recvfrom, managed", "unix-stream", 1, True, None),
    ("TCP echo, managed", "lat_tcp", 0, True, None),
]
HANDLER_LIMIT = 1500  # cycles
TOLERANCE = 0.001     # exits a call: a slice may begin with a command that is a character longer, say

# Calls of a process that is not hidden: name, benchmark and phase of guest/hide.c, how many times dearer they were in the paper.
OTHERS = [
    ("sched_yield", "sched_yield", 0, "29 (0.15 -> 4.40 us)"), ("getppid", "getppid", 0, "-"), ("open + close", "open", 0, "-"),
    ("write 4 KB", "file", 0, "-"), ("read 4 KB", "file", 1, "-"), ("UNIX datagram sendto 64 B", "unix", 0, "-"),
    ("UNIX datagram recvfrom 64 B", "unix", 1, "-"), ("fork + exit + wait", "fork", 0, "-"), ("vfork + execve + wait", "execve", 0, "-"),
]
