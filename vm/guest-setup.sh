#!/bin/bash
# Runs in the virtual machine: sets up what the tests need, then the command.
#   guest-setup START SWAP COMMAND
# In an interactive machine, plain `guest-setup`.
# START is the host's clock when the machine was started, SWAP is blk or zram.
start=${1-$(date +%s)} swap=${2-blk} cmd=${3-bash}

note() { echo "vm: $*"; }

mount -t devpts devpts /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t 9p -o ro,version=9p2000.L,trans=virtio,cache=loose,msize=262144 payload /payload || exit 125
mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null
mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null

# Swap. The two kinds take different ways through the kernel: a page read back
# from zram skips the swap cache, one from a disk goes through it.
case $swap in
zram)
	echo 512M >/sys/block/zram0/disksize
	dev=/dev/zram0
	;;
*) dev=/dev/vda ;;
esac
{ mkswap "$dev" >/dev/null && swapon "$dev"; } || note "no swap on $dev"

# Huge pages, on both nodes.
echo 192 >/proc/sys/vm/nr_hugepages
[ "$(cat /proc/sys/vm/nr_hugepages)" -eq 192 ] || note "could not reserve 192 huge pages"

# userfaultfd for everyone, with faults from the kernel's side.
echo 1 >/proc/sys/vm/unprivileged_userfaultfd
# A crash in a test is reported by the test; no core files in the way.
ulimit -c 0
ulimit -l unlimited

nodes=(/sys/devices/system/node/node*)
note "ready after $(($(date +%s) - start)) s: $(nproc) CPUs, ${#nodes[@]} nodes, swap on $dev"
cd /payload || exit 125
bash -c "$cmd"
