#!/bin/sh
# virtme-ng's init calls `mktemp --tmpdir=DIR`, which busybox spells `-p DIR`.
case ${1-} in
--tmpdir=*) exec busybox mktemp -p "${1#--tmpdir=}" ;;
*) exec busybox mktemp "$@" ;;
esac
