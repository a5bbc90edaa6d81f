#!/usr/bin/env bash
# Tries wharf's pages in a real browser: Debian's Chromium without a window, driven by playwright-core.
#
#   tests/browser/run.sh [WHARF]            the binary, by default target/release/wharf
#   WHARF_SCREENSHOTS=DIR tests/browser/run.sh     keeps pictures of the pages as well
#
# Each *.test.mjs beside it is run by Node's own test runner; it ends with 0 only if all of them passed.
#
# Needed: bash, openssl, Node 18 or newer with npm. Chromium is installed by apt when it is missing and this is root;
# CHROMIUM names another one. playwright-core comes from npm, once, into WHARF_TOOLS_DIR (by default
# ~/.cache/wharf-tools), without a browser of its own; nothing is written into the tree.
set -euo pipefail
exec </dev/null

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)

# Long enough for a slow machine; reached only when something hangs.
readonly limit_secs=1200

die() {
  echo "run.sh: $*" >&2
  exit 2
}

[[ $# -le 1 ]] || die 'usage: run.sh [WHARF]'
wharf=${1:-$root/target/release/wharf}
[[ -x $wharf ]] || die "$wharf is not there; build it, or give the path of another one"
WHARF_BIN=$(realpath "$wharf")

for tool in openssl node npm timeout; do
  command -v "$tool" >/dev/null || die "$tool is missing"
done

export CHROMIUM=${CHROMIUM:-/usr/bin/chromium}
if [[ ! -x $CHROMIUM ]]; then
  [[ $CHROMIUM == /usr/bin/chromium ]] && ((EUID == 0)) && command -v apt-get >/dev/null ||
    die "$CHROMIUM is missing: install chromium, or name another one in CHROMIUM"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update --quiet >&2
  apt-get install --quiet --yes --no-install-recommends chromium fonts-liberation >&2
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

tools=${WHARF_TOOLS_DIR:-${HOME:-$work}/.cache/wharf-tools}
if ! mkdir -p "$tools" 2>/dev/null || [[ ! -w $tools ]]; then
  echo "run.sh: $tools can't be written to; playwright-core is installed for this run only" >&2
  tools=$work/tools
  mkdir -p "$tools"
fi
tools=$(cd "$tools" && pwd)

# An installation becomes visible under its final name only when it is complete, so that a run that was stopped
# in the middle leaves nothing that the next one would trust.
modules=$tools/npm-$(cat "$here/package.json" "$here/package-lock.json" | openssl dgst -sha256 -r | cut -c 1-16)
if [[ ! -d $modules ]]; then
  fresh=$(mktemp -d "$tools/new.XXXXXX")
  cp "$here/package.json" "$here/package-lock.json" "$fresh"
  (cd "$fresh" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2) || {
    rm -rf "$fresh"
    die 'npm ci failed'
  }
  mv -T "$fresh" "$modules" 2>/dev/null || rm -rf "$fresh"
fi

export WHARF_BIN WHARF_NODE_DIR=$modules
# What the browser and the servers leave behind goes with this run.
export TMPDIR=$work
timeout --kill-after=10 "$limit_secs" node --test "$here"/*.test.mjs
