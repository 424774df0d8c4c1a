#!/bin/bash
# Runs uffd-unit-tests of the kernel and translates what it prints to KTAP.
#
# Its "events" cases race a fork against the monitor thread and fail now and
# then on an unpatched kernel under emulation, or never end: those, and only
# those, may be run again, twice. They come last but for a few, which are run on
# their own if an "events" case has not ended. With --no-events they are left out,
# most of the time goes to them.

run() { # STATUSFILE [-f NAME]: live output as comments, "status<TAB>case" lines in the file
	local status=$1
	shift
	timeout -k 5 800 /payload/uffd-unit-tests "$@" 2>&1 | awk -v status="$status" '
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
if [ "${1-}" = --no-events ]; then : >/tmp/first; else run /tmp/first; fi
# An "events" case that does not end takes along what comes after it: make up for
# that. The case itself has failed, and is run again below like any other.
if [ "${1-}" = --no-events ] || tail -n 2 /tmp/first | tr '\n' ' ' | grep -q '^fail	events.*fail	runs to its end'; then
	sed -i '$d' /tmp/first
	for name in $(/payload/uffd-unit-tests -l); do
		[[ $name == events* ]] || grep -q "	$name on " /tmp/first || run /tmp/rest -f "$name"
		[ ! -f /tmp/rest ] || cat /tmp/rest >>/tmp/first
		rm -f /tmp/rest
	done
fi
for again in 1 2; do
	grep -q '^fail	events' /tmp/first || break
	echo "# events failed, running it again ($again)"
	run /tmp/again -f events
	# A case that passes now has passed, one that was not reached before counts.
	awk -F '\t' 'NR == FNR { if ($2 ~ /^events/) now[$2] = $1; next }
		$1 == "fail" && now[$2] == "ok" { $1 = "ok" }
		{ delete now[$2]; print $1 "\t" $2 }
		END { for (name in now) print now[name] "\t" name }' /tmp/again /tmp/first >/tmp/merged
	mv /tmp/merged /tmp/first
done

echo "1..$(wc -l </tmp/first)"
awk -F '\t' '
	$1 == "ok" { print "ok " NR " " $2 }
	$1 == "skip" { print "ok " NR " " $2 " # SKIP" }
	$1 == "fail" { print "not ok " NR " " $2; failed = 1 }
	END { exit failed }' /tmp/first
