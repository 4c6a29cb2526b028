# Prints every meta.json below $1 anew for each line `NONCE FOLDER` on standard input: the names, an empty line, then each
# file under its name. Links are passed over; a file that cannot be read has a name and nothing more.
LC_ALL=C
export LC_ALL
while read -r nonce where; do
  (
    at=$1${where:+/$where}
    cd -- "$at" 2>/dev/null || { [ -e "$at" ] && exit 4; exit 3; }
    [ -r . ] || exit 4
    files=
    for file in */meta.json; do
      folder=${file%/meta.json}
      case $folder in *[!a-zA-Z0-9._-]*) continue ;; esac
      if [ -L "$folder" ] || [ -L "$file" ]; then continue; fi
      files="$files ./$file"
    done
    [ -n "$files" ] || { echo; exit 0; }
    # Nothing in the names needs quoting.
    printf '%s\n' $files
    echo
    printf '%s\n' $files | xargs head -c 262145 /dev/null
  ) 2>/dev/null
  printf '\n--%s-%s--\n' "$nonce" "$?"
done
