#!/bin/bash
# tests/bench/callgrind.sh: instructions per routed message (route_cost.c), compared with the number kept in
# tests/bench/instructions.json. A rise of more than 10 % fails; to accept it deliberately:
# tests/bench/callgrind.sh --accept, and say in the commit why it was worth it. A fall of more than 10 %
# asks for the same, so that the number stays true. TAP, as scripts/test reads it.
# timeout: 300
set -u
src=${GRAPNEL_SRC:-$(cd "$(dirname "$0")/../.." && pwd)}
export GRAPNEL_BUILD=${GRAPNEL_BUILD:-$src/build}
export GRAPNEL_TEST_LOOPS=1
# Hash tables and lookups of the dynamic linker depend on these.
unset LD_PRELOAD LD_LIBRARY_PATH
kept=$src/tests/bench/instructions.json
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$src" || exit 1

echo 1..1
if ! command -v valgrind > /dev/null; then
    echo "ok 1 - instructions_per_message # SKIP valgrind is not installed"
    exit 0
fi

collect() { # N -> instructions of the whole run
    env -i PATH="$PATH" GRAPNEL_BUILD="$GRAPNEL_BUILD" GRAPNEL_TEST_LOOPS=1 LC_ALL=C \
        valgrind --tool=callgrind --callgrind-out-file=/dev/null \
        "$GRAPNEL_BUILD/tests/bench/route_cost" "$1" 2>&1 | sed -n 's/.*Collected : \([0-9]*\).*/\1/p'
}

n=400
one=$(collect $n)
two=$(collect $((2 * n)))
if [ -z "$one" ] || [ -z "$two" ]; then
    echo "not ok 1 - instructions_per_message"
    echo "# route_cost does not run under callgrind"
    exit 1
fi
now=$(((two - one) / n))
if [ "${1-}" = --accept ] || [ ! -e "$kept" ]; then
    printf '{"instructions_per_message": %d}\n' "$now" > "$kept"
    echo "ok 1 - instructions_per_message"
    echo "# kept: $now"
    exit 0
fi
was=$(sed 's/[^0-9]//g' "$kept")
echo "# $now instructions per routed message, $was kept"
if [ $((now * 10)) -gt $((was * 11)) ]; then
    echo "not ok 1 - instructions_per_message"
    echo "# more than 10 % above: find out why, or accept it with tests/bench/callgrind.sh --accept"
    echo "# and give the reason in the commit"
    exit 1
fi
if [ $((now * 11)) -lt $((was * 10)) ]; then
    echo "# more than 10 % below: keep the better number with tests/bench/callgrind.sh --accept"
fi
echo "ok 1 - instructions_per_message"
