# Sourced by kafka.sh and rabbitmq.sh: where things live, installing, waiting. Progress goes to stderr.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
state_root=${MEDULLA_BROKER_STATE:-$here/../.state}

say() { echo "$name: $*" >&2; }
die() { say "$*"; exit 1; }

# need COMMAND PACKAGE...: installs the Debian packages when the command (or file) is missing.
need() {
    local wanted=$1 sudo=
    shift
    if command -v "$wanted" >/dev/null || [ -x "$wanted" ]; then return; fi
    [ "$(id -u)" = 0 ] || sudo=sudo
    command -v apt-get >/dev/null || die "$wanted is missing; install $* and run this again"
    say "installing $*, because $wanted is missing"
    $sudo apt-get update -q >&2 && DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -q \
        --no-install-recommends "$@" >&2 || die "could not install $*"
}

port_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

running() { [ -s "$dir/pid" ] && kill -0 "$(cat "$dir/pid")" 2>/dev/null; }

# wait_until SECONDS WHAT COMMAND...: polls twice a second, says every 5 s that it still waits.
wait_until() {
    local seconds=$1 what=$2 i=0
    shift 2
    until "$@" >/dev/null 2>&1; do
        i=$((i + 1))
        [ $((i % 10)) = 0 ] && say "waiting for $what, $((i / 2)) s"
        [ $i -gt $((seconds * 2)) ] && return 1
        sleep 0.5
    done
}

stopped() { ! running; }

# signal NAME SECONDS: sends it to the broker and waits for the end.
signal() {
    running || { rm -f "$dir/pid"; return 0; }
    kill -"$1" "$(cat "$dir/pid")"
    wait_until "$2" "its end" stopped || { say "does not end, killing it"; kill -KILL "$(cat "$dir/pid")"; }
    rm -f "$dir/pid"
}

# certificates: an authority and a certificate for localhost in $dir, for the tests of TLS.
certificates() {
    need openssl openssl
    [ -e "$dir/server.pem" ] && return
    openssl req -x509 -newkey rsa:2048 -nodes -days 365 -subj /CN=medulla-test-authority \
        -keyout "$dir/ca.key" -out "$dir/ca.pem" 2>>"$dir/log"
    openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout "$dir/server.key" -out "$dir/server.csr" 2>>"$dir/log"
    openssl x509 -req -in "$dir/server.csr" -CA "$dir/ca.pem" -CAkey "$dir/ca.key" -CAcreateserial -days 365 \
        -extfile <(echo "subjectAltName=DNS:localhost,IP:127.0.0.1") -out "$dir/server.pem" 2>>"$dir/log"
}
