# Replaces meta.json, and idea.md where there is a new one, if both still are what they were read as.
# $1: the idea's folder. $2, $3: SHA-256 of meta.json and of idea.md as read; `any`: whatever it is, `none`: not there.
# $4, $5: length of the new meta.json and idea.md; `keep`: no new one. Standard input: the new files, one after the other.
# Exit 7: somebody else was faster. Exit 5: somebody else holds the folder.
umask 077
cd -- "$1" || exit 1
tries=0
until mkdir .edit 2>/dev/null; do
  tries=$((tries + 1))
  if [ ! -d .edit ] && [ "$tries" -gt 3 ]; then mkdir .edit; exit 1; fi
  # A writer takes milliseconds: who has been at it for two minutes is gone.
  if [ -n "$(find .edit -prune -mmin +1 2>/dev/null)" ]; then rm -rf .edit; continue; fi
  [ "$tries" -lt 60 ] || exit 5
  sleep 0.1 2>/dev/null || sleep 1
done
trap 'rm -rf .edit' EXIT
trap 'exit 1' HUP INT TERM
same() {
  case $2 in
    any) ;;
    none) [ ! -e "$1" ] ;;
    *) [ "$(sha256sum 2>/dev/null <"$1")" = "$2  -" ] ;;
  esac
}
cat >.edit/all || exit 1
same meta.json "$2" && same idea.md "$3" || exit 7
head -c "$4" .edit/all >.edit/meta.json || exit 1
[ "$(wc -c <.edit/meta.json)" -eq "$4" ] || exit 1
if [ "$5" != keep ]; then
  tail -c "+$(($4 + 1))" .edit/all >.edit/idea.md || exit 1
  [ "$(wc -c <.edit/idea.md)" -eq "$5" ] || exit 1
  mv -f .edit/idea.md idea.md || exit 1
fi
mv -f .edit/meta.json meta.json || exit 1
exit 0
