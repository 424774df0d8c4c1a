// SPDX-License-Identifier: GPL-2.0
/* The message of a monitor: what is taken, what is refused, and how it arrives. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "handoff.h"

#define ONE "[{\"base_host_virt_addr\":4096,\"size\":8192,\"offset\":0,\"page_size\":4096}]"

/* A pipe stands for a userfaultfd, which not everybody may create. */
bool __wrap_rwpi_is_userfaultfd(int fd);

bool __wrap_rwpi_is_userfaultfd(int fd)
{
	struct stat st;

	return !fstat(fd, &st) && S_ISFIFO(st.st_mode);
}

static int parse(const char *text, struct rwp_handoff_region *first)
{
	struct rwp_handoff_region *region = NULL;
	struct rwp_error error = { 0 };
	int ret = rwp_handoff_parse(text, strlen(text), &region, &error);

	if (ret > 0)
		*first = region[ret - 1];
	if (ret < 0) {
		assert_int_equal(error.code, ret);
		assert_true(strlen(error.text) > 10);
		assert_null(strchr(error.text, '\n'));
	}
	free(region);
	return ret;
}

static void taken(void **state)
{
	struct rwp_handoff_region region;

	(void)state;
	assert_int_equal(parse(ONE, &region), 1);
	assert_int_equal(region.start, 4096);
	assert_int_equal(region.size, 8192);
	assert_int_equal(region.page_size, 4096);
	/* As Firecracker sends it: two names for one thing. */
	assert_int_equal(
		parse("[{\"base_host_virt_addr\":140000000000000,\"size\":2097152,\"offset\":0,\"page_size\":4096,\"page_size_kib\":4096},"
		      "{\"base_host_virt_addr\":18446744073705357312,\"size\":2097152,\"offset\":2097152,\"page_size_kib\":2097152}]",
		      &region),
		2);
	assert_true(region.start == 18446744073705357312ULL);
	assert_int_equal(region.page_size, 2 << 20);
	assert_int_equal(region.offset, 2 << 20);
	/* An object with more in it, and what is left out. */
	assert_int_equal(
		parse(" {\"x\":[1,{}],\"regions\":[{\"size\":4096,\"base_host_virt_addr\":8192,\"z\":null},"
		      "{\"base_host_virt_addr\":65536,\"size\":4096}]}\n",
		      &region),
		2);
	assert_int_equal(region.offset, 4096);
	assert_int_equal(region.page_size, 4096);
}

static void every_cut_is_incomplete(void **state)
{
	struct rwp_handoff_region *region = NULL;

	(void)state;
	for (size_t len = 0; len < strlen(ONE); len++)
		assert_int_equal(rwp_handoff_parse(ONE, len, &region, NULL),
				 -EAGAIN);
}

static void refused(void **state)
{
	static const struct {
		const char *text;
		int code;
	} cases[] = {
		{ "hello", -EBADMSG },
		{ "{}", -EBADMSG },
		{ "3 ", -EBADMSG },
		{ "{\"regions\":7}", -EBADMSG },
		{ "[]", -EINVAL },
		{ "[7]", -EBADMSG },
		{ "[null]", -EBADMSG },
		{ "[{\"size\":4096}]", -EBADMSG },
		{ "[{\"base_host_virt_addr\":4096}]", -EBADMSG },
		{ ONE ONE, -EBADMSG },
		{ "[[[[[[[[[[[[]]]]]]]]]]]]", -EBADMSG },
#define REGION(start, size, more) \
	"[{\"base_host_virt_addr\":" start ",\"size\":" size more "}]"
		{ REGION("\"4096\"", "4096", ""), -EBADMSG },
		{ REGION("-4096", "4096", ""), -EBADMSG },
		{ REGION("4096.0", "4096", ""), -EBADMSG },
		{ REGION("1e9", "4096", ""), -EBADMSG },
		{ REGION("4096", "99999999999999999999999", ""), -EBADMSG },
		{ REGION("4096", "0", ""), -EINVAL },
		{ REGION("4096", "4097", ""), -EINVAL },
		{ REGION("4095", "4096", ""), -EINVAL },
		{ REGION("18446744073709547520", "8192", ""), -EINVAL },
		{ REGION("4096", "4096", ",\"page_size\":0"), -EINVAL },
		{ REGION("4096", "4096", ",\"page_size\":512"), -EINVAL },
		{ REGION("4096", "4096", ",\"page_size\":12288"), -EINVAL },
		{ REGION("4096", "4096", ",\"page_size\":true"), -EBADMSG },
		{ REGION("4096", "4096", ",\"page_size\":2097152"), -EINVAL },
		{ REGION("4096", "4096", ",\"offset\":5"), -EINVAL },
		{ REGION("4096", "8192", "},{\"base_host_virt_addr\":8192,\"size\":4096"),
		  -EINVAL },
	};
	struct rwp_handoff_region region;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (parse(cases[i].text, &region) != cases[i].code)
			fail_msg("%s: %d, not %d", cases[i].text,
				 parse(cases[i].text, &region), cases[i].code);
}

static void too_many_regions(void **state)
{
	struct rwp_handoff_region region;
	char *text = malloc(RWP_HANDOFF_TEXT_MAX);
	size_t len = 0;

	(void)state;
	for (int i = 0; i <= RWP_HANDOFF_REGIONS_MAX; i++)
		len += sprintf(text + len,
			       "%c{\"base_host_virt_addr\":%d,\"size\":4096}",
			       i ? ',' : '[', i * 4096);
	strcpy(text + len, "]");
	assert_int_equal(parse(text, &region), -EINVAL);
	free(text);
}

/* ---- Over a socket ----------------------------------------------------- */

static void send_it(int sock, const char *text, const int *fd,
		    unsigned int count)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(253 * sizeof(int))];
	} control = { 0 };
	struct iovec iov = { (char *)text, strlen(text) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c;

	if (count) {
		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(count * sizeof(int));
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(c), fd, count * sizeof(int));
	}
	sendmsg(sock, &msg, MSG_NOSIGNAL);
}

static unsigned int open_descriptors(void)
{
	unsigned int count = 0;

	for (int fd = 0; fd < 1024; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

struct wire {
	int sock[2], file, pipe[2];
	unsigned int before;
};

static void wire_up(struct wire *wire)
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, wire->sock), 0);
	assert_int_equal(pipe(wire->pipe), 0);
	wire->file = open("/proc/self/exe", O_RDONLY);
	assert_true(wire->file >= 0);
	wire->before = open_descriptors();
}

/* Nothing that came is left open where it was refused. */
static void wire_down(struct wire *wire)
{
	assert_int_equal(open_descriptors(), wire->before);
	close(wire->sock[0]);
	close(wire->sock[1]);
	close(wire->pipe[0]);
	close(wire->pipe[1]);
	close(wire->file);
}

static int receive(struct wire *wire, struct rwp_handoff **handoff)
{
	struct rwp_error error = { 0 };
	int ret = rwp_handoff_receive(wire->sock[1], 150, handoff, &error);

	if (ret)
		assert_true(strlen(error.text) > 10);
	return ret;
}

static void arrives(void **state)
{
	static const char text[] = ONE;
	struct rwp_handoff *handoff;
	struct wire wire;
	int fd[2];

	(void)state;
	wire_up(&wire);
	/* The file first, and byte by byte: the order does not matter. */
	fd[0] = wire.file;
	fd[1] = wire.pipe[0];
	for (const char *c = text; *c; c++)
		send_it(wire.sock[0], (char[]){ *c, '\0' }, fd,
			c == text ? 2 : 0);
	assert_int_equal(receive(&wire, &handoff), 0);
	assert_int_equal(handoff->pid, getpid());
	assert_int_equal(handoff->uid, getuid());
	assert_int_equal(handoff->fds, 2);
	assert_int_equal(handoff->regions, 1);
	assert_true(__wrap_rwpi_is_userfaultfd(handoff->fd[0]));
	assert_int_equal(fcntl(handoff->fd[1], F_GETFD), FD_CLOEXEC);
	assert_memory_equal(handoff->text, ONE, strlen(ONE));
	assert_int_equal(handoff->text_len, strlen(ONE));
	rwp_handoff_free(handoff);
	wire_down(&wire);
}

static void descriptor_after_the_text(void **state)
{
	struct rwp_handoff *handoff;
	struct wire wire;

	(void)state;
	wire_up(&wire);
	send_it(wire.sock[0], ONE, NULL, 0);
	send_it(wire.sock[0], " ", wire.pipe, 1);
	send_it(wire.sock[0], "\n", &wire.file, 1);
	assert_int_equal(receive(&wire, &handoff), 0);
	assert_int_equal(handoff->fds, 2);
	rwp_handoff_free(handoff);
	wire_down(&wire);
}

static void does_not_arrive(void **state)
{
	struct rwp_handoff *handoff;
	struct wire wire;
	int many[253];

	(void)state;
	for (int i = 0; i < 253; i++)
		many[i] = 1;
	wire_up(&wire);
	assert_int_equal(receive(&wire, &handoff), -ETIMEDOUT);
	send_it(wire.sock[0], "[{", wire.pipe, 1);
	assert_int_equal(receive(&wire, &handoff), -ETIMEDOUT);
	send_it(wire.sock[0], ONE, NULL, 0);
	assert_int_equal(receive(&wire, &handoff), -ETIMEDOUT);
	send_it(wire.sock[0], ONE, &wire.file, 1);
	assert_int_equal(receive(&wire, &handoff), -EINVAL);
	send_it(wire.sock[0], ONE, wire.pipe, 2);
	assert_int_equal(receive(&wire, &handoff), -EINVAL);
	send_it(wire.sock[0], ONE, wire.sock, 1);
	assert_int_equal(receive(&wire, &handoff), -EINVAL);
	send_it(wire.sock[0], "no", wire.pipe, 1);
	assert_int_equal(receive(&wire, &handoff), -EBADMSG);
	send_it(wire.sock[0], ONE, many, 253);
	assert_int_equal(receive(&wire, &handoff), -EBADMSG);
	send_it(wire.sock[0], "[", NULL, 0);
	shutdown(wire.sock[0], SHUT_WR);
	assert_int_equal(receive(&wire, &handoff), -EBADMSG);
	wire_down(&wire);
}

/* More than any message has, without an end. */
static void endless(void **state)
{
	struct rwp_handoff *handoff;
	struct wire wire;
	char *text = malloc(RWP_HANDOFF_TEXT_MAX + 10);
	int room = 1 << 20;

	(void)state;
	memset(text, ' ', RWP_HANDOFF_TEXT_MAX + 9);
	text[RWP_HANDOFF_TEXT_MAX + 9] = '\0';
	wire_up(&wire);
	setsockopt(wire.sock[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	send_it(wire.sock[0], text, wire.pipe, 1);
	assert_int_equal(receive(&wire, &handoff), -EBADMSG);
	wire_down(&wire);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(taken),
		cmocka_unit_test(every_cut_is_incomplete),
		cmocka_unit_test(refused),
		cmocka_unit_test(too_many_regions),
		cmocka_unit_test(arrives),
		cmocka_unit_test(descriptor_after_the_text),
		cmocka_unit_test(does_not_arrive),
		cmocka_unit_test(endless),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
