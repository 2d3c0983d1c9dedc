#!/usr/bin/env bash
# Runs one RabbitMQ for the tests, with a node name, ports, cookie and folders of its own.
#   eval "$(integration-tests/brokers/rabbitmq.sh start)"   installs what is missing, exports AMQP_URL, AMQPS_URL;
#                                                           AMQPS_SIGN_IN, whose vhost lets in the user of AMQPS_CERT and
#                                                           those of tokens, and no guest
#   rabbitmq.sh token SECONDS                               prints a token that the broker takes for so long
#   rabbitmq.sh stop | restart | kill | wipe                kill = SIGKILL; wipe = stop and forget all data
# When AMQP_URL is set already, that broker is used and nothing is started.
set -euo pipefail
name=rabbitmq
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
port=${MEDULLA_RABBITMQ_PORT:-25672}
bin=/usr/lib/rabbitmq/bin

mkdir -p "$state_root/rabbitmq"
dir=$(cd "$state_root/rabbitmq" && pwd)
# HOME holds the Erlang cookie; an epmd of our own leaves the machine's alone.
export HOME=$dir
export ERL_EPMD_PORT=$((port + 2)) ERL_EPMD_ADDRESS=127.0.0.1
export RABBITMQ_NODENAME=medulla-$port@localhost RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 RABBITMQ_NODE_PORT=$port
export RABBITMQ_DIST_PORT=$((port + 1))
export RABBITMQ_BASE=$dir RABBITMQ_MNESIA_BASE=$dir/mnesia RABBITMQ_LOG_BASE=$dir/logs
export RABBITMQ_PID_FILE=$dir/rabbitmq.pid RABBITMQ_ENABLED_PLUGINS_FILE=$dir/enabled_plugins
export RABBITMQ_CONFIG_FILE=$dir/rabbitmq RABBITMQ_CONF_ENV_FILE=$dir/rabbitmq-env.conf

tls_port=$((port + 3))

ready() { running && "$bin/rabbitmqctl" -q --timeout 5 status && port_open "$port"; }

# A client's certificate, and the key that tokens are signed with.
identities() {
    [ -e "$dir/token.pub" ] && return
    openssl req -newkey rsa:2048 -nodes -subj /CN=medulla -keyout "$dir/client.key" -out "$dir/client.csr" 2>>"$dir/log"
    openssl x509 -req -in "$dir/client.csr" -CA "$dir/ca.pem" -CAkey "$dir/ca.key" -CAcreateserial -days 365 \
        -extfile <(echo extendedKeyUsage=clientAuth) -out "$dir/client.pem" 2>>"$dir/log"
    openssl genrsa -out "$dir/token.key" 2048 2>>"$dir/log"
    openssl rsa -in "$dir/token.key" -pubout -out "$dir/token.pub" 2>>"$dir/log"
}

# The certificate's user, and a vhost of its own. They stay with the broker's data.
users() {
    [ -e "$dir/mnesia/with-users" ] && return
    "$bin/rabbitmqctl" -q add_vhost medulla >&2
    "$bin/rabbitmqctl" -q add_user medulla of-the-tests >&2
    "$bin/rabbitmqctl" -q set_permissions -p medulla medulla '.*' '.*' '.*' >&2
    touch "$dir/mnesia/with-users"
}

base64url() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }

token() {
    local head claims
    head=$(printf '{"alg":"RS256","kid":"tests"}' | base64url)
    claims=$(printf '{"sub":"by-token","aud":["medulla"],"scope":["medulla.configure:medulla/*","medulla.read:medulla/*","medulla.write:medulla/*"],"exp":%d}' \
        $(($(date +%s) + $1)) | base64url)
    echo "$head.$claims.$(printf %s "$head.$claims" | openssl dgst -sha256 -sign "$dir/token.key" -binary | base64url)"
}

start() {
    if running; then say "runs already"; return; fi
    need "$bin/rabbitmq-server" rabbitmq-server
    port_open "$port" && die "port $port is taken; set MEDULLA_RABBITMQ_PORT"
    mkdir -p "$dir/mnesia" "$dir/logs"
    echo '[rabbitmq_auth_mechanism_ssl,rabbitmq_auth_backend_oauth2].' >"$dir/enabled_plugins"
    : >"$dir/rabbitmq-env.conf"
    certificates
    identities
    cat >"$dir/rabbitmq.conf" <<CONF
vm_memory_high_watermark.relative = 0.2
listeners.ssl.1 = 127.0.0.1:$tls_port
ssl_options.cacertfile = $dir/ca.pem
ssl_options.certfile = $dir/server.pem
ssl_options.keyfile = $dir/server.key
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = false
ssl_cert_login_from = common_name
auth_mechanisms.1 = PLAIN
auth_mechanisms.2 = AMQPLAIN
auth_mechanisms.3 = EXTERNAL
auth_backends.1 = internal
auth_backends.2 = rabbit_auth_backend_oauth2
auth_oauth2.resource_server_id = medulla
auth_oauth2.default_key = tests
auth_oauth2.signing_keys.tests = $dir/token.pub
auth_oauth2.algorithms.1 = RS256
CONF
    # The server script becomes the Erlang VM (exec), so its process id is the broker's.
    say "starting on 127.0.0.1:$port"
    setsid "$bin/rabbitmq-server" >"$dir/log.run" 2>&1 </dev/null &
    echo $! >"$dir/pid"
    wait_until 90 "it to start" ready || { tail -n 20 "$dir/log.run" >&2; die "did not start; see $dir/log.run"; }
    cp "$dir/rabbitmq.pid" "$dir/pid" 2>/dev/null || true
    users
    say "ready"
}

end() {
    signal "$1" "$2"
    # Left behind by the VM; a later start brings its own.
    epmd -port "$ERL_EPMD_PORT" -kill >/dev/null 2>&1 || true
}

case ${1:-} in
start)
    [ -n "${AMQP_URL:-}" ] && { say "using the broker that AMQP_URL names"; echo "export AMQP_URL=$AMQP_URL"; exit; }
    start
    echo "export AMQP_URL=amqp://guest:guest@127.0.0.1:$port/%2f"
    echo "export AMQPS_URL=amqps://guest:guest@localhost:$tls_port/%2f AMQPS_CA=$dir/ca.pem"
    echo "export AMQPS_SIGN_IN=amqps://localhost:$tls_port/medulla AMQPS_CERT=$dir/client.pem AMQPS_KEY=$dir/client.key"
    echo "export AMQP_TOKEN_SCRIPT=$here/rabbitmq.sh"
    ;;
token) token "$2" ;;
stop) end TERM 30 ;;
kill) end KILL 5 ;;
restart) end TERM 30; start ;;
wipe) end TERM 30; rm -rf "$dir/mnesia" "$dir/logs" "$dir/log.run" ;;
*) echo "usage: rabbitmq.sh start|stop|restart|kill|wipe|token SECONDS" >&2; exit 2 ;;
esac
