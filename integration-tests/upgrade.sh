#!/usr/bin/env bash
# Rolling upgrade from an earlier revision to this one, with both as processes. See --help.
set -euo pipefail

usage() {
    cat <<'HELP'
usage: integration-tests/upgrade.sh REV

Builds `medulla` of an earlier revision in a folder of its own (target/earlier), and this one, then runs
integration-tests/tests/it/upgrade.rs: three sites of the earlier release go on to this one under load.
The first build of an earlier revision takes about as long as one on a fresh machine.

example: integration-tests/upgrade.sh HEAD~20

MEDULLA_UPGRADE_SEED replays order, victims and the release of the site that joins meanwhile.
HELP
}

case ${1:-} in
-h | --help) usage; exit 0 ;;
'' | -*) usage >&2; exit 2 ;;
esac

cd "$(dirname "${BASH_SOURCE[0]}")/.."
rev=$(git rev-parse --verify --quiet "$1^{commit}") || { echo "upgrade.sh: git knows no revision $1" >&2; exit 2; }
. deploy/build-env.sh
earlier=$PWD/target/earlier
tree=$earlier/$rev
if [ ! -e "$tree/.whole" ]; then
    mkdir -p "$tree"
    git archive "$rev" | tar -x -C "$tree"
    touch "$tree/.whole"
fi
say "building medulla of $1 (${rev:0:7})"
(cd "$tree" && CARGO_TARGET_DIR=$earlier/target cargo build --locked -p node)
# The next revision is built in the same folder.
cp "$earlier/target/debug/medulla" "$tree/medulla"
say "building this one"
cargo build --locked -p node
MEDULLA_EARLIER=$tree/medulla MEDULLA_EARLIER_MODEL=$tree/ml-scoring/models/sepsis \
    cargo test --locked -p integration-tests --test it upgrade:: -- --nocapture
