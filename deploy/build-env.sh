# Sourced by deploy/demo.sh, integration-tests/run.sh and .ci/run: makes this machine able to build Medulla.
# Installs what is missing (and says what), keeps the one slow native library in a user cache, and exports
# what cargo needs. Safe to source again: it does nothing twice.

say() { printf '\033[1m==> %s\033[0m\n' "$*" >&2; }

as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi; }

# need_packages PACKAGE… installs the Debian packages that are missing.
need_packages() {
  local missing=() package
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  say "installing from Debian/Ubuntu: ${missing[*]}"
  as_root apt-get update -qq
  # Servers from packages are started by our own scripts, with ports and folders of their own.
  as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
}

need_rust() {
  local wanted have
  wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$MEDULLA_ROOT/Cargo.toml" | head -n 1)
  [ -x "$HOME/.cargo/bin/cargo" ] && PATH="$HOME/.cargo/bin:$PATH"
  have=$(cargo --version 2>/dev/null | awk '{print $2}')
  if [ -n "$have" ] && [ "$(printf '%s\n%s\n' "$wanted" "$have" | sort -V | head -n 1)" = "$wanted" ]; then
    return 0
  fi
  say "installing Rust $wanted or newer by rustup (found: ${have:-none})"
  need_packages curl ca-certificates
  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal -c rustfmt -c clippy >&2
  PATH="$HOME/.cargo/bin:$PATH"
}

# RocksDB takes as long to compile as all the rest together, so one build serves every clone of this user.
need_rocksdb() {
  local version compiler key dir log
  version=$(awk '/^name = "librocksdb-sys"/ { getline; gsub(/version = |"/, ""); print }' "$MEDULLA_ROOT/Cargo.lock")
  # clang++ compiles it a fifth faster; g++ does as well.
  if command -v clang++ >/dev/null && command -v clang >/dev/null; then compiler=clang; else compiler=gcc; fi
  key="$version-lz4-zstd-$(uname -m)-$compiler$($compiler -dumpversion | cut -d. -f1)"
  dir="$MEDULLA_CACHE/rocksdb/$key"
  if [ ! -f "$dir/librocksdb.a" ]; then
    log="$MEDULLA_CACHE/rocksdb-$key.log"
    say "compiling RocksDB once for this user (10 to 30 minutes on 2 cores); log: $log"
    mkdir -p "$dir"
    (
      cd "$MEDULLA_ROOT" || exit 1
      unset ROCKSDB_LIB_DIR ROCKSDB_STATIC
      if [ $compiler = clang ]; then export CC=clang CXX=clang++; else export CC=gcc CXX=g++; fi
      exec cargo build --locked -p librocksdb-sys --target-dir "$MEDULLA_CACHE/rocksdb-build"
    ) >"$log" 2>&1 &
    watch_rocksdb $! "$log" || return 1
    cp "$(find "$MEDULLA_CACHE/rocksdb-build" -name librocksdb.a | head -n 1)" "$dir/librocksdb.a.part"
    mv "$dir/librocksdb.a.part" "$dir/librocksdb.a"
    rm -rf "$MEDULLA_CACHE/rocksdb-build"
  fi
  export ROCKSDB_LIB_DIR="$dir" ROCKSDB_STATIC=1
}

# watch_rocksdb PID LOG shows how many of about 350 files are compiled.
watch_rocksdb() {
  local started=$SECONDS count
  while kill -0 "$1" 2>/dev/null; do
    sleep 5
    count=$(find "$MEDULLA_CACHE/rocksdb-build" -path '*librocksdb-sys*' -name '*.o' 2>/dev/null | wc -l)
    printf '    RocksDB: %s of about 350 files, %s s\n' "$count" $((SECONDS - started)) >&2
    sleep 10
  done
  wait "$1" && return 0
  say "RocksDB did not compile; the end of $2:"
  tail -n 20 "$2" >&2
  return 1
}

MEDULLA_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
MEDULLA_CACHE="${XDG_CACHE_HOME:-$HOME/.cache}/medulla"
mkdir -p "$MEDULLA_CACHE"
need_packages build-essential pkg-config libclang-dev libssl-dev zlib1g-dev
need_rust
need_rocksdb || exit 1
# A continuous-integration run clones afresh each time; its build may stay.
if [ "${CI:-}" = true ]; then export CARGO_TARGET_DIR="$MEDULLA_CACHE/target"; fi
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$MEDULLA_ROOT/target}"
