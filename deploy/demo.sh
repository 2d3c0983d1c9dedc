#!/usr/bin/env bash
# Medulla's main job on one machine: three sites, a simulated hospital at each, one site killed and brought back,
# and a table that says what became of every message.
#
#   deploy/demo.sh             run it; ends by itself
#   deploy/demo.sh --stay      the sites keep running until Ctrl-C
#   deploy/demo.sh --brokers   the hospital also speaks over real Kafka and RabbitMQ
#   deploy/demo.sh --help
set -euo pipefail

STAY=false BROKERS=false
for argument in "$@"; do
  case "$argument" in
    --stay) STAY=true ;;
    --brokers) BROKERS=true ;;
    -h | --help) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "deploy/demo.sh: unknown option $argument (see --help)" >&2; exit 2 ;;
  esac
done

# shellcheck source=deploy/build-env.sh
source "$(dirname "${BASH_SOURCE[0]}")/build-env.sh"
need_packages curl jq
cd "$MEDULLA_ROOT"
say "building (the first time compiles every dependency: 5 to 15 minutes)"
cargo build --locked --workspace --bins
MEDULLA="$CARGO_TARGET_DIR/debug/medulla"

STATE="$MEDULLA_ROOT/deploy/.state/demo"
SITES=(a b c)
declare -A PID HTTP MLLP RAFT SENT
SENDERS=()

cleanup() {
  trap - EXIT INT TERM
  for pid in "${SENDERS[@]}"; do kill "$pid" 2>/dev/null || true; done
  for site in "${SITES[@]}"; do [ -n "${PID[$site]:-}" ] && kill "${PID[$site]}" 2>/dev/null || true; done
  if $BROKERS; then
    integration-tests/brokers/kafka.sh stop >/dev/null 2>&1 || true
    integration-tests/brokers/rabbitmq.sh stop >/dev/null 2>&1 || true
  fi
  wait 2>/dev/null || true
}
trap cleanup EXIT INT TERM

free_port() { # free_port FIRST: the first port from there on that nobody listens on
  local port=$1
  while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 10)); done
  echo "$port"
}

start_site() { # start_site NAME
  "$MEDULLA" run --config "$STATE/$1.toml" >>"$STATE/$1.log" 2>&1 &
  PID[$1]=$!
}

wait_ready() { # wait_ready NAME
  local tries=0
  until curl -fsS "http://127.0.0.1:${HTTP[$1]}/readyz" >/dev/null 2>&1; do
    tries=$((tries + 1))
    if [ $tries -gt 300 ]; then say "site $1 does not become ready:"; tail -n 20 "$STATE/$1.log" >&2; exit 1; fi
    sleep 0.2
  done
}

feeds() { # feeds NAME: the site's feeds
  local common='authority = "SIMHOSP"
codes = "codes.csv"
icu_wards = ["ICU*"]'
  printf '[[feed]]\nname = "wards"\nkind = "mllp"\nlisten = "127.0.0.1:%s"\n%s\n' "${MLLP[$1]}" "$common"
  printf '[[feed]]\nname = "rest"\nkind = "http"\n%s\n' "$common"
  if $BROKERS && [ "$1" = a ]; then
    printf '[[feed]]\nname = "kafka"\nkind = "kafka"\nbrokers = "%s"\ntopics = ["demo-%s"]\ngroup = "medulla-a"\n%s\n' \
      "$KAFKA_BROKERS" "$$" "$common"
    printf '[[feed]]\nname = "amqp"\nkind = "amqp"\nurl = "%s"\nqueue = "demo-%s"\ndeclare = true\n%s\n' \
      "$AMQP_URL" "$$" "$common"
  fi
}

configure() {
  local site peer peers
  rm -rf "$STATE"
  mkdir -p "$STATE"
  "$MEDULLA" keys init --dir "$STATE/keys" --site a --site b --site c >/dev/null
  "$MEDULLA" simulate --codes "$STATE/codes.csv"
  local base=0
  for site in "${SITES[@]}"; do
    HTTP[$site]=$(free_port $((18080 + base))) MLLP[$site]=$(free_port $((12575 + base))) RAFT[$site]=$(free_port $((17001 + base)))
    base=$((base + 1))
  done
  for site in "${SITES[@]}"; do
    peers=""
    for peer in "${SITES[@]}"; do
      [ "$peer" = "$site" ] || peers="$peers{ name = \"$peer\", address = \"127.0.0.1:${RAFT[$peer]}\" }, "
    done
    {
      printf '[site]\nname = "%s"\ndata = "data-%s"\nzone = "Europe/Zurich"\n' "$site" "$site"
      printf '[http]\nlisten = "127.0.0.1:%s"\n' "${HTTP[$site]}"
      printf '[ledger]\nlisten = "127.0.0.1:%s"\nkeys = "keys/%s"\ninitialise = %s\npeers = [%s]\n' \
        "${RAFT[$site]}" "$site" "$([ "$site" = a ] && echo true || echo false)" "$peers"
      feeds "$site"
      printf '[scoring]\nrules = ["news2"]\nmodels = ["%s"]\n' "$MEDULLA_ROOT/ml-scoring/models/sepsis"
    } >"$STATE/$site.toml"
    "$MEDULLA" validate --config "$STATE/$site.toml" 2>/dev/null
  done
}

send() { # send LABEL SITE FIRST_PATIENT PATIENTS TARGET RATE: a simulated hospital in the background
  "$MEDULLA" simulate --to "$5" --seed 11 --first-patient "$3" --patients "$4" --hours 24 --septic 0.15 \
    --broken 0.01 --duplicates 0.02 --rate "$6" --truth "$STATE/truth-$2-$1.jsonl" --json \
    >"$STATE/sent-$2-$1.json" 2>"$STATE/sent-$2-$1.log" &
  SENDERS+=($!)
}

status_of() { "$MEDULLA" ledger status --config "$STATE/$1.toml" --json 2>/dev/null; }
size_of() { status_of "$1" | jq -r .size 2>/dev/null || echo 0; }

if $BROKERS; then
  say "starting Apache Kafka and RabbitMQ"
  eval "$(integration-tests/brokers/kafka.sh start)"
  eval "$(integration-tests/brokers/rabbitmq.sh start)"
fi

say "three sites, keys and certificates for a trial consortium"
configure
for site in "${SITES[@]}"; do start_site "$site"; done
for site in "${SITES[@]}"; do wait_ready "$site"; done
say "care boards:  a http://127.0.0.1:${HTTP[a]}/   b http://127.0.0.1:${HTTP[b]}/   c http://127.0.0.1:${HTTP[c]}/"
say "feeds:        http://127.0.0.1:${HTTP[a]}/feeds"

say "a simulated hospital at each site: a and c over MLLP, b over FHIR REST; one message in a hundred is broken"
send mllp a 1000 170 "mllp://127.0.0.1:${MLLP[a]}" 90
send fhir b 2000 60 "http://127.0.0.1:${HTTP[b]}/fhir" 35
send mllp c 3000 170 "mllp://127.0.0.1:${MLLP[c]}" 90
if $BROKERS; then
  send kafka a 4000 40 "kafka://$KAFKA_BROKERS/demo-$$" 25
  send amqp a 5000 40 "$AMQP_URL#demo-$$" 25
fi

sending() { local pid; for pid in "${SENDERS[@]}"; do kill -0 "$pid" 2>/dev/null && return 0; done; return 1; }
BEGAN=$SECONDS KILLED=false BACK=false
while sending; do
  sleep 2
  passed=$((SECONDS - BEGAN))
  if ! $KILLED && [ $passed -ge 15 ]; then
    say "kill -9 of site c while its hospital sends; the other two go on, c's hospital queues"
    kill -9 "${PID[c]}"
    wait "${PID[c]}" 2>/dev/null || true
    KILLED=true
  fi
  if $KILLED && ! $BACK && [ $passed -ge 24 ]; then
    say "site c comes back and catches up; what it had not acknowledged is sent again"
    start_site c
    BACK=true
  fi
  printf '    %3s s   committed: a %s, b %s, c %s\n' "$passed" "$(size_of a)" "$(size_of b)" "$(size_of c)" >&2
  if [ $passed -gt 170 ]; then say "the hospitals are still sending after $passed s; not waiting longer"; exit 1; fi
done
for pid in "${SENDERS[@]}"; do wait "$pid" || { say "a sender failed:"; tail -n 3 "$STATE"/sent-*.log >&2; exit 1; }; done

say "all is sent; waiting until the three replicas are equal"
tries=0
while :; do
  read -r SIZE ROOT <<<"$(status_of a | jq -r '"\(.size) \(.root)"')"
  same=true
  for site in b c; do [ "$(status_of $site | jq -r '"\(.size) \(.root)"')" = "$SIZE $ROOT" ] || same=false; done
  $same && break
  tries=$((tries + 1))
  [ $tries -lt 150 ] || { say "the replicas do not become equal"; exit 1; }
  sleep 0.2
done

FAILED=0
printf '\n  %-8s %8s %12s %8s %10s %10s\n' site sent acknowledged refused resent 'lost conn.'
for file in "$STATE"/sent-*.json; do
  name=$(basename "$file" .json)
  read -r sent accepted refused resent lost <<<"$(jq -r '"\(.sent) \(.accepted) \(.refused) \(.resent) \(.reconnects)"' "$file")"
  printf '  %-8s %8s %12s %8s %10s %10s\n' "${name#sent-}" "$sent" "$accepted" "$refused" "$resent" "$lost"
done
printf '\n'
for site in "${SITES[@]}"; do
  truths=()
  for file in "$STATE/truth-$site-"*.jsonl; do truths+=(--truth "$file"); done
  "$MEDULLA" judge --config "$STATE/$site.toml" "${truths[@]}" || FAILED=1
done
printf '\n  one ledger, recomputed from its leaves at each site:\n'
for site in "${SITES[@]}"; do
  duplicates=$(status_of "$site" | jq -r .duplicates)
  if verdict=$("$MEDULLA" ledger verify --config "$STATE/$site.toml" --json 2>/dev/null); then passed=passed; else passed=FAILED FAILED=1; fi
  printf '  %s  size %s  root %s…  duplicates %s  verify %s\n' "$site" \
    "$(jq -r .size <<<"$verdict")" "$(jq -r .root <<<"$verdict" | cut -c1-24)" "$duplicates" "$passed"
done
[ "$SIZE" -gt 10000 ] || { say "only $SIZE leaves: the demo is meant to pass 10,000"; FAILED=1; }
printf '\n'
if [ $FAILED -eq 0 ]; then say "every acknowledged message is in the ledger, once, at every site"; else say "something is WRONG above"; fi

if $STAY; then
  say "the sites keep running; Ctrl-C ends them"
  wait "${PID[@]}" || true
fi
exit $FAILED
