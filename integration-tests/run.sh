#!/usr/bin/env bash
# Runs every test of Medulla, with the real brokers, a real Prometheus and a real browser. See --help.
set -uo pipefail

usage() {
    cat <<'HELP'
usage: integration-tests/run.sh [--long]

Installs what the tests need (Debian/Ubuntu packages; it says which), builds once, starts Apache Kafka and
RabbitMQ on ports of their own, runs every test and ends with "N passed, N failed, N skipped".
Exit code 0: nothing failed. Skipped tests are listed with their reasons.

  --long   also the endless kind: many seeds, many kills (MEDULLA_LONG=1), 10,000 seeds of the ledger's simulation among them

MEDULLA_SIM_SECONDS says for how long the ledger's simulation runs seeds (300 here, 30 in a plain cargo test).

KAFKA_BROKERS and AMQP_URL name brokers that run already; then none is started.
MEDULLA_SHARED names a folder with corpora and data that are no part of the repository.
HELP
}

long=
case ${1:-} in
'') ;;
--long) long=1 ;;
-h | --help) usage; exit 0 ;;
*) usage >&2; exit 2 ;;
esac

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/.." || exit 1
passed=0 failed=0 skipped=0 started_brokers=() running=
state=${MEDULLA_BROKER_STATE:-$here/.state}
mkdir -p "$state"
log=$state/test.log reasons=$state/failed.log
: >"$log" >"$reasons"

elapsed() { printf '%d:%02d' $((SECONDS / 60)) $((SECONDS % 60)); }
step() { say "[$(elapsed)] $*"; }

clean_up() {
    local broker
    [ -n "$running" ] && kill "$running" 2>/dev/null
    for broker in ${started_brokers[@]+"${started_brokers[@]}"}; do "$here/brokers/$broker.sh" stop; done
}

# broker NAME VARIABLE: starts it, unless the variable names one that runs, and tells the tests how to restart it.
broker() {
    local exports given=${!2:-}
    if ! exports=$("$here/brokers/$1.sh" start); then
        check "$1 starts" false
        return
    fi
    eval "$exports"
    [ -n "$given" ] && return
    started_brokers+=("$1")
    export "${3}=$here/brokers/$1.sh restart"
}

# check WHAT COMMAND…: one more test, passed when the command succeeds.
check() {
    local what=$1
    shift
    if "$@" >>"$log" 2>&1; then
        passed=$((passed + 1))
        echo "ok      $what"
    else
        failed=$((failed + 1))
        echo "FAILED  $what"
    fi
}

skip() {
    skipped=$((skipped + 1))
    echo "SKIPPED $1: $2"
}

# run_tests CARGO-ARGUMENTS…: everything goes to the log; shown are suites, failures and skips. Counts are added.
run_tests() {
    local part status counts p f i s
    part=$(mktemp)
    # In a process group of its own, so that an interrupted run leaves no sites behind.
    timeout "$limit" cargo test --locked --no-fail-fast "$@" -- --show-output >"$part.all" 2>&1 </dev/null &
    running=$!
    tail -n +1 --pid=$running -F "$part.all" 2>/dev/null |
        awk -v before=$SECONDS 'BEGIN { began = systime() }
             /^ +Running |^ +Doc-tests / {
                 at = before + systime() - began
                 printf "[%d:%02d] %s\n", at / 60, at % 60, $0; fflush()
             }
             /^test .* FAILED$|panicked at|^error/ { print; fflush() }'
    wait $running
    status=$?
    running=
    cat "$part.all" >>"$log"
    # A passed test that printed "skipped" has not been tried: it counts as skipped, with its reason.
    awk '/^---- .* stdout ----$/ { test = $2; next }
         /^[Ss]kipped[: ]|^SKIPPED / {
             if (test != "") { sub(/^[A-Za-z]+:? */, ""); sub("^" test ": ", ""); print "SKIPPED " test ": " $0; test = "" }
         }' \
        "$part.all" >"$part.skips"
    sort -u "$part.skips"
    counts=$(awk '/^test result:/ { p += $4; f += $6; i += $8 } END { print p + 0, f + 0, i + 0 }' "$part.all")
    read -r p f i <<<"$counts"
    s=$(wc -l <"$part.skips")
    # What a failed test said; the rest of its output is in the log.
    awk '/^(failures|successes):$/ { wanted = /^failures/; next }
         /^---- .* stdout ----$/ { if (wanted) print "FAILED  " $2 ":"; lines = 0; next }
         /^test result:/ { wanted = 0 }
         wanted && /[^ ]/ && lines++ < 40 { print "error:  " $0 }' "$part.all" >>"$reasons"
    # A test binary that does not compile, dies or never ends has no result line.
    if [ $status -ne 0 ] && [ "$f" -eq 0 ]; then
        f=1
        echo "FAILED  cargo test $*: ended with $status and no failed test; the end of $log:"
        tail -n 20 "$part.all"
    fi
    passed=$((passed + p - s)) failed=$((failed + f)) skipped=$((skipped + s + i))
    rm -f "$part" "$part.all" "$part.skips"
}

trap clean_up EXIT
trap 'exit 130' INT TERM

. deploy/build-env.sh
need_packages default-jre-headless maven rabbitmq-server prometheus chromium chromium-driver openssl curl \
    python3 python3-pip
export MEDULLA_SIM_SECONDS=${MEDULLA_SIM_SECONDS:-300}
limit=50m
if [ -n "$long" ]; then
    export MEDULLA_LONG=1
    limit=0
fi

step "building the program and all tests (log: $log)"
if ! cargo test --locked --workspace --no-run; then
    echo "the build failed"
    echo "0 passed, 1 failed, 0 skipped"
    exit 1
fi
step "building the training program"
train=
if . deploy/xgboost.sh && cargo build --locked -p ml-scoring --features train --bin medulla-train &&
    cargo test --locked -p ml-scoring --features train --lib --test train --test libxgboost --no-run; then
    train=1
fi

step "starting the brokers"
broker kafka KAFKA_BROKERS KAFKA_RESTART
broker rabbitmq AMQP_URL AMQP_RESTART

step "alert rules, dashboards, service"
check "promtool check config" promtool check config deploy/prometheus/prometheus.yml
check "promtool test rules" promtool test rules deploy/prometheus/rules_test.yml

step "tests"
run_tests --workspace
step "tests of the training, against libxgboost"
if [ -n "$train" ]; then
    run_tests -p ml-scoring --features train --lib --test train --test libxgboost
else
    skip "training" "libxgboost is not to be had here (deploy/xgboost.sh says why)"
fi

step "done; everything that was printed: $log"
cat "$reasons"
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed -eq 0 ]
