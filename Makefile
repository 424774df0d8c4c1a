# The map of the project: every target calls one script below scripts/.
# `make help` prints the lines with two hashes.

.NOTPARALLEL:
.PHONY: help demo check check-all bench bench-manager packages base tree export config kernel \
	rootfs selftests manager proofs shell clean distclean
.DEFAULT_GOAL := help

help: ## show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

demo: kernel ## build, boot, and there evict the cold half of a virtual machine and bring it back
	@scripts/demo

check: ## the same from nothing, and every test; the last line counts them
	@scripts/check checks

check-all: ## check, each patch on its own, the manager (in the virtual machine, its speed, for arm64), 6.12's own tests with and without the series, and the series in other configurations
	@scripts/check checks checks-all

bench: base tree ## measure, against the base and a later kernel that ships RWP
	@scripts/bench

bench-manager: packages ## measure the store and the evictor against a bare loop over io_uring
	@scripts/manager-bench

packages: ## install the Debian packages of packages.txt (or say how)
	@scripts/packages

base: packages ## unpack Debian's linux-source-6.12 into build/linux
	@scripts/base

tree: base ## build/linux, branch series: the base and one commit a patch
	@scripts/tree

export: ## write the commits of build/linux back to series/6.12
	@scripts/export

config: tree ## merge kernel/config/*.config into build/kernel/.config
	@scripts/config

kernel: tree ## build the patched kernel in build/kernel
	@scripts/kernel

rootfs: packages ## make the root file system of the virtual machine
	@scripts/rootfs

selftests: tree ## build the selftests the checks run
	@scripts/selftests

manager: packages ## build librwp and the command rwp in build/lib and build/cmd
	@scripts/manager

proofs: tree ## build the fuzzer and the other programs of proofs/ in build/proofs; check-all runs them
	@scripts/proofs

shell: kernel ## boot the kernel to a shell (leave with Ctrl-D)
	@scripts/vm

clean: ## remove what was built, keep the tree and its commits
	@scripts/clean

distclean: ## remove build/ as a whole, if nothing in it is yours alone
	@scripts/clean --all
