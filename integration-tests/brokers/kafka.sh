#!/usr/bin/env bash
# Runs one Apache Kafka (KRaft, without Docker) for the tests, on ports and folders of its own.
#   eval "$(integration-tests/brokers/kafka.sh start)"   installs what is missing, exports KAFKA_BROKERS and, for the
#                                                        listener with TLS, SCRAM and OAUTHBEARER (unsecured tokens),
#                                                        KAFKA_SASL_BROKERS and KAFKA_CA;
#                                                        KAFKA_LINKED=LISTENS:SAYS, a listener to be reached through a
#                                                        forwarder at the port that it says
#   kafka.sh stop | restart | kill | wipe                kill = SIGKILL; wipe = stop and forget all data
# When KAFKA_BROKERS is set already, that broker is used and nothing is started.
set -euo pipefail
name=kafka
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
dir=$state_root/kafka
port=${MEDULLA_KAFKA_PORT:-19092}
controller_port=$((port + 1))
sasl_port=$((port + 2))
# A listener that tells its clients another port than its own: where a test forwards it.
linked_port=$((port + 3))
linked_says=$((port + 4))
data=$dir/data-with-users

install() {
    need java default-jre-headless
    [ -e "$dir/lib/.complete" ] && return
    need mvn maven
    say "fetching Apache Kafka from Maven Central (54 MB)"
    mvn -B -q -f "$here/pom.xml" dependency:copy-dependencies -DoutputDirectory="$dir/lib" >&2
    touch "$dir/lib/.complete"
}

configure() {
    certificates
    # Kafka takes a key and its certificate from one PEM file.
    cat "$dir/server.key" "$dir/server.pem" >"$dir/keystore.pem"
    cat >"$dir/server.properties" <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller_port
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller_port,SASL_SSL://127.0.0.1:$sasl_port,LINKED://127.0.0.1:$linked_port
advertised.listeners=PLAINTEXT://127.0.0.1:$port,SASL_SSL://localhost:$sasl_port,LINKED://127.0.0.1:$linked_says
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL,LINKED:PLAINTEXT
sasl.enabled.mechanisms=SCRAM-SHA-512,OAUTHBEARER
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl_ssl.oauthbearer.sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";
# A connection ends with its token unless it signs in once more.
connections.max.reauth.ms=3600000
ssl.keystore.type=PEM
ssl.keystore.location=$dir/keystore.pem
log.dirs=$data
num.partitions=3
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
message.max.bytes=20971520
PROPERTIES
    [ -e "$data/meta.properties" ] && return
    say "formatting $data"
    java -cp "$dir/lib/*" kafka.tools.StorageTool format \
        -t "$(java -cp "$dir/lib/*" kafka.tools.StorageTool random-uuid 2>/dev/null)" \
        -c "$dir/server.properties" --add-scram 'SCRAM-SHA-512=[name=medulla,password=of-the-tests]' >>"$dir/log" 2>&1
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
    echo "export KAFKA_SASL_BROKERS=localhost:$sasl_port KAFKA_CA=$dir/ca.pem"
    echo "export KAFKA_LINKED=$linked_port:$linked_says"
    ;;
stop) signal TERM 30 ;;
kill) signal KILL 5 ;;
restart) signal TERM 30; start ;;
wipe) signal TERM 30; rm -rf "$data" "$dir/log" "$dir/log.run" ;;
*) echo "usage: kafka.sh start|stop|restart|kill|wipe" >&2; exit 2 ;;
esac
