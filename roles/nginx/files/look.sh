# What this host has of nginx, as name=value. $1: debian or rhel. $2: nginx's package. $3: the default site, empty where it is not asked about.
# $4: the package's file that it is in. $5: where it is written down what was here before this role.
if [ "$1" = debian ]; then
  dpkg-query --show --showformat 'package=${db:Status-Status}\n' "$2"
  [ "$(readlink "$3")" = "$4" ] && verify="dpkg --verify nginx-common"
else
  rpm --query --queryformat 'package=installed\n' "$2"
  [ -e "$3" ] && verify="rpm --verify --file $4"
fi
[ ! -e "$5" ] || echo before=known
systemctl show --property=ActiveState,UnitFileState nginx.service
[ "$verify" ] || exit 0
# Only as it came: who has edited it uses it.
differs=$($verify)
code=$?
case "$differs" in
  *"$4"*) echo default_site=edited ;;
  *) echo default_site=unedited ;;
esac
# 1 where it names a file that differs.
[ "$code" -le 1 ]
