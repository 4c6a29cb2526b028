# Prints $3 bytes at offset $2 of the file whose path below $1 stands in the first line of standard input. No part of the
# path may be a link.
LC_ALL=C
IFS= read -r path || exit 1
cd -- "$1" 2>/dev/null || exit 3
at=.
rest=$path
while :; do
  at=$at/${rest%%/*}
  if [ -L "$at" ]; then exit 3; fi
  case $rest in */*) rest=${rest#*/} ;; *) break ;; esac
done
[ -f "$at" ] || exit 3
[ -r "$at" ] || exit 4
tail -c "+$(($2 + 1))" -- "$at" | head -c "$3"
