# What this host's firewalls have of the given names, a line each. Whichever firewall wrote it: another one may be set by now.
export LC_ALL=C
firewall-cmd --state >/dev/null 2>&1 && echo "firewalld runs"
for name; do
  [ ! -e "/etc/firewalld/policies/$name.xml" ] || echo "policy $name"
  firewall-cmd --info-policy="$name" >/dev/null 2>&1 && echo "in-force $name"
  [ ! -e "/etc/nftables-$name.nft" ] || echo "table-file $name"
  table=$(printf %s "$name" | tr - _)
  nft list table inet "$table" >/dev/null 2>&1 && echo "table $table"
  for main in /etc/nftables.conf /etc/sysconfig/nftables.conf; do
    grep -qs "^include \"/etc/nftables-$name.nft\"$" "$main" && echo "includes $main"
  done
done
command -v ufw >/dev/null && ufw show added 2>/dev/null
exit 0
