# What differs from the last commit, or from the commit that was checked out at the time $5 (seconds since 1970), in the git
# work tree $1, which must have a repository of its own. Nothing in its configuration is executed but what git itself needs.
# $2: the line between the parts, $3 and $4: bytes of each list and of the diff.
cd -- "$1" 2>/dev/null || exit 3
command -v git >/dev/null 2>&1 || exit 6
GIT_CEILING_DIRECTORIES=$(dirname -- "$(pwd -P)") GIT_OPTIONAL_LOCKS=0 GIT_CONFIG_NOSYSTEM=1 LC_ALL=C
export GIT_CEILING_DIRECTORIES GIT_OPTIONAL_LOCKS GIT_CONFIG_NOSYSTEM LC_ALL
[ "$(git rev-parse --is-inside-work-tree 2>/dev/null)" = true ] || exit 6
tell() { git -c core.fsmonitor=false -c core.quotePath=false --no-pager "$@" 2>/dev/null; }
base=$(tell rev-parse -q --verify HEAD) || base=
if [ -n "$base" ] && [ "$5" != head ]; then
  # What was there before the first entry of the log is not known: then all of it is new.
  first=$(tell log -g --date=unix --format=%gd HEAD | tail -n 1 | tr -cd '0-9')
  if [ -n "$first" ] && [ "$first" -le "$5" ]; then base=$(tell rev-parse -q --verify "HEAD@{$5}"); else base=; fi
fi
[ -n "$base" ] || base=$(tell hash-object -t tree /dev/null)
tell symbolic-ref -q --short HEAD || tell rev-parse -q --short --verify HEAD
printf '%s\n' "$2"
tell diff --no-ext-diff --no-textconv --no-renames --name-status -z "$base" -- . | head -c "$3"
printf '\n%s\n' "$2"
tell ls-files --others --exclude-standard -z | head -c "$3"
printf '\n%s\n' "$2"
tell diff --no-ext-diff --no-textconv --no-renames --no-color "$base" -- . | head -c "$4"
exit 0
