#!/bin/bash
# In the machine: for each line "NUMBER PROGRAM ARGUMENTS" of the list break what has
# the number (0: nothing), and run the program, which must notice. Ends early when the
# kernel complained or something does not end: then the machine is booted again.
switch=/sys/module/kernel/parameters/rwp_mutant limit=150
complaints() { dmesg | grep -cE 'WARNING:|BUG|Call Trace:|Bad page|Bad rss'; }

mkdir -p /tmp/work && cd /tmp/work || exit 125
try() { # NUMBER COMMAND...
	local number=$1 program=$2 before code=stuck
	shift 2
	echo "@@ begin $number"
	before=$(complaints)
	rm -f code
	echo "$number" >$switch
	# A process that cannot be killed must not hold up the rest.
	{
		timeout -k 5 $limit "/payload/$program" "$@" >said 2>&1
		echo $? >code.new && mv code.new code
	} &
	for ((i = 0; i < (limit + 10) * 10; i++)); do
		[ ! -f code ] || break
		sleep 0.1
	done
	echo 0 >$switch
	[ ! -f code ] || code=$(cat code)
	grep -a -m 1 '^not ok' said
	echo "@@ end $number $code $(($(complaints) - before))"
	[ "$code" != stuck ] && [ "$code" -lt 124 ] && [ "$(complaints)" -eq "$before" ]
}

while read -r number test; do
	# shellcheck disable=SC2086 # a program and its arguments
	try "$number" $test || exit 0
done </payload/list
