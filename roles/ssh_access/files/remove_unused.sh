# Removes what is left empty of SSH access, and says so. $1: check or remove. $2: the account, empty without one. $3: its authorized keys. $4: the known hosts.
# $5: the comment by which an account is known that role ssh_access made.
action=$1 user=$2 keys=$3 hosts=$4 comment=$5
gone() {
  echo "removed $1"
  [ "$action" = check ] || rm -f -- "$1"
}
[ ! -f "$hosts" ] || [ -s "$hosts" ] || gone "$hosts"
[ "$user" ] || exit 0
# In check mode, our lines are still there.
if [ -f "$keys" ] && ! grep -qv ' sparkflows-mlops@[^ ]*$' "$keys"; then
  gone "$keys"
  keys_gone=yes
fi
entry=$(getent passwd "$user")
home=$(printf %s "$entry" | cut -d : -f 6)
folder=$home/.ssh
[ "$(printf %s "$entry" | cut -d : -f 5)" = "$comment" ] || {
  # Somebody else's account. A folder that is empty now was made for our keys.
  [ ! "$keys_gone" ] || [ "$keys" != "$folder/authorized_keys" ] || [ "$(ls -A "$folder" | grep -cv '^authorized_keys$')" != 0 ] || {
    echo "removed $folder"
    [ "$action" = check ] || rmdir -- "$folder"
  }
  exit 0
}
if [ -d "$folder" ] && [ "$(ls -A "$folder" | grep -cv '^authorized_keys$')" != 0 ] || [ -f "$keys" -a ! "$keys_gone" ]; then
  echo "the account $user stays: $folder has keys of others"
elif ! diff -rq --exclude=.ssh /etc/skel "$home" >/dev/null; then
  echo "the account $user stays: somebody has put something into $home"
elif pgrep -u "$user" >/dev/null 2>&1; then
  echo "the account $user stays: processes run as it"
else
  echo "removed the account $user and its home $home, in which there was nothing"
  [ "$action" = check ] || userdel --remove "$user" 2>/dev/null || [ $? = 12 ]
fi
