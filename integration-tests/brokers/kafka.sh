#!/usr/bin/env bash
# Runs one Apache Kafka (KRaft, without Docker) for the tests, on ports and folders of its own.
#   eval "$(integration-tests/brokers/kafka.sh start)"   installs what is missing, exports KAFKA_BROKERS
#   kafka.sh stop | restart | kill | wipe                kill = SIGKILL; wipe = stop and forget all data
# When KAFKA_BROKERS is set already, that broker is used and nothing is started.
set -euo pipefail
name=kafka
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
dir=$state_root/kafka
port=${MEDULLA_KAFKA_PORT:-19092}
controller_port=$((port + 1))

install() {
    need java default-jre-headless
    [ -e "$dir/lib/.complete" ] && return
    need mvn maven
    say "fetching Apache Kafka from Maven Central (54 MB)"
    mvn -B -q -f "$here/pom.xml" dependency:copy-dependencies -DoutputDirectory="$dir/lib" >&2
    touch "$dir/lib/.complete"
}

configure() {
    cat >"$dir/server.properties" <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller_port
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller_port
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
log.dirs=$dir/data
num.partitions=3
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
message.max.bytes=20971520
PROPERTIES
    [ -e "$dir/data/meta.properties" ] && return
    say "formatting $dir/data"
    java -cp "$dir/lib/*" kafka.tools.StorageTool format \
        -t "$(java -cp "$dir/lib/*" kafka.tools.StorageTool random-uuid 2>/dev/null)" \
        -c "$dir/server.properties" >>"$dir/log" 2>&1
}

# Answers metadata, not merely an open port.
ready() { running && grep -q "Kafka Server started" "$dir/log.run" && port_open "$port"; }

start() {
    if running; then say "runs already"; return; fi
    mkdir -p "$dir"
    install
    port_open "$port" && die "port $port is taken; set MEDULLA_KAFKA_PORT"
    configure
    say "starting on 127.0.0.1:$port"
    : >"$dir/log.run"
    setsid java -Xmx512m -Dorg.slf4j.simpleLogger.defaultLogLevel=info -cp "$dir/lib/*" \
        kafka.Kafka "$dir/server.properties" >>"$dir/log.run" 2>&1 </dev/null &
    echo $! >"$dir/pid"
    wait_until 90 "it to start" ready || { tail -n 20 "$dir/log.run" >&2; die "did not start; see $dir/log.run"; }
    say "ready"
}

case ${1:-} in
start)
    [ -n "${KAFKA_BROKERS:-}" ] && { say "using $KAFKA_BROKERS"; echo "export KAFKA_BROKERS=$KAFKA_BROKERS"; exit; }
    start
    echo "export KAFKA_BROKERS=127.0.0.1:$port"
    ;;
stop) signal TERM 30 ;;
kill) signal KILL 5 ;;
restart) signal TERM 30; start ;;
wipe) signal TERM 30; rm -rf "$dir/data" "$dir/log" "$dir/log.run" ;;
*) echo "usage: kafka.sh start|stop|restart|kill|wipe" >&2; exit 2 ;;
esac
