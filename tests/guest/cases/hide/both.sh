#!/bin/sh
# both PROGRAM SECTION NORMAL HIDDEN: runs /bin/normal-PROGRAM and /bin/hidden-PROGRAM, each with its directory (or address), and says
# `same SECTION` if they print the same, and `differs as expected: SECTION` if what differs is, line by line, what /etc/differs has below
# `== SECTION`. Lines are compared without their number in the program. If nothing differs but how long something took, both are run
# again, three times in all, for a busy machine stalls either; what is always late is found.
run() {
    timeout -s KILL 60 /bin/normal-$1 $3 $2 </dev/null >/tmp/normal.$2 2>&1 || echo "normal $2 ended with $?"
    timeout -s KILL 60 /bin/hidden-$1 $4 $2 </dev/null >/tmp/hidden.$2 2>&1 || echo "hidden $2 ended with $?"
    tail -n 1 /tmp/normal.$2 | grep -q '^end$' || echo "normal $2 did not end"
    diff /tmp/normal.$2 /tmp/hidden.$2 >/tmp/diff && return
    sed -n '/^--- \/tmp\//d; /^+++ \/tmp\//d; /^[-+]/{s/^\(.\)[0-9]* /\1/; s/ *$//; p}' /tmp/diff >/tmp/came
    return 1
}
for try in 1 2 3; do
    if run "$@"; then
        echo "same $2"
        exit
    fi
    grep -qv '^[-+]\(took [0-9.]*\|prompt [01]\|[0-9.]* s, and [0-9.]* s where nothing is hidden\)$' /tmp/came && break
    echo "$2 took its time:"
    grep '^[-+ ][0-9a-z]' /tmp/diff
done
sed -n "/^== $2\$/,/^==/{/^[-+]/p}" /etc/differs 2>/dev/null >/tmp/expected
if cmp -s /tmp/expected /tmp/came && [ -s /tmp/came ]; then
    echo "differs as expected: $2"
else
    echo "differs: $2"
    grep '^[-+ ][0-9a-z]' /tmp/diff
fi
