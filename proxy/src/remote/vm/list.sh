# Prints every meta.json below $1 anew for each line `NONCE FOLDER` on standard input: the names, an empty line, then each
# file under its name. Links are passed over; a file that cannot be read has a name and nothing more.
LC_ALL=C
export LC_ALL
# One process for all files: many wait for it.
list() {
  cd -- "$1" 2>/dev/null || { [ -e "$1" ] && return 4; return 3; }
  [ -r . ] || return 4
  files=
  for file in */meta.json; do
    folder=${file%/meta.json}
    case $folder in *[!a-zA-Z0-9._-]*) continue ;; esac
    if [ -L "$folder" ] || [ -L "$file" ]; then continue; fi
    files="$files ./$file"
  done
  [ -n "$files" ] || { echo; return 0; }
  # Nothing in the names needs quoting.
  printf '%s\n' $files
  echo
  if [ ${#files} -lt 65536 ]; then
    head -c 262145 /dev/null $files
  else
    printf '%s\n' $files | xargs head -c 262145 /dev/null
  fi
}
while read -r nonce where; do
  list "$1${where:+/$where}" 2>/dev/null
  status=$?
  # No folder is held while nobody asks.
  cd /
  printf '\n--%s-%s--\n' "$nonce" "$status"
done
