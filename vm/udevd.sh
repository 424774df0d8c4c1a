#!/bin/sh
# Stands in for systemd-udevd: virtme-ng's init starts whatever "udevd" is on
# the path and then expects the names of the virtio ports, which carry the
# command's input, output and exit code, below /dev/virtio-ports.
mkdir -p /dev/virtio-ports
for name in /sys/class/virtio-ports/*/name; do
	[ -f "$name" ] || continue
	port=${name%/name}
	ln -sf "/dev/${port##*/}" "/dev/virtio-ports/$(cat "$name")"
done
