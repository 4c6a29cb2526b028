# Writes the recording of a terminal: standard input to file $2 of folder $1. Before it begins, the oldest of those that are
# there go, until the others have no more than $3 bytes together. Their names are ours and begin with the time.
umask 077
set -f
mkdir -p -- "$1" && cd -- "$1" || exit 1
left=$3
for each in $(LC_ALL=C ls -r); do
  case $each in
    [1-9][0-9][0-9][0-9][01][0-9][0-3][0-9]T*Z-[1-9]-*.cast) ;;
    *) continue ;;
  esac
  size=$(wc -c <"$each") || continue
  left=$((left - size))
  [ $left -ge 0 ] || rm -f -- "$each"
done
exec cat >"$2"
