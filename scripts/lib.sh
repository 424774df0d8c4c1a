# shellcheck shell=bash
# Shared by the scripts in this folder: where things are, how to speak, how to
# remember that a step is done. Sourced, not run.

set -eu -o pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$top/build
series=$top/series/6.12
# With RWP_BASE=1 the scripts work on the kernel without the series instead, in
# folders of its own.
base=${RWP_BASE:+-base}
linux=$build/linux$base  # the git tree: one commit for the base, one a patch
# With RWP_CONFIG=NAME they build the series in the configuration of
# kernel/config/other/NAME.config, in a folder of its own.
config=${RWP_CONFIG:-}
kind=$base${config:+-$config}
out=$build/kernel$kind   # what the kernel build writes
log=$build/log
arch=x86_64 cross='' foreign='' bzimage=$out/arch/x86/boot/bzImage
case $config in
i386) arch=i386 ;;
arm64) arch=arm64 cross=aarch64-linux-gnu- foreign=-arm64 bzimage=$out/arch/arm64/boot/Image ;;
esac
export top build series base config kind linux out log arch cross foreign bzimage

# A surrounding make, a cross-compiling shell or the user's git configuration
# must not leak into what is built here.
unset MAKEFLAGS MFLAGS MAKELEVEL ARCH CROSS_COMPILE KCONFIG_CONFIG KBUILD_OUTPUT
unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE
export LC_ALL=C TZ=UTC

jobs=${JOBS:-$(nproc)}
export jobs

say() { printf '==> %s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# Only one run at a time may work on one thing below build/.
lock() {
	mkdir -p "$build"
	exec 9>"$build/.lock-$1"
	flock -n 9 || { say "waiting for another run that holds build/.lock-$1"; flock 9; }
}

# A step is done when its stamp holds the key of everything it depends on. The
# stamp appears at once or not at all, so a full disk cannot leave half of one.
done_before() { [ -f "$build/$1.stamp" ] && [ "$(cat "$build/$1.stamp")" = "$2" ]; }
mark_done() {
	printf '%s\n' "$2" >"$build/$1.stamp.tmp" && mv "$build/$1.stamp.tmp" "$build/$1.stamp"
}

# One key for the content of the files named.
content_key() { cat -- "$@" | sha256sum | cut -c1-40; }

# Clones that share a machine name files to lock: BUILD_LOCK while a kernel is compiled,
# VM_LOCK while a virtual machine runs.

# Run a long command: all of its output goes to a log file, a line with what it
# is doing appears every few seconds, and on failure the interesting lines.
with_progress() { # NAME LOGFILE COMMAND...
	local name=$1 file=$2 rc=0 beat
	shift 2
	mkdir -p "$(dirname "$file")"
	: >"$file"
	(
		# Until this script ($$) is done with it, or is gone.
		start=$SECONDS
		while sleep 10 && kill -0 $$; do
			printf '    %s: %d s, %d steps: %s\n' "$name" $((SECONDS - start)) \
				"$(wc -l <"$file")" "$(tail -n 1 "$file" | tr -s ' ' | cut -c1-60)"
		done
	) 9>&- 2>/dev/null &
	beat=$!
	"$@" >>"$file" 2>&1 || rc=$?
	kill "$beat" 2>/dev/null || :
	wait "$beat" 2>/dev/null || :
	[ "$rc" -eq 0 ] && return
	grep -nE -m 10 'error|warning|Error|No space' "$file" >&2 || tail -n 10 "$file" >&2
	die "$name failed (exit $rc), see ${file#"$top"/}"
}

# Git that behaves alike for everyone, whatever the user's own configuration.
plain_git() {
	GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 git \
		-c core.autocrlf=false -c gc.auto=0 -c advice.detachedHead=false "$@"
}
lgit() { plain_git -C "$linux" "$@"; }

# The compiler that builds kernels.
cc=${cross}gcc
! command -v ccache >/dev/null || cc="ccache $cc"

# The same source gives the same image: who, where and when are fixed.
build_image() { # SOURCE OUT NAME DATE
	with_progress "$3" "$log/$3.log" ${BUILD_LOCK:+flock "$BUILD_LOCK"} make -C "$1" O="$2" ARCH="$arch" CROSS_COMPILE="$cross" CC="$cc" -j "$jobs" \
		LOCALVERSION= KBUILD_BUILD_USER=rwp KBUILD_BUILD_HOST=workbench KBUILD_BUILD_VERSION=1 \
		KBUILD_BUILD_TIMESTAMP="$4" "${bzimage##*/}"
}

# Other suites of Debian, with list and state files of our own below DIR: the
# machine's apt configuration is not touched. Signatures are checked against
# debian-archive-keyring.
own_apt() { # DIR COMMAND ARGUMENT...
	local dir=$1 cmd=$2
	shift 2
	mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial"
	"$cmd" -qq -o Dir::Etc::SourceList="$dir/sources.list" -o Dir::Etc::SourceParts=- \
		-o Dir::State::Lists="$dir/lists" -o Dir::State::status=/dev/null \
		-o Dir::Cache="$dir/cache" -o Acquire::Languages=none \
		-o Acquire::Retries=2 -o APT::Sandbox::User= "$@"
}

# Fetch the lists of a suite; one mirror of own_mirrors.
own_update() { # DIR MIRROR SUITE
	printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' \
		"$2" "$3" >"$1/sources.list"
	own_apt "$1" apt-get update
}

# The mirrors of this machine, Debian's main archive first. Before the first
# `apt-get update` apt does not know the labels, then each one is tried.
own_mirrors() {
	# shellcheck disable=SC2016 # $(REPO_URI) is apt's to expand
	{ apt-get indextargets --format '$(REPO_URI)' 'Label: Debian'
		apt-get indextargets --format '$(REPO_URI)'; } 2>/dev/null | awk '!seen[$0]++'
}
