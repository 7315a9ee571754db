# pack_release.sh <release> <archive>
#
# Packs a release for hosts that are like this one, and says the archive's SHA-256.
set -euo pipefail
umask 022
rm -f "$2"
# The mark is set where it is unpacked and proven.
case $2 in
  *.zst) pack=(zstd --quiet -3 -T0) ;;
  *) pack=(gzip -1) ;;
esac
tar --create --directory "$1" --exclude ./.complete . | "${pack[@]}" >"$2"
sum=$(sha256sum "$2")
echo "${sum%% *}"
