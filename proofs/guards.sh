#!/bin/bash
# Take guards of the series out, on a kernel with delays.patch, and see that the
# program that looks for it finds out. TAP.
knob=/sys/kernel/debug/uffd_delay/skip
n=0 bad=0

guard() { # BIT WHAT COMMAND...
	local bit=$1 what=$2 out
	shift 2
	n=$((n + 1))
	echo $((1 << bit)) >$knob || exit 1
	out=$("$@" 2>&1)
	code=$?
	echo 0 >$knob
	# What it found, without counting as a case of this run.
	out=$(grep -m 1 -E '^# step|^not ok' <<<"$out")
	if [ "$code" -ne 0 ] && [ -n "$out" ]; then
		echo "ok $n without $what: $1: ${out#not ok }"
	else
		bad=1
		echo "not ok $n without $what: $1 noticed nothing ($code)"
	fi
}

guard 5 'the refusal of two modes' ./fuzz-ioctl -k anon/sync -n 20 -w 0
guard 6 'a look at the whole range' ./fuzz-ioctl -k shmem/sync -n 20 -w 0
guard 7 'a look at the features' ./fuzz-ioctl -k anon/mixed -n 20 -c 500 -w 0
guard 8 'the error of arming' ./inject arm
guard 9 'the split before the sweep' ./inject unregister
guard 3 'the wake of the switch' ./hammer -n 60
guard 4 'the wake at the end' ./deaths -s
echo "1..$n"
exit $bad
