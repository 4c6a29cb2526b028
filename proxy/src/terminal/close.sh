# Ends the terminal of name $1 that tmux or screen keeps, and what runs in it; says so if there was one.
tmux -L catalyst kill-session -t "=$1" 2>/dev/null && echo closed
screen -ls "$1" 2>/dev/null | grep -q "[0-9]\.$1[[:space:]]" && screen -S "$1" -X quit >/dev/null 2>&1 && echo closed
exit 0
