#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The command from outside, in the virtual machine. In TAP.
here=$(dirname "$(readlink -f "$0")")
PATH=$here:$PATH
count=0 failed=0
work=$(mktemp -d) || exit 1
cd "$work" || exit 1

check() { # NAME COMMAND...: the command succeeds
	count=$((count + 1))
	if "${@:2}" >out 2>&1; then
		echo "ok $count $1"
	else
		echo "not ok $count $1"
		sed 's/^/# /' out
		failed=$((failed + 1))
	fi
}

exits() { # CODE COMMAND...
	local code=0
	"${@:2}" >text 2>&1 || code=$?
	[ "$code" -eq "$1" ] || { cat text; echo "exit code $code, not $1"; return 1; }
}

# Bad input: the exit code, and one line (and where to find help) that says why.
one_line() { # CODE COMMAND...
	exits "$@" || return 1
	if [ "$(grep -c . text)" -gt 2 ] || ! grep -q '^rwp' text; then
		cat text
		return 1
	fi
}

# It is ready when its memory is there.
start_workload() {
	mkfifo ready
	workload "$@" >ready &
	target=$!
	read -r _ <ready
	rm ready
}

field() { sed -n "s/.*\"$1\":\([0-9]*\).*/\1/p" "$2"; }

# 16 MiB, 8 of every 64 pages: the large mapping's counts in the second window.
exact_counts() {
	rwp track "$target" -n 2 -i 200ms --json >json || return 1
	tail -n 1 json | grep -o '{"start":[^}]*"size":16777216[^}]*}' >mapping
	cat mapping
	[ "$(field populated mapping)" = 4096 ] && [ "$(field touched mapping)" = 512 ]
}

usable() { rwp probe --json | grep -q '"usable":true'; }

same_in_csv() {
	rwp track "$target" -n 2 -i 200ms --csv --min-size 16M --max-size 16M --kind anon >csv
	cat csv
	[ "$(head -n 1 csv | tr -cd , | wc -c)" = 8 ] && [ "$(wc -l <csv)" = 3 ] &&
		tail -n 1 csv | grep -q ',16777216,anon,4096,4096,512,""$'
}

table() {
	rwp track "$target" -n 1 -i 200ms --ascii >table && cat table &&
		grep -q 'touched in it' table && grep -q '16.0M' table && grep -q '#x[.]*#x[.]*#' table
}

untouched() { # the target is not traced, not stopped, not registered
	grep -q 'State:.[SR]' "/proc/$target/status" && grep -q 'TracerPid:.0' "/proc/$target/status" &&
		! grep -q ' ur' "/proc/$target/smaps"
}

interrupted() { # SIGNAL CODE
	rwp track "$target" -i 100ms --json >json &
	local tracker=$!
	while [ "$(wc -l <json)" -lt 2 ]; do sleep 0.1; done
	kill -"$1" "$tracker"
	wait "$tracker" 2>/dev/null
	[ $? -eq "$2" ] && untouched
}

target_ends() {
	workload 1 1 >/dev/null &
	local victim=$!
	sleep 0.2
	rwp track "$victim" -i 100ms --json >json 2>text &
	local tracker=$!
	while [ "$(wc -l <json)" -lt 2 ]; do sleep 0.1; done
	kill -9 "$victim"
	wait "$tracker" && grep -q 'has ended' text
}

record() {
	rwp record "$target" -n 5 -i 200ms -m 16M -o rec && [ "$(stat -c %a rec)" = 600 ]
}

# 2 MiB of the 16 in each window, and the rest not since the beginning.
report() {
	rwp report --ascii rec >said && cat said && grep -q "50% *2.0M *512\$" said &&
		grep -q '^ *[0-9a-f]*  ::::' said &&
		rwp report --ages 0,1s,5s rec >said && cat said && grep -q '1s *5s *14.0M *3584' said
}

raw() { [ "$(rwp report --raw rec | grep -c ',16777216,anon,4096,512,""$')" = 5 ]; }

svg() {
	rwp report --svg rec.svg rec && [ "$(stat -c %a rec.svg)" = 600 ] &&
		grep -q '<svg' rec.svg && tail -n 1 rec.svg | grep -q '</svg>'
}

recorder_killed() {
	rm -f cut
	rwp record "$target" -i 100ms -o cut 2>/dev/null &
	local recorder=$!
	while [ "$(stat -c %s cut 2>/dev/null || echo 0)" -lt 500 ]; do sleep 0.1; done
	kill -9 "$recorder"
	wait "$recorder" 2>/dev/null
	rwp report --no-map cut && untouched
}

# What rwp itself takes for 1 GiB: all of it, and no more than a thousandth.
own_memory() {
	local big own tracker
	workload 1024 1 >big &
	big=$!
	until grep -q ready big; do kill -0 "$big" && sleep 0.1 || return 1; done
	rwp track "$big" -i 200ms --json >json &
	tracker=$!
	while [ "$(wc -l <json)" -lt 3 ]; do kill -0 "$tracker" && sleep 0.1 || return 1; done
	own=$(awk '/^Private_/ { sum += $2 } END { print sum }' "/proc/$tracker/smaps_rollup")
	kill "$tracker" && wait "$tracker"
	kill "$big"
	# The first of its line is the sum.
	[ "$(tail -n 1 json | grep -o '"populated":[0-9]*' | sed -n '1s/.*://p')" -ge 262144 ] || return 1
	echo "rwp has $own KiB of its own" | tee measured
	[ "$own" -gt 0 ] && [ "$own" -le 1048 ]
}

start_workload 16 8
check 'probe finds everything' exits 0 rwp probe
check 'probe --json says so' usable
check 'no command' one_line 2 rwp
check 'an unknown command' one_line 2 rwp fly
check 'a bad interval' one_line 2 rwp track -i 1y "$target"
check 'an interval too short' one_line 2 rwp track -i 1ms "$target"
check 'a bad size' one_line 2 rwp track -m -1 "$target"
check 'a bad kind' one_line 2 rwp track -k wood "$target"
check 'a bad PID' one_line 2 rwp track 12x
check 'no PID' one_line 2 rwp track
check 'a PID of nothing' one_line 1 rwp track 4000000
check 'a kernel thread' one_line 1 rwp track 2
check 'exact counts in JSON' exact_counts
check 'the same in CSV, filtered' same_in_csv
check 'a table with a map' table
check 'nothing is left behind' untouched
check 'Ctrl-C' interrupted INT 0
check 'SIGTERM' interrupted TERM 0
check 'SIGKILL' interrupted KILL 137
check 'the target ends' target_ends
check 'record' record
check 'it is not overwritten' one_line 1 rwp record "$target" -n 1 -o rec
check 'record without a file' one_line 2 rwp record "$target"
check 'report' report
check 'report --raw' raw
check 'report --svg' svg
check 'report of nothing' one_line 1 rwp report nothing
check 'report of something else' one_line 1 rwp report "$here/rwp"
check 'bad ages' one_line 2 rwp report --ages 5s,1s rec
check 'a recorder that is killed' recorder_killed
check 'a full disk' one_line 1 bash -c "rwp track $target -n 1 -i 100ms >/dev/full"
kill "$target"
check 'no more memory than a thousandth' own_memory
[ ! -f measured ] || sed 's/^/# /' measured
echo "1..$count"
echo "# $((count - failed)) passed, $failed failed"
[ "$failed" -eq 0 ]
