#!/usr/bin/env bash
# Runs a valgrind that knows openat2, without which wharf's store does not start: the one that is installed if it is 3.24 or
# newer, else Debian's package of that version, unpacked once into WHARF_TOOLS_DIR (by default ~/.cache/wharf-tools). Its
# tools are linked statically, so that it runs on older systems.
set -euo pipefail

readonly version=3.24.0-3
readonly digest=0359e30820ccee7ee5c8d4c951ca276e3978b18f157d71bd77981de05b344907
readonly origin=http://deb.debian.org/debian/pool/main/v/valgrind/valgrind_${version}_amd64.deb

is_new() {
  local found
  found=$("$1" --version 2>/dev/null) || return 1
  [[ $(printf '%s\n' valgrind-3.24 "$found" | sort --version-sort | head -n 1) == valgrind-3.24 ]]
}

if is_new valgrind; then
  exec valgrind "$@"
fi

tools=${WHARF_TOOLS_DIR:-$HOME/.cache/wharf-tools}
place=$tools/valgrind-$version
if [[ ! -d $place ]]; then
  mkdir -p "$tools"
  fresh=$(mktemp -d "$tools/new.XXXXXX")
  trap 'rm -rf "$fresh"' EXIT
  curl --silent --show-error --fail --location --output "$fresh/valgrind.deb" "$origin"
  echo "$digest  $fresh/valgrind.deb" | sha256sum --check --quiet
  dpkg-deb --extract "$fresh/valgrind.deb" "$fresh/root"
  mv -T "$fresh/root" "$place" 2>/dev/null || true
  rm -rf "$fresh"
  trap - EXIT
fi
export VALGRIND_LIB=$place/usr/libexec/valgrind
exec "$place/usr/bin/valgrind.bin" "$@"
