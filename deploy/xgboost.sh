#!/usr/bin/env bash
# Where libxgboost 3.4 is, for `medulla-train` (training only; scoring needs no libxgboost).
#
#   source deploy/xgboost.sh        exports XGBOOST_LIB_DIR
#   deploy/xgboost.sh               prints the folder
#
# The library comes out of the official CPU wheel (6 MB) into the user's cache, checked by hash. An XGBOOST_LIB_DIR that
# is set already is taken as it is. Where no wheel fits, unset it and build with `--features train,xgb/local_build`
# (cmake and ninja; 7 to 20 minutes).

xgboost_lib_dir() {
  local version=3.4.0 cache dir wheels requirement
  if [ -n "${XGBOOST_LIB_DIR:-}" ]; then
    printf '%s\n' "$XGBOOST_LIB_DIR"
    return 0
  fi
  cache="${XDG_CACHE_HOME:-$HOME/.cache}/medulla"
  dir="$cache/xgboost-$version-$(uname -m)"
  if [ ! -e "$dir/xgboost/lib/libxgboost.so.3" ]; then
    if ! python3 -m pip --version >/dev/null 2>&1; then
      printf 'xgboost.sh: python3 with pip is needed to fetch libxgboost (Debian: python3-pip),\n' >&2
      printf '  or set XGBOOST_LIB_DIR to a folder with libxgboost.so of XGBoost %s,\n' "$version" >&2
      printf '  or build with --features train,xgb/local_build\n' >&2
      return 1
    fi
    printf '==> fetching libxgboost %s (6 MB)\n' "$version" >&2
    wheels=$(mktemp -d)
    requirement="$wheels/requirements.txt"
    # x86_64 and aarch64
    printf 'xgboost-cpu==%s --hash=sha256:%s --hash=sha256:%s\n' "$version" \
      9818d48e5277527015419073a418a76c99cf5b094dbf1287533ea6a9f0b86301 \
      454eb0cac636cc34714e3bc92d9eb25f172ca0f971cdaaf658fa40e3324eb063 >"$requirement"
    if ! python3 -m pip download --quiet --disable-pip-version-check --require-hashes --no-deps \
      --only-binary=:all: --python-version 3.12 --dest "$wheels" -r "$requirement" >&2; then
      printf 'xgboost.sh: no wheel of xgboost-cpu %s for this machine, or no network;\n' "$version" >&2
      printf '  build with --features train,xgb/local_build instead\n' >&2
      rm -rf "$wheels"
      return 1
    fi
    rm -rf "$dir.part"
    mkdir -p "$dir.part"
    # `xgboost_cpu.libs` holds the OpenMP runtime that the library looks for beside itself.
    python3 -m zipfile -e "$wheels"/xgboost_cpu-*.whl "$dir.part"
    ln -s libxgboost.so "$dir.part/xgboost/lib/libxgboost.so.3"
    rm -rf "$dir" "$wheels"
    mv "$dir.part" "$dir"
  fi
  printf '%s\n' "$dir/xgboost/lib"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  xgboost_lib_dir
else
  XGBOOST_LIB_DIR=$(xgboost_lib_dir) && export XGBOOST_LIB_DIR
fi
