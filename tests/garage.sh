#!/usr/bin/env bash
# A real S3 for the tests: Garage (https://garagehq.deuxfleurs.fr) as one node with one empty bucket, on free ports of
# 127.0.0.1, gone when the command has ended.
#
#   tests/garage.sh COMMAND [ARGUMENT...]   runs the command with WHARF_TEST_S3 and what belongs to it
#   tests/garage.sh --install               builds Garage into the cache, once; it takes minutes
#
# The cache is WHARF_TOOLS_CACHE, by default ~/.cache/wharf-tools. Needed: bash, curl, od, and for building what Rust
# needs. It ends with the command's status.
set -euo pipefail

readonly version=2.5.0
# Long enough for a slow machine; reached only when something hangs.
readonly start_limit_secs=60 stop_limit_secs=30

root=${WHARF_TOOLS_CACHE:-${HOME:?}/.cache/wharf-tools}/garage-$version
garage=$root/bin/garage

die() {
  echo "garage.sh: $*" >&2
  exit 2
}

# Cargo puts the program into its place when it is complete, so one that is there is whole. What a broken build has
# done is found by the next.
install() {
  if [[ -x $garage ]]; then
    echo "garage.sh: $garage is there"
    return
  fi
  mkdir -p "$root"
  CARGO_TARGET_DIR=$root/build nice -n 10 cargo install garage --locked --version "$version" \
    --no-default-features --features lmdb,bundled-libs --root "$root"
  [[ -x $garage ]] || die "cargo did not install $garage"
  rm -rf "$root/build"
}

[[ $# -ge 1 ]] || die 'usage: garage.sh COMMAND [ARGUMENT...], or garage.sh --install'
if [[ $1 == --install ]]; then
  install
  exit
fi
[[ -x $garage ]] || die "$garage is missing: garage.sh --install builds it"

work=$(mktemp -d)
server=''

stop() {
  [[ -n $server ]] || return 0
  kill -TERM "$server" 2>/dev/null || true
  local deadline=$((SECONDS + stop_limit_secs))
  while kill -0 "$server" 2>/dev/null; do
    if ((SECONDS >= deadline)); then kill -KILL "$server" 2>/dev/null || true; fi
    sleep 0.1
  done
  server=''
}

clean_up() {
  stop
  rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

random_hex() {
  od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n'
}

export AWS_ACCESS_KEY_ID=GK$(random_hex 12) AWS_SECRET_ACCESS_KEY=$(random_hex 32) AWS_REGION=garage
export WHARF_TEST_S3_BUCKET=wharf-test
unset AWS_SESSION_TOKEN AWS_PROFILE

# Below the ports that the system gives to clients. One that is taken ends Garage, and others are tried.
start() {
  local port=$((20000 + RANDOM % 10000))
  export WHARF_TEST_S3=http://127.0.0.1:$port
  rm -rf "$work/meta" "$work/data"
  cat >"$work/garage.toml" <<END
metadata_dir = "$work/meta"
data_dir = "$work/data"
db_engine = "lmdb"
replication_factor = 1
rpc_bind_addr = "127.0.0.1:$((port - 10000))"
rpc_public_addr = "127.0.0.1:$((port - 10000))"
rpc_secret = "$(random_hex 32)"
[s3_api]
api_bind_addr = "127.0.0.1:$port"
s3_region = "$AWS_REGION"
END
  GARAGE_DEFAULT_ACCESS_KEY=$AWS_ACCESS_KEY_ID GARAGE_DEFAULT_SECRET_KEY=$AWS_SECRET_ACCESS_KEY \
    GARAGE_DEFAULT_BUCKET=$WHARF_TEST_S3_BUCKET RUST_LOG=${RUST_LOG:-garage=warn} \
    "$garage" -c "$work/garage.toml" server --single-node --default-bucket >"$work/log" 2>&1 </dev/null &
  server=$!
  local deadline=$((SECONDS + start_limit_secs))
  # It serves when it refuses who has no key.
  until [[ $(curl --noproxy "*" --silent --output "$work/answer" --write-out '%{http_code}' "$WHARF_TEST_S3/") == 403 ]] &&
    grep -q '<Code>AccessDenied</Code>' "$work/answer"; do
    kill -0 "$server" 2>/dev/null || return 1
    ((SECONDS < deadline)) || return 1
    sleep 0.1
  done
}

for attempt in 1 2 3 4 5; do
  if start; then break; fi
  stop
  if ((attempt == 5)); then
    cat "$work/log" >&2
    die 'Garage does not start'
  fi
done

status=0
"$@" || status=$?
if ((status != 0)); then
  echo 'garage.sh: the end of what Garage wrote:' >&2
  tail -n 40 "$work/log" >&2
fi
exit "$status"
