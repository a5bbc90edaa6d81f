#!/usr/bin/env bash
# `wharf doctor` on another tus server, @tus/server with its file store: directly, behind nginx as in deploy/nginx.conf, and
# behind the same with mistakes.
#
#   tests/doctor/run.sh [WHARF]            the binary, by default target/release/wharf
#
# Needed: bash, openssl, nginx, Node 18 or newer with npm. The server comes from npm, once, into WHARF_TOOLS_DIR (by default
# ~/.cache/wharf-tools). Prints a line for each scenario, and ends with 0 only if all of them passed.
set -euo pipefail
exec </dev/null

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
PATH=$PATH:/usr/sbin
# Long enough for a slow machine; reached only when something hangs.
readonly start_limit_secs=30 doctor_limit_secs=120

die() {
  echo "run.sh: $*" >&2
  exit 2
}

[[ $# -le 1 ]] || die 'usage: run.sh [WHARF]'
wharf=$(realpath "${1:-$root/target/release/wharf}")
[[ -x $wharf ]] || die "$wharf is not there; build it, or give the path of another one"
for tool in openssl nginx node npm timeout; do
  command -v "$tool" >/dev/null || die "$tool is missing"
done

work=$(mktemp -d)
children=()
clean_up() {
  if ((${#children[@]} > 0)); then
    kill -KILL "${children[@]}" 2>/dev/null || true
    # Waited for in silence: bash would tell of each.
    wait "${children[@]}" 2>/dev/null || true
  fi
  rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

tools=${WHARF_TOOLS_DIR:-${HOME:-$work}/.cache/wharf-tools}
mkdir -p "$tools"
tools=$(cd "$tools" && pwd)

# Visible under its final name only when it is complete.
install_server() {
  export WHARF_NODE_DIR=$tools/npm-doctor-$(cat "$here/package.json" "$here/package-lock.json" | openssl dgst -sha256 -r | cut -c 1-16)
  [[ -d $WHARF_NODE_DIR ]] && return
  local fresh
  fresh=$(mktemp -d "$tools/new.XXXXXX")
  cp "$here/package.json" "$here/package-lock.json" "$fresh"
  (cd "$fresh" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2) || {
    rm -rf "$fresh"
    die 'npm ci failed'
  }
  mv -T "$fresh" "$WHARF_NODE_DIR" 2>/dev/null || rm -rf "$fresh"
}

# wait_for WHAT COMMAND...: until the command succeeds.
wait_for() {
  local what=$1 limit=$((SECONDS + start_limit_secs))
  shift
  until "$@" 2>/dev/null; do
    ((SECONDS < limit)) || { cat "$work"/*.log >&2; die "waited in vain for $what"; }
    sleep 0.05
  done
}

listens() {
  (: <"/dev/tcp/127.0.0.1/$1")
}

start_server() {
  mkdir "$work/uploads"
  node "$here/server.mjs" "$work/uploads" >"$work/url" 2>"$work/server.log" &
  children+=($!)
  wait_for '@tus/server' grep -q http "$work/url"
  url=$(<"$work/url")
  upstream=${url#http://}
  upstream=${upstream%%/*}
}

# A port that was free a moment ago.
free_port() {
  node --eval "const s = require('net').createServer().listen(0, '127.0.0.1', () => { console.log(s.address().port); s.close() })"
}

# start_nginx SED...: deploy/nginx.conf for plain HTTP in front of the server, with these edits; its URL is in `front`.
start_nginx() {
  local port home expression
  port=$(free_port)
  home=$(mktemp -d "$work/nginx.XXXXXX")
  sed -e "s|server 127.0.0.1:8080;|server $upstream;|" -e "s|listen 443 ssl http2;|listen 127.0.0.1:$port;|" \
    -e '/listen \[::\]/d' -e '/^ *ssl_/d' -e 's|location /files/ {|location /files {|' \
    "$root/deploy/nginx.conf" >"$home/server.conf"
  for expression in "$@"; do
    cp "$home/server.conf" "$home/before"
    sed -i -e "$expression" "$home/server.conf"
    ! cmp -s "$home/before" "$home/server.conf" || die "$expression changes nothing in deploy/nginx.conf"
  done
  cat >"$home/nginx.conf" <<CONF
daemon off; master_process off; pid $home/pid; events {}
http { gzip on; access_log off; client_body_temp_path $home/body; proxy_temp_path $home/proxy;
fastcgi_temp_path $home/fastcgi; uwsgi_temp_path $home/uwsgi; scgi_temp_path $home/scgi;
include $home/server.conf; }
CONF
  nginx -c "$home/nginx.conf" -e stderr 2>"$work/nginx.log" &
  children+=($!)
  wait_for nginx listens "$port"
  front=http://127.0.0.1:$port/files
}

failed=0
# finds NAME URL STATUS CODE...: what the doctor says there, and that nothing stays behind.
finds() {
  local name=$1 at=$2 status=$3 ended=0 found left
  shift 3
  timeout "$doctor_limit_secs" "$wharf" doctor "$at" --pause 1 --json >"$work/report" || ended=$?
  found=$(node --eval 'console.log(JSON.parse(fs.readFileSync(process.argv[1])).findings.map((it) => it.code).join(" "))' "$work/report")
  left=$(find "$work/uploads" -type f | wc -l)
  if [[ $ended == "$status" && $found == "$*" && $left == 0 ]]; then
    echo "ok $name"
  else
    echo "FAIL $name: status $ended, found '$found' instead of '$*', $left files left"
    cat "$work/report" "$work/server.log"
    failed=1
  fi
}

install_server
start_server
finds '@tus/server' "$url" 0
start_nginx
finds '@tus/server behind the shipped nginx.conf' "$front" 0
start_nginx '/proxy_request_buffering off;/d'
finds '@tus/server behind an nginx that buffers' "$front" 1 request-buffered
start_nginx 's/client_max_body_size 0;/client_max_body_size 8m;/'
finds '@tus/server behind an nginx that caps' "$front" 1 body-capped
start_nginx 's/client_max_body_size 0;/proxy_hide_header Upload-Offset; client_max_body_size 0;/'
finds '@tus/server behind an nginx that strips' "$front" 1 response-header-stripped
start_nginx 's/client_max_body_size 0;/if ($request_method = PATCH) { return 405; } client_max_body_size 0;/'
finds '@tus/server behind an nginx that refuses' "$front" 1 method-refused
((failed == 0))
