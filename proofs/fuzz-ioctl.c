// SPDX-License-Identifier: GPL-2.0
/*
 * An ioctl fuzzer for userfaultfd RWP. Two parts:
 *
 *  - With a model: steps of the selftests' model test, which are well-formed and
 *    whose outcome it knows, and between them calls with arguments that are right
 *    but for a little, or not at all. fuzz-calls.c knows what each has to answer;
 *    what a call that succeeds does is told to the model, and a check of the whole
 *    window finds what a call that was refused has changed.
 *  - Wild: threads that call anything with anything at once, see fuzz-wild.c.
 *
 * What is done follows from the seed, and in the first part from the number of
 * the step: a finding prints how to see it again.
 */
#define main model_main
#include "uffd-rwp-model.c"
#undef main

#include "fuzz.h"

static struct fuzz_shared *fs;

static int calls_per_step = 30;

static void fuzz_step(struct fuzz *f, __u64 base)
{
	struct model *m = f->m;
	int k;

	f->state = base ^ (__u64)m->sh->step << 32;
	for (k = 0; k < 4; k++)
		fuzz_scan(f);
	for (k = 0; k < calls_per_step; k++)
		fuzz_call(f);
	fuzz_story(f);
	check(m);
	quiet(m);
}

/*
 * As finish() of the model test, with a look after each access: the first one of a
 * hole may map a huge page of the file, and the next one remove it again.
 */
static void fuzz_finish(struct model *m)
{
	int ctx, i;

	m->sh->step++;
	say(m, "close");
	if (m->child.pid)
		reap(m);
	if (m->pin.n)
		unpin(m);
	for (ctx = 1; ctx < NCTX; ctx++) {
		close(m->uffd[ctx]);
		m->uffd[ctx] = -1;
	}
	for (i = 0; i < m->n; i++)
		ordinary(m, i);
	check(m);
	check_all_text(m);
	for (i = 0; i < m->n; i += 1 + m->n / 16) {
		access_page(m, i, i & 1, i, 0);
		check(m);
	}
}

static int fuzz_run(const struct model_kind *kind, int mode, int limit)
{
	struct model m = { .kind = kind, .sh = sh, .verbose = verbose };
	struct fuzz f = { .m = &m, .fs = fs };
	__u64 base = seed;
	const char *p;
	int ret;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	m.flags = kind->flags | modes[mode].flag;
	for (p = kind->name; *p; p++)
		base = base * 31 + *p;
	base = base * 31 + mode;
	base = mix(&base);
	ret = fuzz_open(&f);
	if (ret)
		fail(&m, "no contexts: %s", strerror(-ret));
	ret = setup(&m);
	if (ret)
		return ret;
	fuzz_connect(&f);
	for (sh->step = 1; sh->step <= limit; sh->step++) {
		step(&m, base);
		fuzz_step(&f, base);
	}
	fuzz_finish(&m);
	return KSFT_PASS;
}

/* As run_process(), which starts the model test alone. */
static int fuzz_process(const struct model_kind *kind, int mode, int limit)
{
	unsigned long last = -1UL;
	struct pollfd pfd;
	int status;
	pid_t pid;

	memset(sh, 0, sizeof(*sh));
	fs->records = 0;
	fflush(stdout);
	pid = fork();
	if (!pid)
		_exit(fuzz_run(kind, mode, limit));
	pfd = (struct pollfd) { .fd = syscall(__NR_pidfd_open, pid, 0), .events = POLLIN };
	while (!poll(&pfd, 1, STUCK_MS)) {
		if (fs->calls + sh->step == last) {
			snprintf(sh->failure, sizeof(sh->failure), "it is stuck for good");
			kill(pid, SIGKILL);
		}
		last = fs->calls + sh->step;
	}
	close(pfd.fd);
	waitpid(pid, &status, 0);
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	if (!sh->failure[0])
		snprintf(sh->failure, sizeof(sh->failure), "signal %d", WTERMSIG(status));
	return KSFT_FAIL;
}

static void print_calls(void)
{
	unsigned long k = fs->records > NR_RECORDS ? fs->records - NR_RECORDS : 0;

	for (; k < fs->records; k++)
		print_record(&fs->record[k % NR_RECORDS]);
}

static unsigned long total_steps;

static void fuzz_kind(const struct model_kind *kind, int mode, int limit)
{
	__s64 begin = rwp_now_ms(), ms;
	unsigned long calls = fs->calls, ok = fs->ok;
	int ret = fuzz_process(kind, mode, limit);

	/* All that is needed is there: what is left out is a failure, too. */
	if (ret == KSFT_PASS) {
		ms = rwp_now_ms() - begin + 1;
		total_steps += limit;
		ksft_print_msg("%d model steps, %lu calls (%lu with success), %lu calls/s\n",
			       limit, fs->calls - calls, fs->ok - ok,
			       (fs->calls - calls) * 1000 / (unsigned long)ms);
	} else {
		report(kind, mode);
		ksft_print_msg("the last calls:\n");
		print_calls();
		ksft_print_msg("again: fuzz-ioctl -s %llu -k %s/%s -n %d -c %d\n", seed,
			       kind->name, modes[mode].name, limit, calls_per_step);
	}
	ksft_test_result(ret == KSFT_PASS, "%s/%s\n", kind->name, modes[mode].name);
}

static void wild(unsigned long calls)
{
	__s64 begin = rwp_now_ms(), ms;
	unsigned long before = fs->calls;
	int ret = fuzz_wild(fs, seed, calls);

	ms = rwp_now_ms() - begin + 1;
	ksft_print_msg("%lu calls, %lu calls/s\n", fs->calls - before,
		       (fs->calls - before) * 1000 / (unsigned long)ms);
	ksft_test_result(!ret, "wild\n");
}

static void explain(const char *name)
{
	printf("usage: %s [-s SEED] [-n STEPS] [-c CALLS] [-w CALLS] [-r ROUNDS] [-t SECONDS]\n"
	       "       [-k KIND[/MODE]]\n"
	       "  -s  seed (1); with -r the first one\n"
	       "  -n  steps of the model in a run (60)\n"
	       "  -c  calls after each step (%d)\n"
	       "  -w  calls of the wild part (20000), 0: leave it out\n"
	       "  -r  do it all as many times, with the next seed each time (1)\n"
	       "  -t  no new round after that many seconds\n"
	       "  -k  one kind of memory, one of sync, async and mixed; or wild\n",
	       name, calls_per_step);
	exit(KSFT_SKIP);
}

static void fuzz_kinds(const char *choice, int limit)
{
	unsigned int k, mode;

	for (k = 0; k < ARRAY_SIZE(kinds); k++) {
		if (thp_is_enabled())
			set_mthp(kinds[k].flags & K_MTHP);
		for (mode = 0; mode < ARRAY_SIZE(modes); mode++)
			if (wanted(choice, &kinds[k], mode))
				fuzz_kind(&kinds[k], mode, limit);
	}
}

int main(int argc, char **argv)
{
	unsigned long wild_calls = 20000, k;
	const char *choice = NULL;
	int limit = 60, rounds = 1, c;
	__s64 begin = rwp_now_ms(), end = 0;

	while ((c = getopt(argc, argv, "s:n:c:w:r:t:k:h")) != -1) {
		switch (c) {
		case 's':
			seed = strtoull(optarg, NULL, 0);
			break;
		case 'n':
			limit = atoi(optarg);
			break;
		case 'c':
			calls_per_step = atoi(optarg);
			break;
		case 'w':
			wild_calls = strtoul(optarg, NULL, 0);
			break;
		case 'r':
			rounds = atoi(optarg);
			break;
		case 't':
			end = begin + atol(optarg) * 1000;
			break;
		case 'k':
			choice = optarg;
			break;
		default:
			explain(argv[0]);
		}
	}
	ksft_print_header();
	if (rwp_unsupported() || geteuid())
		ksft_exit_fail_msg("needs RWP, and root\n");
	sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	fs = mmap(NULL, sizeof(*fs), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (sh == MAP_FAILED || fs == MAP_FAILED)
		ksft_exit_fail_msg("no memory\n");
	if (thp_is_enabled()) {
		thp_save_settings();
		push_thp();
	}
	rwp_write_long(KSM "sleep_millisecs", 0);
	rwp_write_long(KSM "pages_to_scan", 10000);
	for (; rounds--; seed++) {
		ksft_print_msg("seed %llu\n", seed);
		if (!choice || strcmp(choice, "wild"))
			fuzz_kinds(choice, limit);
		if (wild_calls && (!choice || !strcmp(choice, "wild")))
			wild(wild_calls);
		if (ksft_get_fail_cnt() || (end && rwp_now_ms() > end))
			break;
	}
	if (thp_is_enabled())
		thp_restore_settings();
	for (k = 0; k < 64; k++)
		if (fs->errors[k])
			ksft_print_msg("%-20s %lu\n", k ? strerror(k) : "success", fs->errors[k]);
	ksft_print_msg("all: %lu calls, %lu model steps, %lld s\n", fs->calls, total_steps,
		       (long long)(rwp_now_ms() - begin) / 1000);
	printf("1..%u\n", ksft_test_num());
	exit(ksft_get_fail_cnt() ? KSFT_FAIL : KSFT_PASS);
}
