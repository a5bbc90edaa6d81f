#!/usr/bin/env bash
# Uploads with curl, one scenario per way to use it. WHARF_URL names the server.
# shellcheck disable=SC2317 # the scenarios are called by name
set -euo pipefail

: "${WHARF_URL:?must hold the address of the uploads, like http://127.0.0.1:8080/files/}"
origin=${WHARF_URL#http://}
origin=http://${origin%%/*}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
readonly resumable='Tus-Resumable: 1.0.0'
readonly offset_type='Content-Type: application/offset+octet-stream'
readonly mebibyte=1048576

fail() {
  printf '%s\n' "$*" >"$work/reason"
  exit 1
}

# request CURL-ARGUMENTS...: leaves the answer in $status, $work/head and $work/body.
request() {
  status=$(curl --silent --show-error --max-time 60 --expect100-timeout 30 --header "$resumable" \
    --dump-header "$work/head" --output "$work/body" --write-out '%{http_code}' "$@" 2>"$work/error") ||
    fail "curl: $(tr -s '\n\r' ' ' <"$work/error")"
}

expect_status() {
  [[ $status == "$1" ]] || fail "status $status, not $1: $(head -c 200 "$work/body" 2>/dev/null | tr -cd '[:print:]')"
}

# header NAME: its value in the last answer, which follows any interim ones.
header() {
  tr -d '\r' <"$work/head" | awk -v name="$1" '
    /^HTTP\// { value = "" }
    { at = index($0, ":") }
    at && tolower(substr($0, 1, at - 1)) == tolower(name) {
      value = substr($0, at + 1)
      sub(/^[ \t]+/, "", value)
    }
    END { print value }'
}

expect_header() {
  local value
  value=$(header "$1")
  [[ $value == "$2" ]] || fail "$1 is '$value', not '$2'"
}

# expect_listed HEADER ITEM...: every item is in the header's comma-separated list, in whatever case.
expect_listed() {
  local name=$1 list item
  shift
  list=$(header "$name" | tr -d ' ' | tr '[:upper:]' '[:lower:]')
  for item in "$@"; do
    [[ ,$list, == *",${item,,},"* ]] || fail "$name does not list $item: '$list'"
  done
}

# Makes an upload of that length and leaves its address in $url.
create() {
  request --request POST --header "Upload-Length: $1" "${@:2}" "$WHARF_URL"
  expect_status 201
  locate
}

locate() {
  local location
  location=$(header Location)
  case $location in
    http://*) url=$location ;;
    /*) url=$origin$location ;;
    *) fail "Location is '$location'" ;;
  esac
}

# append OFFSET FILE CURL-ARGUMENTS...
append() {
  request --request PATCH --header "$offset_type" --header "Upload-Offset: $1" --header 'Expect:' \
    --data-binary "@$2" "${@:3}" "$url"
}

inspect() {
  request --head "$url"
  expect_status 200
}

expect_stored() {
  request "$url"
  expect_status 200
  [[ $(digest "$work/body") == $(digest "$1") ]] || fail 'the SHA-256 of what GET returns differs'
}

digest() {
  openssl dgst -sha256 -r "$1" | cut -d ' ' -f 1
}

# payload SIZE: fills $work/payload.
payload() {
  head -c "$1" /dev/urandom >"$work/payload"
}

# checksum ALGORITHM FILE: a value for Upload-Checksum.
checksum() {
  printf '%s %s' "$1" "$(openssl dgst "-$1" -binary "$2" | openssl base64 -A)"
}

# stored SIZE: a finished upload of that many bytes, equal to $work/payload.
stored() {
  payload "$1"
  create "$1" --header 'Expect:' --header "$offset_type" --data-binary "@$work/payload"
  expect_header Upload-Offset "$1"
}

creation_and_patch() {
  payload 3000017
  create 3000017
  append 0 "$work/payload"
  expect_status 204
  expect_header Upload-Offset 3000017
  expect_header Tus-Resumable 1.0.0
  expect_stored "$work/payload"
}

creation_with_upload() {
  stored 700001
  inspect
  expect_header Upload-Offset 700001
  expect_stored "$work/payload"
}

inspection() {
  payload 5000
  create 5000 --header 'Upload-Metadata: filename bm90ZS50eHQ=,empty'
  head -c 2000 "$work/payload" >"$work/piece"
  append 0 "$work/piece"
  expect_status 204
  inspect
  expect_header Upload-Offset 2000
  expect_header Upload-Length 5000
  expect_header Cache-Control no-store
  expect_listed Upload-Metadata filenamebm90ZS50eHQ=
}

wrong_offset() {
  payload 5000
  create 5000
  append 1 "$work/payload"
  expect_status 409
  inspect
  expect_header Upload-Offset 0
  append 0 "$work/payload"
  expect_status 204
  expect_stored "$work/payload"
}

# curl is killed in mid-request. What it had sent by then is more than the sockets' buffers can hide, so that
# the server must have read some of it.
killed_and_resumed() {
  local size=$((32 * mebibyte)) sent=$((24 * mebibyte)) client offset
  payload "$size"
  create "$size"
  mkfifo "$work/pipe"
  curl --silent --max-time 60 --request PATCH --header "$resumable" --header "$offset_type" \
    --header 'Upload-Offset: 0' --header 'Transfer-Encoding: chunked' --header 'Expect:' \
    --upload-file - --output /dev/null "$url" <"$work/pipe" &
  client=$!
  # This end stays open until curl is gone, or curl would end the body in good order.
  exec 4>"$work/pipe"
  head -c "$sent" "$work/payload" >&4 || fail 'curl ended before it was killed'
  kill -KILL "$client" || fail 'curl ended before it was killed'
  wait "$client" 2>/dev/null || true
  exec 4>&-
  inspect
  offset=$(header Upload-Offset)
  ((offset > 0 && offset <= sent)) || fail "offset $offset after $sent bytes had been sent"
  tail -c "+$((offset + 1))" "$work/payload" >"$work/rest"
  append "$offset" "$work/rest"
  expect_status 204
  expect_header Upload-Offset "$size"
  expect_stored "$work/payload"
}

chunked_coding() {
  payload 2500003
  create 2500003
  request --request PATCH --header "$offset_type" --header 'Upload-Offset: 0' --header 'Expect:' \
    --header 'Transfer-Encoding: chunked' --upload-file - "$url" <"$work/payload"
  expect_status 204
  expect_header Upload-Offset 2500003
  expect_stored "$work/payload"
}

deferred_length() {
  payload 1000003
  request --request POST --header 'Upload-Defer-Length: 1' "$WHARF_URL"
  expect_status 201
  locate
  inspect
  expect_header Upload-Defer-Length 1
  append 0 "$work/payload" --header 'Upload-Length: 1000003'
  expect_status 204
  inspect
  expect_header Upload-Length 1000003
  expect_header Upload-Defer-Length ''
  expect_stored "$work/payload"
}

concatenation() {
  local first piece=$work/piece
  payload 900001
  head -c 400000 "$work/payload" >"$piece"
  create 400000 --header 'Upload-Concat: partial' --header 'Expect:' --header "$offset_type" --data-binary "@$piece"
  first=$url
  tail -c +400001 "$work/payload" >"$piece"
  create 500001 --header 'Upload-Concat: partial' --header 'Expect:' --header "$offset_type" --data-binary "@$piece"
  request --request POST --header "Upload-Concat: final;$first $url" "$WHARF_URL"
  expect_status 201
  locate
  expect_stored "$work/payload"
}

expect_continue() {
  payload 1500001
  create 1500001
  append 0 "$work/payload" --header 'Expect: 100-continue'
  expect_status 204
  head -n 1 "$work/head" | grep -q '^HTTP/1.1 100 ' || fail 'no 100 Continue before the answer'
  expect_stored "$work/payload"
}

expect_refused() {
  payload 1500001
  create 1500001
  append 5 "$work/payload" --header 'Expect: 100-continue'
  expect_status 409
  head -n 1 "$work/head" | grep -q '^HTTP/1.1 409 ' || fail 'the body was asked for before it was refused'
}

good_checksums() {
  local algorithm offset=0
  payload 300000
  create 300000
  for algorithm in sha1 sha256 md5; do
    head -c "$((offset + 100000))" "$work/payload" | tail -c 100000 >"$work/piece"
    append "$offset" "$work/piece" --header "Upload-Checksum: $(checksum "$algorithm" "$work/piece")"
    expect_status 204
    offset=$((offset + 100000))
    expect_header Upload-Offset "$offset"
  done
  expect_stored "$work/payload"
}

bad_checksums() {
  local algorithm
  payload 100000
  head -c 100000 /dev/urandom >"$work/other"
  create 100000
  for algorithm in sha1 sha256 md5; do
    append 0 "$work/payload" --header "Upload-Checksum: $(checksum "$algorithm" "$work/other")"
    expect_status 460
    inspect
    expect_header Upload-Offset 0
  done
  append 0 "$work/payload" --header 'Upload-Checksum: rot13 YWJj'
  expect_status 400
  inspect
  expect_header Upload-Offset 0
  append 0 "$work/payload" --header "Upload-Checksum: $(checksum sha1 "$work/payload")"
  expect_status 204
  expect_stored "$work/payload"
}

ranges() {
  stored 10000
  request --range 100-299 "$url"
  expect_status 206
  expect_header Content-Range 'bytes 100-299/10000'
  head -c 300 "$work/payload" | tail -c 200 | cmp -s - "$work/body" || fail 'bytes 100-299 differ'
  request --range -50 "$url"
  expect_status 206
  expect_header Content-Range 'bytes 9950-9999/10000'
  tail -c 50 "$work/payload" | cmp -s - "$work/body" || fail 'the last 50 bytes differ'
  request --range 10000- "$url"
  expect_status 416
  expect_header Content-Range 'bytes */10000'
}

# curl's own way to go on with a download that broke off.
download_resumed() {
  stored 50000
  head -c 12345 "$work/payload" >"$work/part"
  curl --silent --show-error --max-time 60 --continue-at - --output "$work/part" "$url" 2>"$work/error" ||
    fail "curl: $(tr -s '\n\r' ' ' <"$work/error")"
  cmp -s "$work/part" "$work/payload" || fail 'the resumed download differs'
}

not_modified() {
  local tag
  stored 1000
  expect_stored "$work/payload"
  tag=$(header ETag)
  [[ -n $tag ]] || fail 'GET sent no ETag'
  rm -f "$work/body"
  request --header "If-None-Match: $tag" "$url"
  expect_status 304
  [[ ! -s $work/body ]] || fail '304 came with a body'
  request --header 'If-None-Match: "other"' "$url"
  expect_status 200
}

termination() {
  stored 1000
  request --request DELETE "$url"
  expect_status 204
  request --head "$url"
  expect_status 404
  request "$url"
  expect_status 404
  append 0 "$work/payload"
  expect_status 404
}

method_override() {
  payload 1000
  create 1000
  request --request POST --header 'X-HTTP-Method-Override: PATCH' --header "$offset_type" \
    --header 'Upload-Offset: 0' --data-binary "@$work/payload" "$url"
  expect_status 204
  expect_stored "$work/payload"
}

options() {
  request --request OPTIONS "$WHARF_URL"
  [[ $status == 200 || $status == 204 ]] || fail "status $status"
  expect_listed Tus-Version 1.0.0
  expect_listed Tus-Extension creation creation-with-upload creation-defer-length termination checksum \
    concatenation concatenation-unfinished
  expect_listed Tus-Checksum-Algorithm sha1 sha256 md5
}

preflight() {
  request --request OPTIONS --header 'Origin: http://app.example' \
    --header 'Access-Control-Request-Method: PATCH' \
    --header 'Access-Control-Request-Headers: content-type,tus-resumable,upload-offset' "$WHARF_URL"
  [[ $status == 200 || $status == 204 ]] || fail "status $status"
  expect_header Access-Control-Allow-Origin http://app.example
  expect_listed Vary Origin
  expect_listed Access-Control-Allow-Methods POST HEAD PATCH DELETE
  expect_listed Access-Control-Allow-Headers Authorization Content-Type X-HTTP-Method-Override X-Request-ID \
    Tus-Resumable Upload-Length Upload-Offset Upload-Metadata Upload-Defer-Length Upload-Concat Upload-Checksum
  [[ $(header Access-Control-Max-Age) =~ ^[0-9]+$ ]] || fail 'no Access-Control-Max-Age'
  create 1 --header 'Origin: http://app.example'
  expect_header Access-Control-Allow-Origin http://app.example
  expect_listed Access-Control-Expose-Headers Location Upload-Offset Upload-Length Upload-Defer-Length
}

failed=0

# scenario NAME FUNCTION
scenario() {
  local ended
  : >"$work/reason"
  # Not in a condition: bash would let the function go on after a command that fails.
  set +e
  (
    set -eE
    trap 'echo "line $LINENO: $BASH_COMMAND" >"$work/reason"' ERR
    "$2"
  )
  ended=$?
  set -e
  rm -f "$work/pipe"
  if ((ended == 0)); then
    echo "ok curl: $1"
  else
    failed=1
    echo "FAIL curl: $1: $(cat "$work/reason")"
  fi
}

scenario 'creation, then PATCH' creation_and_patch
scenario 'creation with upload' creation_with_upload
scenario 'HEAD in the middle' inspection
scenario 'a wrong offset is refused and harms nothing' wrong_offset
scenario 'killed, then resumed with the rest' killed_and_resumed
scenario 'chunked coding from stdin' chunked_coding
scenario 'deferred length' deferred_length
scenario 'concatenation' concatenation
scenario 'Expect: 100-continue' expect_continue
scenario 'Expect: 100-continue is refused before the body' expect_refused
scenario 'right Upload-Checksum by sha1, sha256 and md5' good_checksums
scenario 'wrong Upload-Checksum keeps nothing' bad_checksums
scenario 'GET with Range' ranges
scenario 'a download resumed by curl' download_resumed
scenario 'GET with If-None-Match' not_modified
scenario 'DELETE, then 404' termination
scenario 'X-HTTP-Method-Override' method_override
scenario 'OPTIONS' options
scenario 'CORS preflight and exposed headers' preflight

exit "$failed"
