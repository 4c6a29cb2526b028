# How a run starts.

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
  # A name of its own for whatever launches it, too: all of it is found by that.
  CATALYST_SUPERVISOR=$tag $launch setsid sh "$self" supervise "$run" "$logs" "$work" "$tag" "$limits" \
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
  mkdir "$run/spool" "$run/turns" "$run/brief" "$run/done" "$run/answers" || return 1
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
  allow_for_good || return 1
  start_line >>"$logs/log.jsonl" || return 1
  find_launcher
  # The last that can fail, so that what is refused is still there to be told.
  mv "$box.log" "$run/turns/$message" && mv "$box.turn" "$run/spool/$message"
}

# The first line of the log. The mode is a word, and what it may do without asking, if it is a build.
start_line() {
  printf '{"type":"catalyst_start","mode":"%s","permissions":"%s","at":%d}\n' "${mode%%:*}" "${mode#*:}" "$(date +%s)"
}

# Tells claude what is always allowed. A file of ours, since rules say what a user once asked for.
allow_for_good() {
  for rule in "$idea"/allowances/*; do
    [ -s "$rule" ] || continue
    printf '{"permissions":{"allow":[%s]}}\n' "$(cat "$idea"/allowances/* | paste -s -d, -)" >"$run/settings.json" &&
      printf '%s\n' "--settings=$run/settings.json" >>"$run/command"
    return
  done
}

# Sets launch to what keeps a run alive after its connection. Where logind ends a user's processes at logout, that is a
# scope of the user's own service manager, which lingers; where that cannot be had, the log says so.
find_launcher() {
  launch=
  ends_at_logout || return 0
  export XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-/run/user/$(id -u)}"
  if loginctl enable-linger && systemd-run --user --scope --quiet true; then
    launch='systemd-run --user --scope --quiet --collect'
    return 0
  fi >/dev/null 2>&1
  printf '{"type":"catalyst_note","text":"%s"}\n' "This VM ends the processes of a user who logs out (KillUserProcesses=yes of \
logind), and no lingering scope can be had for the run: it may end when the connection does. On the VM, run: \
sudo loginctl enable-linger $(id -un)" >>"$logs/log.jsonl"
}

ends_at_logout() {
  said=$(busctl get-property org.freedesktop.login1 /org/freedesktop/login1 org.freedesktop.login1.Manager \
    KillUserProcesses KillExcludeUsers 2>/dev/null </dev/null) || return 1
  case $said in 'b true'*) ;; *) return 1 ;; esac
  case $said in *"\"$(id -un)\""*) return 1 ;; esac
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
