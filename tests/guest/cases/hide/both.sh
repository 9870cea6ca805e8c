#!/bin/sh
# both PROGRAM SECTION NORMAL HIDDEN: runs /bin/normal-PROGRAM and /bin/hidden-PROGRAM, each with its directory (or address), and says
# `same SECTION` if they print the same, and `differs as expected: SECTION` if what differs is, line by line, what /etc/differs has below
# `== SECTION`. Lines are compared without their number in the program.
timeout -s KILL 60 /bin/normal-$1 $3 $2 </dev/null >/tmp/normal.$2 2>&1 || echo "normal $2 ended with $?"
timeout -s KILL 60 /bin/hidden-$1 $4 $2 </dev/null >/tmp/hidden.$2 2>&1 || echo "hidden $2 ended with $?"
tail -n 1 /tmp/normal.$2 | grep -q '^end$' || echo "normal $2 did not end"
if diff /tmp/normal.$2 /tmp/hidden.$2 >/tmp/diff; then
    echo "same $2"
    exit
fi
sed -n '/^--- \/tmp\//d; /^+++ \/tmp\//d; /^[-+]/{s/^\(.\)[0-9]* /\1/; s/ *$//; p}' /tmp/diff >/tmp/came
sed -n "/^== $2\$/,/^==/{/^[-+]/p}" /etc/differs 2>/dev/null >/tmp/expected
if cmp -s /tmp/expected /tmp/came && [ -s /tmp/came ]; then
    echo "differs as expected: $2"
else
    echo "differs: $2"
    grep '^[-+ ][0-9a-z]' /tmp/diff
fi
