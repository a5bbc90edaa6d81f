#!/usr/bin/env bash
# Uploads to wharf with real clients: tus-js-client, tuspy and curl.
#
#   tests/clients/run.sh [WHARF]            the binary, by default target/release/wharf
#   tests/clients/run.sh --faults WHARF     a binary built with `--features faults`: panics under a client
#   WHARF_URL=http://HOST:PORT/files/ tests/clients/run.sh     against a server that runs already
#
# It prints one line per scenario and a count, and ends with 0 only if all of them passed and the server, asked
# to stop with SIGTERM, ended with 0.
#
# Needed: bash, curl, openssl, Node 18 or newer with npm, and Python 3.9 or newer with venv. The clients
# themselves come from npm and PyPI, once, into WHARF_TOOLS_DIR (by default ~/.cache/wharf-tools); nothing is
# written into the tree.
set -euo pipefail
exec </dev/null

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)

# Long enough for a slow machine; reached only when something hangs.
readonly start_limit_secs=30 stop_limit_secs=60 script_limit_secs=600

die() {
  echo "run.sh: $*" >&2
  exit 2
}

faults=false
if [[ ${1:-} == --faults ]]; then
  faults=true
  shift
  [[ $# == 1 ]] || die '--faults needs the path of a binary'
fi
[[ $# -le 1 ]] || die 'usage: run.sh [--faults] [WHARF]'
wharf=${1:-$root/target/release/wharf}

for tool in curl openssl node npm python3 timeout; do
  command -v "$tool" >/dev/null || die "$tool is missing"
done

work=$(mktemp -d)
server=''

clean_up() {
  if [[ -n $server ]]; then kill -KILL "$server" 2>/dev/null || true; fi
  rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

tools=${WHARF_TOOLS_DIR:-${HOME:-$work}/.cache/wharf-tools}
if ! mkdir -p "$tools" 2>/dev/null || [[ ! -w $tools ]]; then
  echo "run.sh: $tools can't be written to; the clients are installed for this run only" >&2
  tools=$work/tools
  mkdir -p "$tools"
fi
tools=$(cd "$tools" && pwd)

# fingerprint FILE...: a name for what is installed from these files and standard input.
fingerprint() {
  cat "$@" | openssl dgst -sha256 -r | cut -c 1-16
}

# An installation becomes visible under its final name only when it is complete, so that a run that was stopped
# in the middle leaves nothing that the next one would trust.
install_node_packages() {
  modules=$tools/npm-$(fingerprint "$here/package.json" "$here/package-lock.json")
  [[ -d $modules ]] && return
  local fresh
  fresh=$(mktemp -d "$tools/new.XXXXXX")
  cp "$here/package.json" "$here/package-lock.json" "$fresh"
  (cd "$fresh" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2) || {
    rm -rf "$fresh"
    die 'npm ci failed'
  }
  mv -T "$fresh" "$modules" 2>/dev/null || rm -rf "$fresh"
}

# A virtual environment can't be moved, so a mark inside it says that it is complete.
install_python_packages() {
  local version
  version=$(python3 -c 'import sys; print(sys.executable, sys.version)')
  environment=$tools/python-$(fingerprint "$here/requirements.txt" - <<<"$version")
  [[ -e $environment/complete ]] && return
  rm -rf "$environment"
  python3 -m venv "$environment" >&2 || die 'python3 -m venv failed'
  "$environment/bin/pip" install --quiet --disable-pip-version-check --no-input \
    --requirement "$here/requirements.txt" >&2 || die 'pip install failed'
  : >"$environment/complete"
}

start_server() {
  [[ -x $wharf ]] || die "$wharf is not there; build it, or give the path of another one"
  wharf=$(realpath "$wharf")
  # Its own working directory keeps a settings.toml that lies about from having a say.
  mkdir "$work/run"
  : >"$work/stdout"
  (
    cd "$work/run"
    exec "$wharf" --bind 127.0.0.1:0 --dir "$work/data" --set admin.enabled=false
  ) >"$work/stdout" 2>"$work/stderr" &
  server=$!
  local limit=$((SECONDS + start_limit_secs))
  until WHARF_URL=$(grep -Eom 1 'http://127\.0\.0\.1:[0-9]+/files/' "$work/stdout"); do
    kill -0 "$server" 2>/dev/null || server_failed 'wharf ended before it printed its address'
    ((SECONDS < limit)) || server_failed "wharf printed no address within $start_limit_secs s"
    sleep 0.05
  done
  export WHARF_URL
}

server_failed() {
  show_server_output
  die "$1"
}

show_server_output() {
  echo '--- the end of what wharf wrote ---' >&2
  tail -n 40 "$work/stdout" "$work/stderr" >&2
}

# record LINE: shows and keeps it.
record() {
  echo "$1" | tee -a "$work/results"
}

stop_server() {
  local limit=$((SECONDS + stop_limit_secs)) ended=0
  if ! kill -TERM "$server" 2>/dev/null; then
    wait "$server" || ended=$?
    record "FAIL wharf: it was gone before it was asked to stop, with status $ended"
  else
    while kill -0 "$server" 2>/dev/null && ((SECONDS < limit)); do sleep 0.05; done
    if kill -KILL "$server" 2>/dev/null; then
      record "FAIL wharf: SIGTERM: it still ran after $stop_limit_secs s"
      wait "$server" 2>/dev/null || true
    else
      wait "$server" || ended=$?
      if ((ended == 0)); then
        record 'ok wharf: SIGTERM ends it with status 0'
      else
        record "FAIL wharf: SIGTERM ended it with status $ended"
      fi
    fi
  fi
  server=''
}

# script NAME COMMAND...: runs it. A script that breaks off, or that shows nothing, is a failure too.
script() {
  local name=$1 lines=$work/lines ended=0
  shift
  timeout --kill-after=10 "$script_limit_secs" "$@" 2>"$work/errors" | tee "$lines" || ended=$?
  cat "$lines" >>"$work/results"
  [[ ! -s $work/errors ]] || cat "$work/errors" >&2
  if [[ ! -s $lines ]] || { ((ended != 0)) && ! grep -q '^FAIL ' "$lines"; }; then
    record "FAIL $name: the script ended with status $ended"
  fi
}

: >"$work/results"
install_node_packages
export WHARF_NODE_DIR=$modules
if [[ $faults == false ]]; then install_python_packages; fi

if [[ -z ${WHARF_URL:-} ]]; then
  if [[ $faults == true ]]; then
    export WHARF_FAULTS=$work/faults
    : >"$WHARF_FAULTS"
  fi
  start_server
elif [[ $faults == true && -z ${WHARF_FAULTS:-} ]]; then
  die 'with WHARF_URL, --faults needs WHARF_FAULTS: the control file that the server reads'
fi

if [[ $faults == true ]]; then
  script panic.mjs node "$here/panic.mjs"
else
  script curl.sh bash "$here/curl.sh"
  script tus-js.mjs node "$here/tus-js.mjs"
  script page.mjs node "$here/page.mjs"
  script tuspy.py "$environment/bin/python" -B "$here/tuspy.py"
fi

if [[ -n $server ]]; then stop_server; fi

passed=$(grep -c '^ok ' "$work/results" || true)
failed=$(grep -c '^FAIL ' "$work/results" || true)
if ((failed > 0)) && [[ -e $work/stdout ]]; then show_server_output; fi
echo "$passed passed, $failed failed"
((failed == 0))
