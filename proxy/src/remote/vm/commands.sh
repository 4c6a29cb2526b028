
# What the proxy calls. Every command begins with: idea's id, idea's folder.
place() {
  id=$1 folder=$2 idea=$state/$1
}

# The number of the latest run, 0 if there was none; older installations' logs count too.
latest() {
  n=0
  for entry in "$idea"/runs/* "$folder"/runs/*; do
    entry=${entry##*/}
    case $entry in '' | 0* | *[!0-9]*) continue ;; esac
    [ "$entry" -gt $n ] && n=$entry
  done
}

# Sets run, logs and tag of run $1.
at_run() {
  run=$idea/runs/$1 logs=$folder/runs/$1 tag=$id/$1
}

announce() {
  printf '%s\n' "$*" >>"$state/index"
}

# How the latest run stands: "run N live|over MODE LOGSIZE".
cmd_state() {
  place "$1" "$2"
  latest
  if [ $n -eq 0 ]; then
    echo 'run 0 over none 0'
    exit 0
  fi
  at_run $n
  live=live
  settle "$run" "$logs" "$tag" && live=over
  mode=chat
  { read -r mode <"$run/mode"; } 2>/dev/null || { head -n 1 "$logs/log.jsonl" | grep -q '"mode":"build"' && mode=build; } 2>/dev/null
  size=$(wc -c 2>/dev/null <"$logs/log.jsonl" | tr -d ' ')
  printf 'run %s %s %s %s\n' $n $live "$mode" "${size:-0}"
  for answer in "$run"/answers/*; do
    answer=${answer##*/}
    case $answer in '*' | *.new.*) continue ;; esac
    printf 'answered %s\n' "$answer"
  done
}

# Takes a message. Arguments: message id, mode, bytes of standard input (Claude's line, then the log's line), session or
# "-", silence, idle, claude, then claude's arguments. Prints "accepted N".
cmd_send() {
  place "$1" "$2"
  message=$3 mode=$4 bytes=$5
  [ -d "$folder" ] || fail idea_gone
  mkdir -p "$idea/runs" "$idea/messages" "$idea/inbox" || fail storage "$idea"
  box=$idea/inbox/$message.$$
  cat >"$box" || fail storage "$idea"
  [ "$(wc -c <"$box" | tr -d ' ')" = "$bytes" ] || fail storage_or_cut "$idea"
  claimed=$idea/messages/$message
  if ! mkdir "$claimed" 2>/dev/null; then
    [ -d "$claimed" ] || fail storage "$idea"
    patience=0
    while [ ! -s "$claimed/run" ] && [ $patience -lt 50 ]; do
      patience=$((patience + 1))
      nap 0.1
    done
    if [ -s "$claimed/run" ]; then
      rm -f "$box"
      printf 'accepted %s\n' "$(cat "$claimed/run")"
      exit 0
    fi
    # Whoever claimed it died before it was handed over: we go on in its place.
  fi
  head -n 1 "$box" >"$box.turn" && tail -n +2 "$box" >"$box.log" && rm -f "$box" || fail storage "$idea"
  shift 2
  deliver 30 "$box" "$@"
}

undo_claim() {
  rm -rf "$box.turn" "$box.log" "$claimed"
}

# Brings a message into the live run of its mode, or a new one. $1: tenths of a second to wait for a run that is ending
# before the wait goes on in the background.
deliver() {
  patience=$1 box=$2 message=$3 mode=$4 session=$6 silence=$7 idle=$8
  claimed=$idea/messages/$message
  waited=0
  while :; do
    latest
    at_run $n
    if [ $n -gt 0 ] && ! settle "$run" "$logs" "$tag"; then
      running=
      { read -r running <"$run/mode"; } 2>/dev/null
      if [ ! -d "$run/closed" ] && [ -e "$run/ready" ]; then
        if [ "$running" != "$mode" ]; then
          close_run "$run" switched
        elif enqueue "$message" "$box.turn" "$box.log"; then
          took $n
        fi
      fi
      if [ $waited -ge "$patience" ]; then
        shift
        CATALYST_WAITS=1 setsid sh "$self" deliver "$id" "$folder" 36000 "$@" </dev/null >/dev/null 2>&1 &
        printf 'accepted %s\n' $((n + 1))
        exit 0
      fi
      waited=$((waited + 1))
      nap 0.1
      continue
    fi
    n=$((n + 1))
    shift 8
    start_run "$@" && took $n
    set -- "$patience" "$box" "$message" "$mode" - "$session" "$silence" "$idle" "$@"
  done
}

took() {
  printf '%s\n' "$1" >"$claimed/run.new.$$" && mv -f "$claimed/run.new.$$" "$claimed/run"
  printf 'accepted %s\n' "$1"
  exit 0
}

# Puts message $1 (Claude's line in file $2, the log's in file $3, if any) before the feeder. Fails, with the files as
# they were, if the run will not take it any more.
enqueue() {
  [ -z "${3-}" ] || mv "$3" "$run/turns/$1" || return 1
  mv "$2" "$run/spool/$1" || return 1
  exec 5<>"$run/ctl"
  printf '%s\n' "$1" >&5
  exec 5>&-
  if [ -d "$run/closed" ] || [ -e "$run/exit" ] || ! alive "$run/identity"; then
    # The gate may have closed meanwhile: either the feeder has it, or we take it back.
    if mv "$run/spool/$1" "$2" 2>/dev/null; then
      [ -z "${3-}" ] || mv "$run/turns/$1" "$3" 2>/dev/null
      return 1
    fi
  fi
  return 0
}

# Starts run $n with the waiting message first. Arguments: claude and its arguments. Fails if somebody else was faster.
start_run() {
  at_run $n
  command -v setsid >/dev/null 2>&1 || { undo_claim; fail setsid_missing; }
  find_claude "$1" || { undo_claim; fail claude_missing; }
  shift
  if ! mkdir "$run" 2>/dev/null; then
    [ -d "$run" ] && return 1
    undo_claim
    fail storage "$idea"
  fi
  identify $$ "$run/identity"
  if ! prepare_run "$@"; then
    rm -rf "$run" "$logs"
    undo_claim
    fail storage "$logs"
  fi
  CATALYST_SUPERVISOR=$tag setsid sh "$self" supervise "$run" "$logs" "$work" "$tag" "$silence" "$idle" \
    </dev/null >/dev/null 2>"$run/supervisor.err" &
  started=0
  until [ -e "$run/ready" ] || [ -e "$run/exit" ]; do
    started=$((started + 1))
    if [ $started -gt 200 ]; then
      words=$(last_words "$run/supervisor.err")
      fail not_started "$words"
    fi
    nap 0.05
  done
  announce "run $id $n"
  return 0
}

prepare_run() {
  mkdir "$run/spool" "$run/turns" "$run/done" "$run/answers" || return 1
  mkdir -p "$logs" "$folder/project" || return 1
  # Room for the last line, so that a full disk cannot hide how the run ended.
  dd if=/dev/zero of="$logs/.reserve" bs=4096 count=4 || return 1
  [ "$(wc -c <"$logs/.reserve" | tr -d ' ')" = 16384 ] || return 1
  work=$folder/project
  resume=
  [ "$session" != - ] || last_session
  [ "$session" = - ] || find_session
  printf '%s\n' "$claude" "$@" >"$run/command" || return 1
  [ -z "$resume" ] || printf '%s\n' "--resume=$resume" >>"$run/command" || return 1
  printf '%s\n' "$mode" >"$run/mode" || return 1
  printf '%s\n' "$message" >"$run/first" || return 1
  printf '{"type":"catalyst_start","mode":"%s"}\n' "$mode" >>"$logs/log.jsonl" || return 1
  mv "$box.log" "$run/turns/$message" && mv "$box.turn" "$run/spool/$message"
}

# Sets claude to the path of command $1: from PATH, from the usual places, or from where a login shell finds it.
find_claude() {
  claude=$(command -v "$1" 2>/dev/null) && return 0
  for at in "$HOME/.local/bin/$1" "$HOME/.claude/local/$1" "$HOME/.npm-global/bin/$1" "/usr/local/bin/$1"; do
    [ -x "$at" ] && claude=$at && return 0
  done
  case $1 in *[!A-Za-z0-9._/-]*) return 1 ;; esac
  claude=$("${SHELL:-sh}" -lc "command -v $1" 2>/dev/null </dev/null | tail -n 1)
  case $claude in /*) [ -x "$claude" ] ;; *) return 1 ;; esac
}

# The session of the run before, for a proxy that has not heard of it yet.
last_session() {
  said=$(grep '^{"type":"system","subtype":"init"' "$folder/runs/$((n - 1))/log.jsonl" 2>/dev/null | tail -n 1 |
    grep -o '"session_id":"[A-Za-z0-9_-]*"' | head -n 1 | cut -d'"' -f4)
  session=${said:--}
}

# Resumes the session where its transcript says: Claude finds it only from the folder it was started in.
find_session() {
  transcripts=${CLAUDE_CONFIG_DIR:-$HOME/.claude}/projects
  for transcript in "$transcripts"/*/"$session".jsonl; do
    [ -f "$transcript" ] || continue
    resume=$session
    there=$(grep -o '"cwd":"[^"\\]*"' "$transcript" | head -n 1 | cut -d'"' -f4)
    [ -n "$there" ] && [ -d "$there" ] && work=$there
    return 0
  done
  # No transcript: a new session begins rather than none.
}

# Ends the running turn. Standard input: the interrupt request. Arguments: its id, grace in tenths of a second.
# Prints "idle", "interrupted" or "killed".
cmd_stop() {
  place "$1" "$2"
  request=$3 grace=$4
  latest
  at_run $n
  if [ $n -eq 0 ] || settle "$run" "$logs" "$tag" || ! busy "$logs/log.jsonl"; then
    echo idle
    exit 0
  fi
  size=$(wc -c <"$logs/log.jsonl" | tr -d ' ')
  mkdir -p "$idea/inbox" && cat >"$idea/inbox/$request" || fail storage "$idea"
  if enqueue "$request" "$idea/inbox/$request"; then
    waited=0
    while [ $waited -lt "$grace" ]; do
      if tail -c +$((size + 1)) "$logs/log.jsonl" | grep -qE '^\{"type":"(result|catalyst_exit)"'; then
        echo interrupted
        exit 0
      fi
      waited=$((waited + 1))
      nap 0.1
    done
  fi
  rm -f "$idea/inbox/$request"
  kill_run stopped
  echo killed
}

# Ends the live run and everything that it started; $1 says why.
kill_run() {
  [ -e "$run/reason" ] || printf '%s\n' "$1" >"$run/reason"
  end_all "CATALYST_RUN=$tag" || fail not_stopped "$(grep -lszFx "CATALYST_RUN=$tag" /proc/[0-9]*/environ | cut -d/ -f3 | tr '\n' ' ')"
  waited=0
  until settle "$run" "$logs" "$tag"; do
    waited=$((waited + 1))
    [ $waited -le 100 ] || fail not_stopped supervisor
    nap 0.1
  done
}

# Ends the live run whatever it does, as before its idea is deleted.
cmd_end() {
  place "$1" "$2"
  latest
  at_run $n
  if [ $n -gt 0 ] && ! settle "$run" "$logs" "$tag"; then kill_run stopped; fi
  echo over
}

# Prints the open request for permission $3 of the live run, as Claude wrote it.
cmd_request() {
  place "$1" "$2"
  latest
  at_run $n
  [ $n -gt 0 ] && ! settle "$run" "$logs" "$tag" || fail request_gone
  [ -e "$run/answers/$3" ] && fail already_answered
  open_requests "$logs/log.jsonl" "$run/answers" | grep -qFx -e "$3" || fail request_gone
  grep -F "\"request_id\":\"$3\"" "$logs/log.jsonl" | grep '^{"type":"control_request"' | head -n 1
}

# Answers request $3 with decision $4; standard input: the answer. The first one counts.
cmd_answer() {
  place "$1" "$2"
  request=$3 decision=$4
  latest
  at_run $n
  [ $n -gt 0 ] && ! settle "$run" "$logs" "$tag" || fail request_gone
  mine=$run/answers/$request.new.$$
  cat >"$mine" && [ -s "$mine" ] || fail storage "$idea"
  # A link is made whole or not at all, and never replaces one.
  if ln "$mine" "$run/answers/$request" 2>/dev/null; then
    enqueue "answer-$request" "$mine" || fail request_gone
    announce "answer $id $n $request $decision"
    echo answered
    exit 0
  fi
  # Whoever was first may have died before handing it over.
  if [ ! -e "$run/done/answer-$request" ] && [ ! -e "$run/spool/answer-$request" ]; then
    cat "$run/answers/$request" >"$mine" && enqueue "answer-$request" "$mine"
  fi
  rm -f "$mine"
  fail already_answered
}

# A range of a log: "SIZE PREVIOUS" (bytes of the line that follows: the last result before the range, if $4 is 1), then
# that line, then the bytes. Arguments: log, first byte from 0, length, 1|0.
cmd_read() {
  [ -e "$1" ] || fail log_gone
  previous=
  [ "$4" = 0 ] || previous=$(head -c "$2" "$1" | grep '^{"type":"result"' | tail -n 1)
  size=$(wc -c <"$1" | tr -d ' ')
  printf '%s %s\n%s' "$size" ${#previous} "$previous"
  tail -c +$(($2 + 1)) "$1" | head -c "$3"
}

# The log of run $3 from byte $4 on, as it grows; ends with the channel. Status 0: that is all of it; 75: look again;
# 76: there is no such run.
cmd_follow() {
  place "$1" "$2"
  at_run "$3"
  [ -d "$run" ] || [ -e "$logs/log.jsonl" ] || exit 76
  if settle "$run" "$logs" "$tag"; then
    [ -e "$logs/log.jsonl" ] || exit 0
    tail -c +$(($4 + 1)) "$logs/log.jsonl"
    # Written beside the log when there was no room in it.
    tail -n 1 "$logs/log.jsonl" | grep -q '^{"type":"catalyst_exit"' || { echo; cat "$run/exit"; } 2>/dev/null
    exit 0
  fi
  follow_file "$logs/log.jsonl" "$4" "$keeper_pid"
  exit 75
}

# The index from byte $1 on ("end": from now), first "at OFFSET".
cmd_index() {
  mkdir -p "$state" && : >>"$state/index" || fail storage "$state"
  from=$1
  [ "$from" != end ] || from=$(wc -c <"$state/index" | tr -d ' ')
  printf 'at %s\n' "$from"
  follow_file "$state/index" "$from"
  exit 75
}

# File $1 from byte $2 on, until standard input ends or process $3 is gone.
follow_file() {
  exec 6<&0
  if tail --version 2>/dev/null | grep -q GNU; then
    tail -c +$(($2 + 1)) -s 0.25 ${3:+--pid="$3"} -f "$1" 6<&- &
  else
    poll_file "$1" "$2" "${3-}" 6<&- &
  fi
  follower=$! helper=
  trap 'kill $follower $helper 2>/dev/null' EXIT
  trap 'exit 75' TERM HUP PIPE
  (
    trap - EXIT
    cat <&6 >/dev/null
    kill $follower
  ) >/dev/null 2>&1 &
  helper=$!
  exec 6<&-
  wait $follower
}

# Reads on from where the last read ended, for a tail without inotify.
poll_file() {
  exec 7<"$1"
  [ "$2" -eq 0 ] || dd bs=1 skip="$2" count=0 <&7 2>/dev/null
  while cat <&7; do
    if [ -n "$3" ] && ! kill -0 "$3" 2>/dev/null; then
      cat <&7
      return 0
    fi
    nap 0.1
  done
}

self=$0
command=$1
shift
case $command in
  supervise) supervise "$@" ;;
  deliver)
    place "$1" "$2"
    shift 2
    deliver "$@"
    ;;
  send | state | stop | end | request | answer | read | follow | index) "cmd_$command" "$@" ;;
  *) fail unknown_command ;;
esac
