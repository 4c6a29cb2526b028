# Writes the recording of a terminal of idea $1: standard input to file $2, of which it says that it has begun when the first line is
# written. Before that the oldest recordings of the idea go, until the others have no more than $3 bytes together; but none that a
# process still writes. Their names are ours and begin with the time. They are not in the idea's folder, which its chats read unasked.
umask 077
folder=$HOME/.local/state/catalyst/$1/recordings
mkdir -p -- "$folder" && cd -- "$folder" || exit 1
names=$(LC_ALL=C ls -r)
written=$(ls -n /proc/[0-9]*/fd/[13] 2>/dev/null)
set -f
left=$3
for each in $names; do
  case $each in
    [1-9][0-9][0-9][0-9][01][0-9][0-3][0-9]T*Z-[1-9]-*.cast) ;;
    *) continue ;;
  esac
  size=$(wc -c <"$each") || continue
  left=$((left - size))
  [ $left -lt 0 ] || continue
  case $written in
    *"/$each"*) ;;
    *) rm -f -- "$each" ;;
  esac
done
exec 3>"$2" || exit 1
IFS= read -r first && printf '%s\n' "$first" >&3 || exit 1
echo --catalyst-recording-begins--
exec cat >&3 3>&-
