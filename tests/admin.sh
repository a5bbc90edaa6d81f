#!/usr/bin/env bash
# Holds the admin endpoint of a wharf binary against what others expect of it: its metrics, and
# the alerts on them, against promtool, and all its operations but the endless one against their own description, with
# schemathesis.
#
#   tests/admin.sh [WHARF]
#
# schemathesis comes from PyPI, once, into $WHARF_TOOLS_DIR; promtool is in Debian's package prometheus.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

wharf=$(realpath "${1:-target/release/wharf}")
tools=${WHARF_TOOLS_DIR:-$HOME/.cache/wharf-tools}
version=4.32.5
token=not-a-secret-but-long
environment=$tools/schemathesis-$version

if [[ ! -e $environment/complete ]]; then
  rm -rf "$environment"
  python3 -m venv "$environment"
  "$environment/bin/pip" install --quiet --disable-pip-version-check --no-input "schemathesis==$version"
  : >"$environment/complete"
fi

work=$(mktemp -d)
server=
end() {
  [[ -z $server ]] || kill "$server" 2>/dev/null || true
  wait
  rm -rf "$work"
}
trap end EXIT

promtool check rules deploy/alerts.yml

cd "$work"
# Nobody is there to be told that an upload is finished, so that this is owed.
hooks=(--set hooks.events=post-finish --set hooks.http.url=http://127.0.0.1:9/ --set hooks.http.attempts=1)
"$wharf" --bind 127.0.0.1:0 --dir data --set admin.bind=127.0.0.1:0 --set "admin.token=$token" "${hooks[@]}" >stdout 2>stderr &
server=$!
for ((tries = 0; tries < 600; tries++)); do
  grep -q '^and tells of itself at' stdout && break
  kill -0 "$server" || { cat stderr; exit 1; }
  sleep 0.05
done
base=$(grep -Eom 1 'http://[^ ]+/files/' stdout)
admin=$(sed -n 's|^and tells of itself at \(.*\)/$|\1|p' stdout)

# Something to look at: finished and unfinished uploads, and a refused request.
ids=()
for body in hello '' world '' again ''; do
  location=$(curl --silent --show-error --include --request POST "$base" --header 'Tus-Resumable: 1.0.0' \
    --header 'Upload-Length: 5' --header 'Content-Type: application/offset+octet-stream' --data "$body" |
    tr -d '\r' | sed -n 's|^location: /files/||p')
  ids+=("$location")
done
curl --silent --output /dev/null "$base/none"
# The same with the events that the application was not told.
owed=$(curl --silent --show-error --fail --header "Authorization: Bearer $token" "$admin/hooks" |
  grep -Eo '"event_id":"[^"]+"' | cut -d '"' -f 4)
[[ -n $owed ]]

for format in text/plain application/openmetrics-text; do
  curl --silent --show-error --fail --header "Authorization: Bearer $token" --header "Accept: $format" "$admin/metrics" >metrics
  [[ $format != text/plain ]] || promtool check metrics <metrics
done
[[ $(tail -n 1 metrics) == '# EOF' ]]

# Among invented ids and names of events, some that there are.
list=$(printf '"%s", ' "${ids[@]}")
# shellcheck disable=SC2086 # a name has no spaces
events=$(printf '"%s", ' $owed)
cat >schemathesis.toml <<END
[dictionaries.ids]
values = [${list%, }]

[dictionaries.events]
values = [${events%, }]

# A body that is too large is refused as such.
[checks]
negative_data_rejection.expected-statuses = [400, 401, 403, 404, 405, 406, 409, 413, 415, 422, 428, 429, "5xx"]

[parameters]
"path.event_id" = { dictionary = "events", probability = 0.5 }
"path.id" = { dictionary = "ids", probability = 0.5 }
END
"$environment/bin/schemathesis" --config-file schemathesis.toml run "$admin/openapi.json" --url "$admin" \
  --header "Authorization: Bearer $token" --checks all --exclude-operation-id events \
  --max-examples "${WHARF_SCHEMA_EXAMPLES:-25}" --seed 1 --no-color
