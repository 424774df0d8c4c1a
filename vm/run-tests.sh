#!/bin/bash
# Runs the programs named, one after the other. The lines around each one's
# output tell the host where it begins and how it ended.
worst=0
# Some programs create files where they are started; /payload is read-only.
mkdir -p /tmp/work && cd /tmp/work || exit 125
for program; do
	echo "@@ begin $program"
	"/payload/$program" 2>&1
	code=$?
	echo "@@ end $program $code"
	[ "$code" -eq 0 ] || worst=1
done
exit "$worst"
