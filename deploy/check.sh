#!/bin/sh
# Proves without a container engine that the image of deploy/Dockerfile holds all that the program needs: lays the same files out
# in an empty directory, enters it as the image's user, and asks. Needs root, and target/release/intone or another as $1.
set -eu
cd "$(dirname "$0")/.."
program=${1:-target/release/intone}
image=$(mktemp -d)
trap 'kill "$child" 2>/dev/null || true; rm -rf "$image"' EXIT
child=
mkdir -p "$image/bin" "$image/tmp"
chmod 755 "$image"
chmod 1777 "$image/tmp"
cp "$program" "$image/bin/intone"
ldd "$program" | grep -o '/[^ ]*' | sort -u | xargs -I{} cp --parents -L {} "$image"
echo "size: $(du -sm "$image" | cut -f1) MB"
chroot --userspec=65534:65534 "$image" /bin/intone serve --host 127.0.0.1 --port 7869 --quiet &
child=$!
for _ in 1 2 3 4 5 6 7 8 9 10; do
  if curl --silent --fail --output /dev/null http://127.0.0.1:7869/healthz; then break; fi
  sleep 0.2
done
curl --silent --fail http://127.0.0.1:7869/ | grep -q '<title>Intone</title>'
curl --silent --fail --data-binary @samples/hello.wav http://127.0.0.1:7869/v1/recognize
echo
kill "$child"
wait "$child"
