// SPDX-License-Identifier: GPL-2.0
/* `rwp serve' and peers that are wrong: they are refused, nobody else notices. */
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "serve.h"
#include "target.h"
#include "test.h"

static const char *const options[] = { "--interval", "50ms", "--age",
				       "50ms",	     "--timeout", "300ms",
				       NULL };

/* A connection that is refused: closed, and the log says why. */
static void refused_for(const struct serve *serve, int sock, const char *why)
{
	struct pollfd pfd = { .fd = sock, .events = POLLIN };
	char byte;

	CHECK_EQ(poll(&pfd, 1, 60000), 1);
	CHECK(recv(sock, &byte, 1, 0) <= 0);
	close(sock);
	serve_wait_log(serve, why);
}

static void send_and_be_refused(const struct serve *serve, const char *text,
				const int *fd, unsigned int count,
				const char *why)
{
	int sock = serve_connect(serve);

	serve_send(sock, text, fd, count);
	refused_for(serve, sock, why);
}

/* The text for @machine with other values. */
static void describe(char *text, size_t size, uint64_t start, uint64_t len,
		     unsigned int page)
{
	snprintf(text, size,
		 "[{\"base_host_virt_addr\":%llu,\"size\":%llu,\"offset\":0,\"page_size_kib\":%u}]",
		 (unsigned long long)start, (unsigned long long)len, page);
}

static void wrong_messages(const struct serve *serve,
			   const struct machine *machine)
{
	int fd[2] = { rwp_fd(machine->rwp), machine->area.fd };
	uint64_t start = (uintptr_t)machine->area.base;
	char text[400];

	refused_for(serve, serve_connect(serve), "sent nothing in 300 ms");
	send_and_be_refused(serve, "[{\"base_host_virt_addr\":", fd, 2,
			    "sent half a message in 300 ms");
	send_and_be_refused(serve, "hello", fd, 2, "is no JSON");
	send_and_be_refused(serve, "{}", fd, 2, "no list of regions");
	send_and_be_refused(serve, "[]", fd, 2, "has 0 regions");
	machine_text(machine, text, sizeof(text));
	send_and_be_refused(serve, text, NULL, 0, "sent no descriptor");
	send_and_be_refused(serve, text, &fd[1], 1, "0 userfaultfds, not one");
	describe(text, sizeof(text), start, machine->area.len * 4, PAGE);
	send_and_be_refused(serve, text, fd, 2, "is not shared");
	describe(text, sizeof(text), start, PAGE + 1, PAGE);
	send_and_be_refused(serve, text, fd, 2, "not of whole pages");
	describe(text, sizeof(text), start, 2 << 20, 2 << 20);
	send_and_be_refused(serve, text, fd, 2,
			    start % HUGE ? "not of whole pages" :
					   "another size");
	describe(text, sizeof(text), -PAGE, 2 * PAGE, PAGE);
	send_and_be_refused(serve, text, fd, 2, "beyond the end");
	snprintf(text, sizeof(text),
		 "[{\"base_host_virt_addr\":%llu,\"size\":8192},{\"base_host_virt_addr\":%llu,\"size\":8192}]",
		 (unsigned long long)start, (unsigned long long)start + 4096);
	send_and_be_refused(serve, text, fd, 2, "overlaps another");
}

static void thousand_descriptors(const struct serve *serve,
				 const struct machine *machine)
{
	int fd[250], sock = serve_connect(serve);

	for (int i = 0; i < 250; i++)
		fd[i] = machine->area.fd;
	for (int i = 0; i < 4; i++)
		serve_send(sock, " ", fd, 250);
	refused_for(serve, sock, "more than 16 descriptors");
}

static void other_memory(const struct serve *serve,
			 const struct machine *machine)
{
	int fd[2] = { rwp_fd(machine->rwp), machine->area.fd }, sealed;
	char *anon = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char text[400], *shared;

	CHECK(anon != MAP_FAILED);
	describe(text, sizeof(text), (uintptr_t)anon, 1 << 20, PAGE);
	send_and_be_refused(serve, text, fd, 2,
			    "only the monitor itself can evict it");
	munmap(anon, 1 << 20);
	/* A file that was sealed after it was mapped. */
	sealed = memfd_create("sealed", MFD_ALLOW_SEALING);
	CHECK(sealed >= 0 && !ftruncate(sealed, 1 << 20));
	shared = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, sealed,
		      0);
	CHECK(shared != MAP_FAILED);
	CHECK(!fcntl(sealed, F_ADD_SEALS, F_SEAL_FUTURE_WRITE));
	fd[1] = sealed;
	describe(text, sizeof(text), (uintptr_t)shared, 1 << 20, PAGE);
	send_and_be_refused(serve, text, fd, 2, "sealed against writing");
	close(sealed);
}

static void be_wrong(const struct serve *serve)
{
	struct machine machine;

	machine_make(&machine, SHARED, 1 << 20);
	wrong_messages(serve, &machine);
	thousand_descriptors(serve, &machine);
	other_memory(serve, &machine);
	exit(0);
}

/* Whatever comes, the machine beside it lives on. */
TEST(refused_one_by_one)
{
	struct machine good;
	struct writers writers;
	struct serve serve;
	pid_t worker, peer;
	int status;

	machine_make(&good, SHARED, 2 << 20);
	serve_start(&serve, options);
	worker = serve_worker(&serve, 0);
	machine_hand_over(&good, &serve);
	writers_start(&writers, &good.area);
	peer = fork();
	CHECK(peer >= 0);
	if (!peer)
		be_wrong(&serve);
	CHECK_EQ(waitpid(peer, &status, 0), peer);
	CHECK_EQ(status, 0);
	serve_wait_metric(&serve, "rwp_evicted_pages_total", 500);
	writers_stop(&writers);
	CHECK_EQ(serve_metric(&serve, "rwp_taken_total"), 1);
	CHECK_EQ(serve_worker(&serve, 0), worker);
	serve_stop(&serve);
	CHECK_EQ(atomic_load(&good.area.wrong), 0);
	CHECK_EQ(area_check(&good.area), 0);
}

/* A hundred that say nothing do not keep out one that does. */
TEST(many_silent)
{
	static const char *const slow[] = { "--interval", "50ms", "--age",
					    "50ms", "--machines", "200", NULL };
	struct machine machine;
	struct serve serve;
	int sock[100];

	machine_make(&machine, SHARED, 1 << 20);
	serve_start(&serve, slow);
	for (int i = 0; i < 100; i++)
		sock[i] = serve_connect(&serve);
	machine_hand_over(&machine, &serve);
	machine_wait_evicted(&machine, 0);
	serve_stop(&serve);
	CHECK_EQ(area_check(&machine.area), 0);
	for (int i = 0; i < 100; i++)
		close(sock[i]);
}

/* Dialects: an object, keys nobody knows, the descriptors last. */
TEST(dialects)
{
	struct machine machine;
	struct serve serve;
	char text[400];
	int fd[2], sock;

	machine_make(&machine, SHARED, 1 << 20);
	serve_start(&serve, options);
	fd[0] = machine.area.fd;
	fd[1] = rwp_fd(machine.rwp);
	snprintf(text, sizeof(text),
		 "{\"version\": 1.5, \"regions\": [{\"base_host_virt_addr\": %llu, \"size\": %zu, \"name\": {\"a\": [null]}}]}\n",
		 (unsigned long long)(uintptr_t)machine.area.base,
		 machine.area.len);
	sock = serve_connect(&serve);
	serve_send(sock, text, NULL, 0);
	nap_ms(50);
	serve_send(sock, " ", fd, 2);
	machine_wait_evicted(&machine, 0);
	CHECK_EQ(area_check(&machine.area), 0);
	serve_stop(&serve);
	close(sock);
}

/* The userfaultfd alone: the file is found by the mapping. */
TEST(file_not_sent)
{
	struct machine machine;
	struct serve serve;
	char text[400];
	int fd, sock;

	machine_make(&machine, SHARED, 1 << 20);
	serve_start(&serve, options);
	fd = rwp_fd(machine.rwp);
	machine_text(&machine, text, sizeof(text));
	sock = serve_connect(&serve);
	serve_send(sock, text, &fd, 1);
	machine_wait_evicted(&machine, 0);
	kill(serve_worker(&serve, 0), SIGKILL);
	CHECK_EQ(area_check(&machine.area), 0);
	serve_stop(&serve);
	CHECK_EQ(area_check(&machine.area), 0);
	close(sock);
}

/* A second manager cannot take what the first has, nor can the first twice. */
TEST(handed_over_twice)
{
	struct machine machine;
	struct serve serve;
	char text[400];
	int fd[2];

	machine_make(&machine, SHARED, 1 << 20);
	serve_start(&serve, options);
	machine_hand_over(&machine, &serve);
	fd[0] = rwp_fd(machine.rwp);
	fd[1] = machine.area.fd;
	machine_text(&machine, text, sizeof(text));
	send_and_be_refused(&serve, text, fd, 2, "was handed over before");
	machine_wait_evicted(&machine, 0);
	CHECK_EQ(area_check(&machine.area), 0);
	serve_stop(&serve);
}

static int as_nobody(const struct serve *serve, const char *why)
{
	pid_t pid = fork();
	int status;

	CHECK(pid >= 0);
	if (!pid) {
		int sock;

		CHECK(!setresuid(65534, 65534, 65534));
		sock = serve_connect(serve);
		refused_for(serve, sock, why);
		_exit(0);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	return status;
}

/* Users that are not named do not get as far as to send anything. */
TEST(other_users)
{
	static const char *const somebody[] = { "--allow-uid", "12345",
						"--timeout", "300ms", NULL };
	static const char *const nobody[] = { "--allow-uid", "65534",
					      "--timeout", "300ms", NULL };
	struct serve serve;
	struct stat st;

	serve_start(&serve, options);
	CHECK(!stat(serve.socket, &st));
	CHECK_EQ(st.st_mode & 0777, 0600);
	serve_stop(&serve);
	serve_start(&serve, somebody);
	CHECK(!chmod(serve.log, 0644));
	CHECK_EQ(as_nobody(&serve, "user 65534 may not hand anything over"), 0);
	serve_stop(&serve);
	serve_start(&serve, nobody);
	CHECK(!chmod(serve.log, 0644));
	CHECK_EQ(as_nobody(&serve, "sent nothing in 300 ms"), 0);
	serve_stop(&serve);
}
