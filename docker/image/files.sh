#!/bin/sh
# files.sh BINARY LOCK OUT: what an image holds beside the binary, in OUT/system (root's) and OUT/owned.
set -eu
binary=$1 lock=$2 out=$3
here=$(dirname "$0")

# A volume takes its owner from the folder that it is mounted over: the second is for certificates.
mkdir -p "$out/system" "$out/owned/data/pki"
chmod 700 "$out/owned/data" "$out/owned/data/pki"
cd "$out/system"
mkdir -p etc/ssl/certs usr/bin usr/share/sbom

if [ ! -s /etc/ssl/certs/ca-certificates.crt ] || [ ! -d /usr/share/zoneinfo ]; then
  apt-get update -qq
  apt-get install -qq --yes --no-install-recommends ca-certificates tzdata > /dev/null
fi

# What the binary is linked to, its loader included, where both look for it.
ldd "$binary" > /tmp/linked
if grep -q 'not found' /tmp/linked; then
  cat /tmp/linked >&2
  exit 1
fi
awk '$2 == "=>" { print $3 } $1 ~ /^\// { print $1 }' /tmp/linked | while read -r library; do
  mkdir -p ".$(dirname "$library")"
  cp -L "$library" ".$library"
done

cp -L /etc/ssl/certs/ca-certificates.crt etc/ssl/certs/
cp -a /usr/share/zoneinfo usr/share/zoneinfo
# The same zones once more, in two other forms that nothing here reads.
rm -rf usr/share/zoneinfo/posix usr/share/zoneinfo/right

# Names: the hosts file first, so that localhost asks nobody.
echo 'hosts: files dns' > etc/nsswitch.conf
echo 'medisync:x:65532:65532::/data:/nonexistent' > etc/passwd
echo 'medisync:x:65532:' > etc/group

"$here/sbom.sh" "$lock" > usr/share/sbom/medisync.cdx.json
chmod -R go=rX,u+w .
find "$out" -exec touch -h -d "@${SOURCE_DATE_EPOCH:-0}" {} +
