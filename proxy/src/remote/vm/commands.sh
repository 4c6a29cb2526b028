
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
    at_run 0
    (revive) >/dev/null 2>&1
    exit 0
  fi
  at_run $n
  live=live
  settle "$run" "$logs" "$tag" && live=over
  mode=chat
  { read -r mode <"$run/mode"; } 2>/dev/null || { head -n 1 "$logs/log.jsonl" | grep -q '"mode":"build"' && mode=build; } 2>/dev/null
  size=$(wc -c 2>/dev/null <"$logs/log.jsonl" | tr -d ' ')
  printf 'run %s %s %s %s\n' $n $live "$mode" "${size:-0}"
  report_answers
  # Whatever keeps it from that is no reason not to answer.
  (revive) >/dev/null 2>&1
  return 0
}

report_answers() {
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
  patience=0
  until carry; do
    [ ! -s "$claimed/run" ] || break
    if [ $patience -ge 50 ]; then
      # Whoever carries it lives and waits for the end of a run.
      rm -f "$box"
      latest
      [ "$(cat "$idea/runs/$n/first" 2>/dev/null)" = "$message" ] || n=$((n + 1))
      printf 'accepted %s\n' $n
      exit 0
    fi
    patience=$((patience + 1))
    nap 0.1
  done
  if handed; then
    rm -f "$box"
    took "$handed"
  fi
  head -n 1 "$box" >"$box.turn" && tail -n +2 "$box" >"$box.log" && rm -f "$box" || fail storage "$idea"
  shift 2
  deliver "$@"
}

# Becomes the one who brings the message to a run. Fails if somebody has brought it, or carries it and lives.
# A link is made whole or not at all: whoever has the claim is named in it.
carry() {
  [ ! -s "$claimed/run" ] || return 1
  mkdir -p "$claimed" && identify $$ "$idea/inbox/carrier.$$" || fail storage "$idea"
  carrier=$claimed/carrier turn=0
  while ! ln "$idea/inbox/carrier.$$" "$carrier" 2>/dev/null; do
    if [ ! -e "$carrier" ] || [ $turn -ge 50 ] || alive "$carrier"; then
      rm -f "$idea/inbox/carrier.$$"
      return 1
    fi
    turn=$((turn + 1))
    carrier=$claimed/carrier.$turn
  done
  rm -f "$idea/inbox/carrier.$$"
}

# Whether a carrier before us brought the message to a run, even if it died before it could say so. Sets handed.
handed() {
  if [ -s "$claimed/run" ]; then
    handed=$(cat "$claimed/run")
    return 0
  fi
  [ "$carrier" != "$claimed/carrier" ] || return 1
  for handed in "$idea"/runs/*/done/"$message"; do
    [ -e "$handed" ] || continue
    handed=${handed%/done/*} handed=${handed##*/}
    return 0
  done
  latest
  at_run $n
  [ $n -gt 0 ] && [ -e "$run/spool/$message" ] && ! settle "$run" "$logs" "$tag" || return 1
  # Perhaps the feeder was not told; it takes a message once, however often it hears of it.
  if [ -p "$run/ctl" ]; then
    exec 5<>"$run/ctl"
    printf '%s\n' "$message" >&5
    exec 5>&-
  fi
  handed=$n
}

# Nothing is left of the message, so that it can be sent again. Moved away first: who waits for the claim sees it whole
# or not at all.
undo_claim() {
  rm -f "$idea/inbox/$message".*.turn "$idea/inbox/$message".*.log "$idea/inbox/$message".*.args
  mv "$claimed" "$idea/inbox/undone.$$" && rm -rf "$idea/inbox/undone.$$"
}

# Brings the message in $box into the live run of its mode, or a new one. A run that is ending is waited for, in the
# background if it takes long. Arguments: as cmd_send from the message's id on.
deliver() {
  message=$1 mode=$2 session=$4 silence=$5 idle=$6
  shift 6
  waited=0
  while :; do
    [ ! -s "$claimed/run" ] || took "$(cat "$claimed/run")"
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
      if [ $waited -ge 30 ] && [ -z "${CATALYST_WAITS-}" ]; then
        printf '%s\n' "$message" "$mode" - "$session" "$silence" "$idle" "$@" >"$box.new" &&
          mv -f "$box.new" "$box.args" && hand_on || { undo_claim; fail storage "$idea"; }
        printf 'accepted %s\n' $((n + 1))
        exit 0
      fi
      waited=$((waited + 1))
      nap 0.1
      continue
    fi
    n=$((n + 1))
    start_run "$@" && took $n
  done
}

# Makes a process in the background the carrier of what $box holds.
hand_on() {
  CATALYST_WAITS=1 setsid sh "$self" deliver "$id" "$folder" "$message" "$box" "$carrier" </dev/null >/dev/null 2>&1 &
  identify $! "$carrier" || { kill $!; return 1; }
}

# That process. It carries nothing before it is named.
cmd_deliver() {
  place "$1" "$2"
  message=$3 box=$4 carrier=$5 claimed=$idea/messages/$3
  patience=0 named=
  until { read -r boot named stat_start <"$carrier"; } 2>/dev/null && [ "$named" = $$ ]; do
    [ $patience -lt 50 ] || exit 0
    patience=$((patience + 1))
    nap 0.1
  done
  set --
  while IFS= read -r word; do set -- "$@" "$word"; done <"$box.args"
  deliver "$@"
}

# Messages that were accepted and whose carrier is gone, as after a reboot, get another.
revive() {
  for box in "$idea"/inbox/*.args; do
    [ -s "$box" ] || continue
    box=${box%.args}
    { read -r message <"$box.args"; } 2>/dev/null || continue
    claimed=$idea/messages/$message
    carry || continue
    if handed; then
      keep_run "$handed"
    else
      # It may have been the first of a run that never came to it.
      [ -e "$box.turn" ] || mv "$run/spool/$message" "$box.turn"
      [ -e "$box.log" ] || mv "$run/turns/$message" "$box.log"
      hand_on
    fi
  done
}

# Records that run $1 has the message.
keep_run() {
  printf '%s\n' "$1" >"$claimed/run.new.$$" && mv -f "$claimed/run.new.$$" "$claimed/run"
  rm -f "$idea/inbox/$message".*.turn "$idea/inbox/$message".*.log "$idea/inbox/$message".*.args
}

took() {
  keep_run "$1"
  printf 'accepted %s\n' "$1"
  exit 0
}

# The message cannot be delivered: says why. Arguments: as fail. Who waits in the background has nobody to say it to,
# so the next run says it.
refuse() {
  if [ -z "${CATALYST_WAITS-}" ]; then
    undo_claim
    fail "$@"
  fi
  case $1 in
    claude_missing) words='Claude Code was not found on the VM' ;;
    not_started) words="the run did not start: ${2-}" ;;
    *) words="there was no room, or it may not be written: ${2-}" ;;
  esac
  if [ ! -e "$run/exit" ]; then
    mkdir "$run" 2>/dev/null || { [ ! -d "$run" ] || return 1; exit 3; }
    identify $$ "$run/identity"
    printf '%s\n' "$mode" >"$run/mode"
    # What cannot be said now stays, and is tried again when somebody looks.
    mkdir -p "$logs" && printf '{"type":"catalyst_start","mode":"%s"}\n' "$mode" >"$logs/log.jsonl" &&
      cat "$box.log" >>"$logs/log.jsonl" || { rm -rf "$run" "$logs"; exit 3; }
    claim_verdict "$run" &&
      write_exit "$run" "$logs" 127 missing "The message could not be handed to Claude ($words). Send it again."
  fi
  announce "run $id $n"
  undo_claim
  exit 3
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
  command -v setsid >/dev/null 2>&1 || refuse setsid_missing || return 1
  find_claude "$1" || refuse claude_missing || return 1
  shift
  if ! mkdir "$run" 2>/dev/null; then
    [ -d "$run" ] && return 1
    refuse storage "$idea" || return 1
  fi
  identify $$ "$run/identity"
  if ! prepare_run "$@"; then
    [ -e "$box.log" ] || mv "$run/turns/$message" "$box.log"
    rm -rf "$run" "$logs"
    refuse storage "$logs" || return 1
  fi
  CATALYST_SUPERVISOR=$tag setsid sh "$self" supervise "$run" "$logs" "$work" "$tag" "$silence" "$idle" \
    </dev/null >/dev/null 2>"$run/supervisor.err" &
  started=0
  until [ -e "$run/ready" ] || [ -e "$run/exit" ]; do
    started=$((started + 1))
    if [ $started -gt ${CATALYST_START_TRIES:-200} ] && claim_verdict "$run"; then
      # Nothing of it may come up late: the message will be sent again.
      words=$(last_words "$run/supervisor.err")
      end_all "CATALYST_SUPERVISOR=$tag"
      end_all "CATALYST_RUN=$tag"
      [ -e "$run/exit" ] || write_exit "$run" "$logs" 127 missing \
        "The message could not be handed to Claude (the run did not start: $words). Send it again."
      refuse not_started "$words"
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
  # The last that can fail, so that what is refused is still there to be told.
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

# Says that request $1 was answered, if the answer that counts is decision $2; else that it is too late.
settled() {
  said=$(grep -o '"behavior":"[a-z]*"' "$run/answers/$1" 2>/dev/null | head -n 1)
  [ "$said" = "\"behavior\":\"$2\"" ] || fail already_answered
  echo answered
  exit 0
}

# Prints the open request for permission $3 of the live run, as Claude wrote it; "answered" if $4 is what was answered.
cmd_request() {
  place "$1" "$2"
  latest
  at_run $n
  [ $n -gt 0 ] && ! settle "$run" "$logs" "$tag" || fail request_gone
  if [ -e "$run/answers/$3" ]; then
    redeliver "$3"
    settled "$3" "$4"
  fi
  open_requests "$logs/log.jsonl" "$run/answers" | grep -qFx -e "$3" || fail request_gone
  grep -F "\"request_id\":\"$3\"" "$logs/log.jsonl" | grep '^{"type":"control_request"' | head -n 1
}

# Hands the answer to request $1 over, unless that is done: whoever was first may have died before it.
redeliver() {
  [ ! -e "$run/done/answer-$1" ] && [ ! -e "$run/spool/answer-$1" ] || return 0
  # A copy: what was handed over is emptied.
  cp "$run/answers/$1" "$run/answers/$1.new.$$" && enqueue "answer-$1" "$run/answers/$1.new.$$" && return 0
  rm -f "$run/answers/$1.new.$$"
  return 1
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
    rm -f "$mine"
    redeliver "$request" || fail request_gone
    announce "answer $id $n $request $decision"
    echo answered
    exit 0
  fi
  rm -f "$mine"
  redeliver "$request"
  settled "$request" "$decision"
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
  follower=$! helper='' heart=
  trap 'kill $follower $helper $heart 2>/dev/null' EXIT
  trap 'exit 75' TERM HUP PIPE
  (
    trap - EXIT
    cat <&6 >/dev/null
    kill $follower
  ) >/dev/null 2>&1 &
  helper=$!
  exec 6<&-
  # A dead connection shows only where something is written to it.
  (
    trap - EXIT
    trap '' PIPE
    trap 'kill $pause; exit' TERM
    while sleep "${CATALYST_HEARTBEAT:-60}" 2>/dev/null & pause=$!; wait $pause; do
      echo >&2 || break
    done
    kill $follower
  ) >/dev/null &
  heart=$!
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
  deliver | send | state | stop | end | request | answer | read | follow | index) "cmd_$command" "$@" ;;
  *) fail unknown_command ;;
esac
