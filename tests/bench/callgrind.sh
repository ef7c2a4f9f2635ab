#!/bin/bash
# tests/bench/callgrind.sh [--accept]: instructions per routed message and per presence delivered
# (route_cost.c), with few modules and with those of the default configuration, compared with the numbers kept in tests/bench/instructions.json. A rise of more than 10 %
# fails; to accept it deliberately: tests/bench/callgrind.sh --accept, and say in the commit why it was worth
# it. A fall of more than 10 % asks for the same, so that the numbers stay true. TAP, for scripts/test.
# test-loops: 1  test-timeout: 300
#
# The numbers hold for gcc and the build's usual flags. They do not depend on the machine: valgrind
# shows every program the same processor, one with AVX2 and without AVX-512, so libc chooses the
# same functions everywhere (a host without AVX2 would count 1 % more).
set -u
src=${GRAPNEL_SRC:-$(cd "$(dirname "$0")/../.." && pwd)}
build=${GRAPNEL_BUILD:-$src/build}
kept=$src/tests/bench/instructions.json
names=(instructions_per_message instructions_per_presence_delivery
    instructions_per_message_default_modules instructions_per_presence_delivery_default_modules)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

collect() { # arguments of route_cost -> instructions of the whole run; fails when it does
    local out
    # Without the caller's environment: its size changes what getenv costs.
    out=$(env -i PATH="$PATH" GRAPNEL_BUILD="$build" GRAPNEL_TEST_LOOPS=1 LC_ALL=C \
        valgrind --tool=callgrind --callgrind-out-file=/dev/null \
        "$build/tests/bench/route_cost" "$@" 2>&1) || { sed 's/^/# /' <<< "$out" >&2; return 1; }
    sed -n 's/.*Collected : \([0-9]*\).*/\1/p' <<< "$out"
}

cost() { # N, how many deliveries each makes, more arguments -> instructions per delivery
    local n=$1 each=$2 one two
    shift 2
    one=$(collect "$@" "$n") && two=$(collect "$@" $((2 * n))) || return
    [ -n "$one" ] && [ -n "$two" ] && echo $(((two - one) / (n * each)))
}

number() { # FILE NAME
    sed -n "s/.*\"$2\": \([0-9]*\).*/\1/p" "$1"
}

judge() { # file of numbers to compare with -> TAP; status 1: one of them rose too much
    local i status=0 was
    for i in "${!names[@]}"; do
        was=$(number "$1" "${names[i]}")
        echo "# ${now[i]} ${names[i]}, $was kept"
        if [ $((now[i] * 10)) -gt $((was * 11)) ]; then
            echo "not ok $((i + 1)) - ${names[i]}"
            echo "# more than 10 % above: find out why, or accept it with tests/bench/callgrind.sh --accept"
            echo "# and give the reason in the commit"
            status=1
            continue
        fi
        echo "ok $((i + 1)) - ${names[i]}"
        if [ $((now[i] * 11)) -lt $((was * 10)) ]; then
            echo "# more than 10 % below: keep the better number with tests/bench/callgrind.sh --accept"
        fi
    done
    return $status
}

write() { # numbers -> JSON
    local i text=
    for i in "${!names[@]}"; do
        text+=$(printf ',\n "%s": %d' "${names[i]}" "$1")
        shift
    done
    echo "{${text#$',\n '}}"
}

tests=$((${#names[@]} + 1))
echo "1..$tests"
if ! command -v valgrind > /dev/null; then
    for ((i = 1; i <= tests; i++)); do echo "ok $i - case_$i # SKIP valgrind is not installed"; done
    exit 0
fi
default=modules=$src/config/grapnel.ini
# A presence has 20 contacts, and her own comes back.
now=("$(cost 400 1)" "$(cost 50 21 presence)"
    "$(cost 400 1 "$default")" "$(cost 50 21 "$default" presence)")
for i in "${!names[@]}"; do
    [ -z "${now[i]}" ] || continue
    echo "not ok $((i + 1)) - ${names[i]}"
    echo "# route_cost does not run under callgrind"
    exit 1
done
[ "${1-}" != --accept ] || write "${now[@]}" > "$kept"
judge "$kept"
status=$?
# That it can fail: against numbers that are a seventh lower.
lower=()
for n in "${now[@]}"; do lower+=($((n * 6 / 7))); done
write "${lower[@]}" > "$tmp/lower"
if judge "$tmp/lower" > "$tmp/out" || [ "$(grep -c '^not ok' "$tmp/out")" != ${#names[@]} ]; then
    echo "not ok $tests - rise_fails"
    exit 1
fi
echo "ok $tests - rise_fails"
exit $status
