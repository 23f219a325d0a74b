/* Four threads reach a server by its remotes while it runs and two clients talk to it; then it is
 * stopped by one of the clients' threads.  Exit status 0: every message came, each thread's
 * in order.  With -DRACE there is a race, for a race detector to find. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <wsloop.h>

enum { THREADS = 4, CLIENTS = 2, EACH = 500 };

#define HOLDS(truth) holds((truth) != 0, #truth, __LINE__)

static void holds(int truth, const char *what, int line) {
  if (!truth) {
    fprintf(stderr, "threads.c:%d: %s does not hold\n", line, what);
    exit(1);
  }
}

static wsloop_server *server;
static wsloop_remote *shared; /* by all threads; and each has one of its own */
static wsloop_conn conns[CLIENTS];
static pthread_t threads[THREADS];
static int opened, woken, closed;
static uint16_t port;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int satisfied; /* by lock */

/* ------------------------------------------------------------------------- the threads --- */

/* What is full now is not for long. */
static void until_taken(int rc) {
  HOLDS(rc == WSLOOP_OK || rc == WSLOOP_ERR_FULL);
  if (rc == WSLOOP_ERR_FULL) sched_yield();
}

static void *reach(void *arg) {
  int number = (int)(intptr_t)arg, n, c, rc;
  wsloop_remote *own = wsloop_remote_clone(shared);
  char text[16];
  HOLDS(own != NULL);
  for (n = 0; n < EACH; n++) {
    size_t len = (size_t)snprintf(text, sizeof text, "%d %d", number, 2 * n);
    do until_taken(rc = wsloop_remote_broadcast(own, 0, WSLOOP_TEXT, text, len));
    while (rc != WSLOOP_OK);
    len = (size_t)snprintf(text, sizeof text, "%d %d", number, 2 * n + 1);
    for (c = 0; c < CLIENTS; c++) {
      do until_taken(rc = wsloop_remote_send(shared, conns[c], WSLOOP_TEXT, text, len));
      while (rc != WSLOOP_OK);
    }
    HOLDS(wsloop_remote_wake(n % 2 ? own : shared) == WSLOOP_OK);
    HOLDS(wsloop_wake(server) == WSLOOP_OK);
#ifdef RACE
    woken++;
#endif
  }
  wsloop_remote_free(own);
  return NULL;
}

/* ------------------------------------------------------------------------- the clients --- */

static void read_all(int fd, void *to, size_t len) {
  HOLDS(recv(fd, to, len, MSG_WAITALL) == (ssize_t)len);
}

static int connected(void) {
  static const char REQUEST[] =
      "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
  struct sockaddr_in addr;
  char head[1024];
  size_t len = 0;
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  memset(&addr, 0, sizeof addr);
  addr.sin_family = AF_INET;
  addr.sin_port = htons(port);
  addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  HOLDS(connect(fd, (struct sockaddr *)&addr, sizeof addr) == 0);
  HOLDS(send(fd, REQUEST, sizeof REQUEST - 1, 0) == sizeof REQUEST - 1);
  while (len < 4 || memcmp(head + len - 4, "\r\n\r\n", 4)) {
    HOLDS(len < sizeof head);
    read_all(fd, head + len++, 1);
  }
  HOLDS(!memcmp(head, "HTTP/1.1 101 ", 13));
  return fd;
}

/* One text, short enough for the shortest form; and what the client says to it: the same again,
 * masked with zeros, if it is to be echoed. */
static void hear(int fd, char *text) {
  unsigned char head[2];
  read_all(fd, head, 2);
  HOLDS(head[0] == 0x81 && head[1] < 16);
  read_all(fd, text, head[1]);
  text[head[1]] = 0;
}

static void say(int fd, const char *text) {
  char frame[32] = {(char)0x81};
  size_t len = strlen(text);
  frame[1] = (char)(0x80 | len);
  memcpy(frame + 6, text, len);
  HOLDS(send(fd, frame, 6 + len, 0) == (ssize_t)(6 + len));
}

/* Answers every hundredth message, and waits for the echo among the rest. */
static void *talk(void *arg) {
  int next[THREADS] = {0}, said = 0, echoed = 0, heard = 0, all, thread, n, fd = connected();
  char text[16], rest[64];
  (void)arg;
  while (heard < THREADS * EACH * 2 || echoed < said) {
    hear(fd, text);
    if (!strcmp(text, "echo")) {
      echoed++;
      continue;
    }
    HOLDS(sscanf(text, "%d %d", &thread, &n) == 2 && thread >= 0 && thread < THREADS);
    HOLDS(n == next[thread]++);
    if (heard++ % 100 == 0) say(fd, "echo"), said++;
  }
  pthread_mutex_lock(&lock);
  all = ++satisfied == CLIENTS;
  pthread_mutex_unlock(&lock);
  if (all) HOLDS(wsloop_remote_stop(shared) == WSLOOP_OK);
  /* The close of a server that stops, answered. */
  read_all(fd, rest, 4);
  HOLDS(!memcmp(rest, "\x88", 1) && !memcmp(rest + 2, "\x03\xe9", 2));
  HOLDS(send(fd, "\x88\x82\0\0\0\0\x03\xe9", 8, MSG_NOSIGNAL) == 8);
  while (recv(fd, rest, sizeof rest, 0) > 0) {
  }
  close(fd);
  return NULL;
}

/* -------------------------------------------------------------------------- the server --- */

static void on_open(wsloop_server *s, wsloop_conn c, const wsloop_request *request, void *user) {
  int n;
  (void)s, (void)request, (void)user;
  conns[opened++] = c;
  if (opened < CLIENTS) return;
  for (n = 0; n < THREADS; n++)
    HOLDS(pthread_create(&threads[n], NULL, reach, (void *)(intptr_t)n) == 0);
}

static void on_message(wsloop_server *s, wsloop_conn c, int kind, const void *data, size_t len,
                       void *user) {
  (void)user;
  HOLDS(wsloop_send(s, c, kind, data, len) >= 0);
}

static void on_close(wsloop_server *s, wsloop_conn c, uint16_t code, const char *reason,
                     size_t len, void *user) {
  (void)s, (void)c, (void)reason, (void)len, (void)user;
  HOLDS(code == 1001);
  closed++;
}

static void on_wake(wsloop_server *s, void *user) {
  (void)s, (void)user;
  woken++;
}

int main(void) {
  pthread_t clients[CLIENTS];
  wsloop_handler handler;
  int n, rc;
  memset(&handler, 0, sizeof handler);
  handler.size = sizeof handler;
  handler.on_open = on_open;
  handler.on_message = on_message;
  handler.on_close = on_close;
  handler.on_wake = on_wake;
  HOLDS(wsloop_new(NULL, &server) == WSLOOP_OK);
  HOLDS(wsloop_route(server, "/", &handler, NULL) == 0);
  HOLDS((rc = wsloop_listen(server, "127.0.0.1:0")) > 0);
  port = (uint16_t)rc;
  HOLDS((shared = wsloop_remote_new(server)) != NULL);
  for (n = 0; n < CLIENTS; n++) HOLDS(pthread_create(&clients[n], NULL, talk, NULL) == 0);
  HOLDS(wsloop_run(server) == WSLOOP_OK);
  for (n = 0; n < THREADS; n++) pthread_join(threads[n], NULL);
  for (n = 0; n < CLIENTS; n++) pthread_join(clients[n], NULL);
  HOLDS(closed == CLIENTS && woken > 0);
  HOLDS(wsloop_free(server) == WSLOOP_OK);
  HOLDS(wsloop_remote_send(shared, conns[0], WSLOOP_TEXT, "x", 1) == WSLOOP_ERR_STOPPED);
  wsloop_remote_free(shared);
  printf("%d messages from %d threads\n", THREADS * EACH * (1 + CLIENTS), THREADS);
  return 0;
}
