# dearmor.sh <key>
#
# Makes bytes of a key in letters, as apt wants one whose name ends in .gpg. One in bytes stays as it is.
set -eu
grep -q -e '-----BEGIN PGP PUBLIC KEY BLOCK-----' "$1" || exit 0
# What stands between the empty line after its headers and its checksum.
tr -d '\r' < "$1" |
  awk '/^-----BEGIN/ {inside = 1} /^$/ && inside == 1 {inside = 2} /^[^=-]/ && inside == 2 {print} /^-----END/ {exit}' |
  base64 --decode > "$1.part"
chmod 0644 "$1.part"
mv "$1.part" "$1"
