# The part of a run that lives on the VM. One file is delivered there: library.sh, supervisor.sh,
# delivery.sh, start.sh, courier.sh, history.sh and commands.sh together.
#
# Plain POSIX sh: dash, bash and busybox sh all run it. Arguments are paths and identifiers of the proxy's own; what a
# user typed comes on standard input and stays in files.
#
# ~/.local/state/catalyst/
#   index                     one line for whatever other replicas should hear of: "run ID N", "answer ID N REQUEST allow|deny"
#   courier.PID               as in identity: a shell that brings short messages to runs
#   ID/messages/MESSAGE/      what makes sending idempotent
#     run                     the run that took the message
#     carrier, carrier.1 …    whoever brings it to a run, as in identity; the last counts, and only the dead are followed
#   ID/inbox/MESSAGE.PID.*    a message on its way: Claude's line (turn), the log's (log), and how, if it waits (args)
#   ID/allowances/HASH        a rule of the CLI's, as a JSON string, that is always allowed in this idea; the agent works elsewhere,
#                             so writing one is asked for like everything outside its folder
#   ID/runs/N/                the folder is the lock of run N; nobody makes N+1 before N is over
#     identity                boot id, pid and start time of whoever keeps the run (starter, then supervisor)
#     verdict, verdict.1 …    the right to say how the run ended; whoever makes the folder has it
#     exit                    exists when the run is over
#     closed                  no more messages; the process may finish its turn, and get the answers that it asks for
#     fed                     claude's input has ended; nothing reaches it any more
#     mode                    chat, or build: and how much it may do without asking
#     settings.json           the allowances when it started
#     ctl, in                 FIFOs: identifiers for the feeder; Claude's standard input
#     spool, turns            messages to hand over, what the log says of them
#     brief                   short ones: the log's line, then Claude's, in one file
#     done                    those that were handed over; not empty: withdrawn
#     answers/REQUEST         the first answer to a request for permission
#     asked/REQUEST           when the supervisor first saw that it waits, in seconds since 1970
#   ID/recordings/            of terminals, see terminal/record.sh; not in the idea's folder, which its chats read unasked
# IDEA/runs/N/log.jsonl, stderr.log   what Claude printed; it stays with the idea
#               .turns                  where in the log turns and results are; made anew where it is missing

set -u
umask 077
CATALYST_LC=${CATALYST_LC-${LC_ALL-}}
export CATALYST_LC
LC_ALL=C
export LC_ALL
state=$HOME/.local/state/catalyst
newline='
'

fail() {
  printf 'error %s\n' "$*"
  exit 3
}

nap() {
  sleep "$1" 2>/dev/null || sleep 1
}

# Sets stat_state, stat_session and stat_start of process $1; fails if it is gone.
read_stat() {
  { IFS= read -r stat_line </proc/"$1"/stat; } 2>/dev/null || return 1
  set -- ${stat_line##*) }
  [ $# -ge 20 ] || return 1
  stat_state=$1 stat_session=$4
  shift 19
  stat_start=$1
}

# Sets boot; fails if the kernel does not say it.
boot_id() {
  boot=
  { read -r boot </proc/sys/kernel/random/boot_id; } 2>/dev/null && [ -n "$boot" ]
}

# Sets said and turn to the log's and Claude's line in file $1; fails if it is not whole.
read_brief() {
  { { IFS= read -r said && IFS= read -r turn; } <"$1"; } 2>/dev/null
}

# Writes who we are ($1: our pid) to file $2, at once or not at all.
identify() {
  boot_id && read_stat "$1" || return 1
  printf '%s %s %s\n' "$boot" "$1" "$stat_start" >"$2.new.$1" && mv -f "$2.new.$1" "$2"
}

# Whether the process that file $1 names runs. Sets keeper_pid, and why=rebooted|lost if it does not. One of which the kernel cannot tell at
# the moment counts as running: whoever is taken for dead is killed.
alive() {
  keeper_boot='' keeper_pid='' keeper_start='' why=lost
  { read -r keeper_boot keeper_pid keeper_start <"$1"; } 2>/dev/null || return 1
  boot_id || return 0
  if [ "$keeper_boot" != "$boot" ]; then
    why=rebooted
    return 1
  fi
  if ! read_stat "$keeper_pid"; then
    [ -d "/proc/$keeper_pid" ]
    return
  fi
  case $stat_state in Z | X) return 1 ;; esac
  [ "$stat_start" = "$keeper_start" ]
}

# As alive, but gives one who only now made the folder the time to write the file.
alive_soon() {
  soon=0
  while [ ! -s "$1" ] && [ $soon -lt 20 ]; do
    soon=$((soon + 1))
    nap 0.1
  done
  alive "$1"
}

# Sends TERM, later KILL, to every process whose environment began with $1, until none is left.
end_all() {
  round=0
  while pids=$(grep -lszFx "$1" /proc/[0-9]*/environ | cut -d/ -f3) && [ -n "$pids" ]; do
    round=$((round + 1))
    [ $round -le 60 ] || return 1
    case $round in
      1 | 10) kill -TERM $pids 2>/dev/null ;;
      2[5-9] | [3-6]?) kill -KILL $pids 2>/dev/null ;;
    esac
    nap 0.2
  done
  return 0
}

# Kills what else is in our session: only a session's leader may do so.
end_session() {
  read_stat $$ && ours=$stat_session
  for other in /proc/[0-9]*; do
    other=${other#/proc/}
    [ "$other" != $$ ] && read_stat "$other" && [ "$stat_session" = "$ours" ] && kill -KILL "$other" 2>/dev/null
  done
}

# The type of the last line in log $1 that says whether a turn runs. It may be so long that it begins further ahead.
last_type() {
  said=$(tail -c 262144 "$1" 2>/dev/null | types | tail -n 1)
  [ -n "$said" ] || said=$(types <"$1" 2>/dev/null | tail -n 1)
  printf '%s\n' "$said" | cut -d'"' -f4
}

types() {
  grep -aEo '^\{"type":"(result|assistant|user|stream_event|catalyst_turn|catalyst_exit)"'
}

# Whether a turn runs, going by log $1.
busy() {
  case $(last_type "$1") in result | catalyst_exit) return 1 ;; esac
}

# The requests for permission in log $1 that nobody answered (folder $2), one a line.
open_requests() {
  grep -E '^\{"type":"(control_request|control_cancel_request|result)"' "$1" 2>/dev/null | cut -c1-400 | {
    open=' '
    while IFS= read -r entry; do
      request=${entry#*\"request_id\":\"}
      request=${request%%\"*}
      case $entry in
        '{"type":"result"'*) open=' ' ;;
        '{"type":"control_cancel_request"'*)
          case $open in *" $request "*) open="${open%% "$request" *} ${open#* "$request" }" ;; esac
          ;;
        *'"subtype":"can_use_tool"'*) open="$open$request " ;;
      esac
    done
    for request in $open; do
      case $request in *[!A-Za-z0-9_-]*) continue ;; esac
      [ -e "$2/$request" ] || printf '%s\n' "$request"
    done
  }
}

# The end of file $1 as the inside of a JSON string.
last_words() {
  tail -n 20 "$1" 2>/dev/null | tail -c 2000 | tr '\t' ' ' | tr -d '\000-\011\013-\037\177' |
    sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/$/\\n/' | tr -d '\n'
}

# Writes the run's last line: folder $1, log folder $2, exit status $3, reason $4, words $5 in place of Claude's last ones.
# Only whoever has the verdict does.
write_exit() {
  rm -f "$2/.reserve"
  line=$(printf '{"type":"catalyst_exit","code":%d,"reason":"%s","at":%d,"stderr":"%s"}' \
    "$3" "$4" "$(date +%s)" "${5-$(last_words "$2/stderr.log")}")
  if [ -d "$2" ]; then
    [ -z "$(tail -c 1 "$2/log.jsonl" 2>/dev/null)" ] || echo >>"$2/log.jsonl"
    printf '%s\n' "$line" >>"$2/log.jsonl"
  fi
  printf '%s\n' "$line" >"$1/exit" || : >"$1/exit"
}

# Takes the right to say how run $1 ended. Fails if somebody else who lives has it.
claim_verdict() {
  claim=$1/verdict turn=0
  while [ $turn -lt 10 ]; do
    if mkdir "$claim" 2>/dev/null; then
      identify $$ "$claim/identity"
      return 0
    fi
    alive_soon "$claim/identity" && return 1
    turn=$((turn + 1))
    claim=$1/verdict.$turn
  done
  return 1
}

# Succeeds if run $1 (log folder $2, tag $3) is over; sees to its end if its supervisor died.
settle() {
  [ -e "$1/exit" ] && return 0
  [ -d "$1" ] || return 0
  alive_soon "$1/identity" && return 1
  reason=$why
  [ -e "$1/exit" ] && return 0
  claim_verdict "$1" || return 1
  end_all "CATALYST_RUN=$3"
  end_all "CATALYST_SUPERVISOR=$3"
  [ -e "$1/exit" ] || write_exit "$1" "$2" 137 "$reason"
}
