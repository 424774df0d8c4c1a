#!/bin/bash
# Runs uffd-unit-tests of the kernel and translates what it prints to KTAP.
#
# Its "events" cases race a fork against the monitor thread and fail now and
# then on an unpatched kernel under emulation: those, and only those, may be
# run again, twice.

run() { # STATUSFILE [-f NAME]: live output as comments, "status<TAB>case" lines in the file
	local status=$1
	shift
	/payload/uffd-unit-tests "$@" 2>&1 | awk -v status="$status" '
		{ print "# " $0; fflush() }
		/^Testing .*\.\.\. / {
			name = $0; sub(/^Testing /, "", name); sub(/\.\.\. .*/, "", name)
			result = "fail"
			if (/\.\.\. done$/) result = "ok"
			if (/\.\.\. skipped/) result = "skip"
			print result "\t" name >status
		}
		/^Userfaults unit tests: / { whole = 1 }
		END { print (whole ? "ok" : "fail") "\truns to its end" >status }'
}

echo "TAP version 13"
run /tmp/first
for again in 1 2; do
	grep -q '^fail	events' /tmp/first || break
	echo "# events failed, running it again ($again)"
	run /tmp/again -f events
	# A case that passes now has passed.
	awk -F '\t' 'NR == FNR { if ($1 == "ok") now[$2]; next }
		$1 == "fail" && $2 ~ /^events/ && $2 in now { $1 = "ok" }
		{ print $1 "\t" $2 }' /tmp/again /tmp/first >/tmp/merged
	mv /tmp/merged /tmp/first
done

echo "1..$(wc -l </tmp/first)"
awk -F '\t' '
	$1 == "ok" { print "ok " NR " " $2 }
	$1 == "skip" { print "ok " NR " " $2 " # SKIP" }
	$1 == "fail" { print "not ok " NR " " $2; failed = 1 }
	END { exit failed }' /tmp/first
