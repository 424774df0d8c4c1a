#!/bin/bash
# Runs the programs named, one after the other; a word may hold a program and its
# arguments. The lines around each one's output tell the host where it begins and
# how it ended. LIMIT is the time each may take in seconds, without end if unset.
worst=0
# Some programs create files where they are started; /payload is read-only.
mkdir -p /tmp/work && cd /tmp/work || exit 125
for program; do
	echo "@@ begin $program"
	# shellcheck disable=SC2086 # arguments are words of their own
	${LIMIT:+timeout -k 5 "$LIMIT"} /payload/$program 2>&1
	code=$?
	echo "@@ end $program $code"
	[ "$code" -eq 0 ] || worst=1
done
exit "$worst"
