#!/usr/bin/env bash
# Uploads to wharf whose metadata says what their hooks are to do: by files, by HTTP and by gRPC, one after the other.
#
#   tests/hooks/run.sh [WHARF]      a binary, by default target/release/wharf; built without gRPC, it is spared that
#
# It prints one line per scenario and a count, and ends with 0 only if all of them passed.
#
# Needed: Python 3.9 or newer with venv. What gRPC needs comes from PyPI, once, into WHARF_TOOLS_DIR (by default
# ~/.cache/wharf-tools).
set -euo pipefail
exec </dev/null

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
wharf=$(realpath "${1:-$here/../../target/release/wharf}")
tools=${WHARF_TOOLS_DIR:-$HOME/.cache/wharf-tools}
requirements=$here/servers/requirements.txt
environment=$tools/hooks-$(sha256sum "$requirements" | cut -c 1-16)

transports=(file http)
# A binary that has no gRPC says so when it is asked to use it.
if "$wharf" check --set hooks.grpc.url=http://127.0.0.1:1 >/dev/null 2>&1; then transports+=(grpc); fi

if [[ ${#transports[@]} == 3 && ! -e $environment/complete ]]; then
  rm -rf "$environment"
  python3 -m venv "$environment"
  "$environment/bin/pip" install --quiet --disable-pip-version-check --no-input --requirement "$requirements"
  : >"$environment/complete"
fi

ended=0
for transport in "${transports[@]}"; do
  python=python3
  [[ $transport != grpc ]] || python=$environment/bin/python
  "$python" -B "$here/scenarios.py" "$wharf" "$transport" || ended=1
done
exit "$ended"
