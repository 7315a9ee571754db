# What a machine has, a line each: files and folders with owner, mode and content, units, accounts, rules of the firewall. Without what lives in memory,
# but for the folders of ours there, and without files of the distribution's packages.
set -eu
export LC_ALL=C
work=$(mktemp -d /run/listing.XXXXXX)
trap 'rm -rf "$work"' EXIT
cat /var/lib/dpkg/info/*.list | sort -u >"$work/packaged"
find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp \) -prune -o -printf '%p\t%y %m %u:%g\t%l\n' | sort \
  | awk -F '\t' 'NR == FNR { packaged[$0]; next } !($1 in packaged)' "$work/packaged" - >"$work/listed"
awk -F '\t' '$2 ~ /^f / { printf "%s%c", $1, 0 }' "$work/listed" | xargs -0 -r sha256sum | awk '{ print substr($0, 67) "\t" $1 }' >"$work/sums"
awk -F '\t' 'NR == FNR { sum[$1] = $2; next } { print "file", $1, $2, $3, sum[$1] }' "$work/sums" "$work/listed"
find /run -maxdepth 1 \( -name '*ml[of]*' -o -name 'fire*' \) | sed 's/^/memory /'
systemctl list-unit-files --no-legend --no-pager --plain | awk '{ print "unit", $1, $2 }'
systemctl list-units --all --type=service,path,timer --no-legend --no-pager --plain | awk '{ print "running", $1, $4 }'
getent passwd | sed 's/^/account /'
getent group | sed 's/^/group /'
firewall-cmd --state >/dev/null 2>&1 && firewall-cmd --list-all-policies | sed 's/^/rule /'
nft list ruleset 2>/dev/null | sed 's/^/rule /'
exit 0
