/* SPDX-License-Identifier: MIT */
/*
 * client - keeps a redis-server busy and checks every answer.
 *
 *	client PORT CONNECTIONS [SECONDS]
 *
 * Each connection takes turns: SET a key of its own to a new value, GET it, compare; every so often INCR a counter and
 * compare with its own count. An answer that is wrong, late by more than 10 s, or missing (the connection is
 * closed, an error) counts as failed. Ends after SECONDS or at SIGTERM with one line
 *
 *	requests 123456 failed 0 slowest 1.234 ms
 *
 * and exit status 1 if any request failed. Loopback only.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum step { SET, GET, INCR, STEPS };

struct conn {
	int fd;
	enum step step;
	unsigned long round; /* the value that the key has, and the counter's */
	char expect[64]; /* the answer, whole */
	char got[256];
	size_t n_got;
	double sent; /* ms */
};

static volatile sig_atomic_t stop;
static unsigned long requests, failed;
static double slowest;

static void on_term(int sig)
{
	stop = 1;
}

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

static void fail(const char *fmt, ...)
{
	va_list ap;

	failed++;
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

static int dial(int port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port) };
	int one = 1;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) != 0)
		return -1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

/* Sends the connection's next request and writes down what the answer must be. */
static void ask(struct conn *c, int id)
{
	char req[256], key[32], value[64];
	int n;

	snprintf(key, sizeof(key), "suture:%d", id);
	snprintf(value, sizeof(value), "%d-%lu-%lx", id, c->round, c->round * 2654435761UL % 1000003);
	if (c->step == SET) {
		n = snprintf(req, sizeof(req), "*3\r\n$3\r\nSET\r\n$%zu\r\n%s\r\n$%zu\r\n%s\r\n", strlen(key), key,
			     strlen(value), value);
		strcpy(c->expect, "+OK\r\n");
	} else if (c->step == GET) {
		n = snprintf(req, sizeof(req), "*2\r\n$3\r\nGET\r\n$%zu\r\n%s\r\n", strlen(key), key);
		snprintf(c->expect, sizeof(c->expect), "$%zu\r\n%.40s\r\n", strlen(value), value);
	} else {
		n = snprintf(req, sizeof(req), "*2\r\n$4\r\nINCR\r\n$%zu\r\n%s.n\r\n", strlen(key) + 2, key);
		snprintf(c->expect, sizeof(c->expect), ":%lu\r\n", c->round + 1);
	}
	c->n_got = 0;
	c->sent = now_ms();
	if (send(c->fd, req, n, MSG_NOSIGNAL) != n) {
		fail("connection %d: cannot send: %s", id, strerror(errno));
		close(c->fd);
		c->fd = -1;
	}
}

static void answered(struct conn *c, int id)
{
	double took = now_ms() - c->sent;

	requests++;
	if (took > slowest)
		slowest = took;
	if (c->n_got != strlen(c->expect) || memcmp(c->got, c->expect, c->n_got) != 0)
		fail("connection %d: wanted \"%.40s\", got \"%.*s\"", id, c->expect, (int)c->n_got, c->got);
	if (++c->step == STEPS) {
		c->step = SET;
		c->round++;
	}
}

static void readable(struct conn *c, int id)
{
	ssize_t n = recv(c->fd, c->got + c->n_got, sizeof(c->got) - c->n_got, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		fail("connection %d: closed by the server: %s", id, n ? strerror(errno) : "end of file");
		close(c->fd);
		c->fd = -1;
		return;
	}
	c->n_got += n;
	if (c->n_got < strlen(c->expect) && c->got[0] != '-')
		return;
	answered(c, id);
	if (!stop)
		ask(c, id);
}

/* Whether a connection still waits; late answers are given up. */
static int waiting(struct conn *c, int id)
{
	if (c->fd < 0 || (stop && c->n_got))
		return 0;
	if (now_ms() - c->sent > 10000) {
		fail("connection %d: no answer for 10 s", id);
		close(c->fd);
		c->fd = -1;
		return 0;
	}
	return 1;
}

static void serve(struct conn *conn, struct pollfd *pfd, int n, double end)
{
	for (;;) {
		int open = 0;

		if (now_ms() > end)
			stop = 1;
		for (int i = 0; i < n; i++) {
			pfd[i] = (struct pollfd){ .fd = waiting(&conn[i], i) ? conn[i].fd : -1, .events = POLLIN };
			open += pfd[i].fd >= 0;
		}
		if (!open)
			return;
		if (poll(pfd, n, 200) < 0)
			continue;
		for (int i = 0; i < n; i++)
			if (pfd[i].fd >= 0 && pfd[i].revents)
				readable(&conn[i], i);
	}
}

int main(int argc, char **argv)
{
	int port = argc > 2 ? atoi(argv[1]) : 0, n = argc > 2 ? atoi(argv[2]) : 0;
	double end = argc > 3 ? now_ms() + atof(argv[3]) * 1e3 : 1e300;
	struct conn *conn = calloc(n > 0 ? n : 1, sizeof(*conn));
	struct pollfd *pfd = calloc(n > 0 ? n : 1, sizeof(*pfd));

	if (port <= 0 || n <= 0 || !conn || !pfd) {
		fputs("usage: client PORT CONNECTIONS [SECONDS]\n", stderr);
		return 2;
	}
	signal(SIGTERM, on_term);
	signal(SIGINT, on_term);
	for (int i = 0; i < n; i++) {
		char del[80];
		int m = snprintf(del, sizeof(del), "DEL suture:%d.n\r\n", i);

		conn[i].fd = dial(port);
		if (conn[i].fd < 0 || send(conn[i].fd, del, m, MSG_NOSIGNAL) != m ||
		    recv(conn[i].fd, del, 64, 0) <= 0) {
			fprintf(stderr, "connection %d: %s\n", i, strerror(errno));
			return 1;
		}
		ask(&conn[i], i);
	}
	serve(conn, pfd, n, end);
	printf("requests %lu failed %lu slowest %.3f ms\n", requests, failed, slowest);
	free(conn);
	free(pfd);
	return failed != 0;
}
