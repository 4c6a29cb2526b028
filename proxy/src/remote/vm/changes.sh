# What differs from the last commit, or from the commit that was checked out at the time $5 (seconds since 1970), in the work
# tree $1, whose repository is its own folder .git; or, where $6 is a time and not `now`, in the commit that was checked out then.
# $2: the line between the parts, $3 and $4: bytes of each list and of the diff.
#
# Whoever wrote the work tree may have written .git, too, and a configuration can name programs: filters, hooks, monitors,
# transports for objects that are missing. So none is read, the user's neither: git looks at the repository through a folder
# of our own, with links to its data and a configuration of words that are known. Submodules are looked at by their commit
# only, for git would ask them with their own configuration.
cd -- "$1" 2>/dev/null || exit 3
command -v git >/dev/null 2>&1 && [ -d .git ] && [ ! -L .git ] && [ -f .git/HEAD ] || exit 6
umask 077
work=$(pwd -P)
own=$(mktemp -d "${TMPDIR:-/tmp}/catalyst-changes.XXXXXX") || exit 1
trap 'rm -rf "$own"' EXIT
trap 'exit 1' HUP INT PIPE TERM
# Asked before the user's configuration is out of sight.
excludes=$(GIT_DIR=$own git config --global --path core.excludesFile 2>/dev/null) ||
  excludes=${XDG_CONFIG_HOME:-$HOME/.config}/git/ignore
HOME=$own XDG_CONFIG_HOME=$own GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null
GIT_DIR=$own GIT_WORK_TREE=$work GIT_OPTIONAL_LOCKS=0 GIT_ALLOW_PROTOCOL=none GIT_NO_LAZY_FETCH=1 LC_ALL=C
export HOME XDG_CONFIG_HOME GIT_CONFIG_NOSYSTEM GIT_CONFIG_GLOBAL
export GIT_DIR GIT_WORK_TREE GIT_OPTIONAL_LOCKS GIT_ALLOW_PROTOCOL GIT_NO_LAZY_FETCH LC_ALL
# HEAD must be a file to git.
head -c 4096 .git/HEAD >"$own/HEAD" || exit 1
for part in objects refs reftable packed-refs logs index info shallow .git/sharedindex.*; do
  part=${part#.git/}
  [ ! -e ".git/$part" ] || ln -s "$work/.git/$part" "$own/$part" || exit 1
done
{
  printf '[core]\nrepositoryFormatVersion = 1\nbare = false\n' >"$own/config"
  # What decides whether a file counts as changed, and how the repository is written.
  for key in core.fileMode core.ignoreCase core.symlinks core.autocrlf core.eol extensions.objectFormat extensions.refStorage; do
    word=$(git config --file .git/config --get "$key")
    case $word in true | false | input | lf | crlf | sha1 | sha256 | files | reftable) git config "$key" "$word" ;; esac
  done
  git config core.quotePath false
  git config core.excludesFile "$excludes"
} 2>/dev/null
tell() { git --no-pager "$@" 2>/dev/null; }
changed() { tell diff --no-ext-diff --no-textconv --no-renames --ignore-submodules=dirty "$@" -- .; }
tell rev-parse --git-dir >/dev/null || exit 6
# The commit that was checked out at a time. What was there before the first entry of the log is not known: then all of it is new.
at() {
  first=$(tell log -g --date=unix --format=%gd HEAD | tail -n 1 | tr -cd '0-9')
  [ -n "$first" ] && [ "$first" -le "$1" ] && tell rev-parse -q --verify "HEAD@{$1}" || tell hash-object -t tree /dev/null
}
case $5 in head) base=$(tell rev-parse -q --verify HEAD) || base=$(tell hash-object -t tree /dev/null) ;; *) base=$(at "$5") ;; esac
case $6 in now) end= ;; *) end=$(at "$6") ;; esac
tell symbolic-ref -q --short HEAD || tell rev-parse -q --short --verify HEAD
printf '%s\n' "$2"
changed --name-status -z "$base" $end | head -c "$3"
printf '\n%s\n' "$2"
[ -n "$end" ] || tell ls-files --others --exclude-standard -z | head -c "$3"
printf '\n%s\n' "$2"
changed --no-color "$base" $end | head -c "$4"
exit 0
