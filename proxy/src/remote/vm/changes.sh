# What differs from the last commit in the git work tree $1, which must have a repository of its own. Nothing in its
# configuration is executed but what git itself needs. $2: the line between the parts, $3 and $4: bytes of status and diff.
cd -- "$1" 2>/dev/null || exit 3
command -v git >/dev/null 2>&1 || exit 6
GIT_CEILING_DIRECTORIES=$(dirname -- "$(pwd -P)") GIT_OPTIONAL_LOCKS=0 GIT_CONFIG_NOSYSTEM=1 LC_ALL=C
export GIT_CEILING_DIRECTORIES GIT_OPTIONAL_LOCKS GIT_CONFIG_NOSYSTEM LC_ALL
[ "$(git rev-parse --is-inside-work-tree 2>/dev/null)" = true ] || exit 6
git symbolic-ref -q --short HEAD 2>/dev/null || git rev-parse -q --short --verify HEAD 2>/dev/null
printf '%s\n' "$2"
git -c core.fsmonitor=false -c core.quotePath=false status --porcelain=v1 -z --no-renames --untracked-files=all 2>/dev/null | head -c "$3"
printf '\n%s\n' "$2"
base=$(git rev-parse -q --verify HEAD 2>/dev/null) || base=$(git hash-object -t tree /dev/null)
git -c core.fsmonitor=false -c core.quotePath=false --no-pager diff --no-ext-diff --no-textconv --no-color --no-renames "$base" -- . 2>/dev/null | head -c "$4"
exit 0
