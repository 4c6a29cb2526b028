# Prints the terminals of an idea that tmux and screen keep: $1 is what their names begin with.
# A line each: keeper, name, attached viewers, when it was made, when it was last used (seconds; 0: not known).
tmux -L catalyst list-sessions -F 'tmux #{session_name} #{session_attached} #{session_created} #{session_activity}' 2>/dev/null |
  grep "^tmux $1[0-9] "
screen -ls "$1" 2>/dev/null | sed -n "s/^[[:space:]]*[0-9]*\.\($1[0-9]\)[[:space:]].*\((Attached)\|(Multi.*attached)\).*/screen \1 1 0 0/p
s/^[[:space:]]*[0-9]*\.\($1[0-9]\)[[:space:]].*(Detached).*/screen \1 0 0 0/p"
exit 0
