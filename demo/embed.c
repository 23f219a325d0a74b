/* A program with a loop of its own, poll(2), and wsloop in it as a guest.  What is typed goes to
 * every client; what a client sends is printed, and echoed; and a timer ticks beside it all. */
#include <poll.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>
#include <wsloop.h>

static void on_open(wsloop_server *s, wsloop_conn c, const wsloop_request *request, void *user) {
  char peer[64];
  (void)request;
  (void)user;
  wsloop_peer_addr(s, c, peer, sizeof peer);
  printf("+ %s\n", peer);
}

static void on_message(wsloop_server *s, wsloop_conn c, int kind, const void *data, size_t len,
                       void *user) {
  (void)user;
  printf("< %.*s\n", (int)len, (const char *)data);
  wsloop_send(s, c, kind, data, len);
}

static void on_close(wsloop_server *s, wsloop_conn c, uint16_t code, const char *reason,
                     size_t len, void *user) {
  (void)s, (void)c, (void)user;
  printf("- %d %.*s\n", code, (int)len, reason);
}

static long long now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* The shorter of two waits; -1 is none. */
static int sooner(int a, int b) { return a < 0 ? b : b < 0 ? a : a < b ? a : b; }

int main(int argc, char **argv) {
  wsloop_handler room = {.size = sizeof room,
                         .on_open = on_open, .on_message = on_message, .on_close = on_close};
  struct pollfd fds[2] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.events = POLLIN}};
  wsloop_server *server = NULL;
  char line[4096];
  long long tick;
  int rc = wsloop_new(NULL, &server);

  if (rc >= 0) rc = wsloop_route(server, "*", &room, NULL);
  if (rc >= 0) rc = wsloop_listen(server, argc > 1 ? argv[1] : "127.0.0.1:9001");
  if (rc >= 0) printf("listening on port %d\n", rc);
  if (rc >= 0) fds[1].fd = rc = wsloop_fd(server);
  tick = now_ms() + 1000;

  while (rc >= 0) {
    long long left = tick - now_ms();
    int wait = sooner(left < 0 ? 0 : (int)left, wsloop_timeout_ms(server));
    fflush(stdout);
    poll(fds, 2, wait);
    if (fds[0].revents) { /* the program's own input; at its end wsloop stops, and then we do */
      ssize_t n = read(STDIN_FILENO, line, sizeof line);
      if (n > 0 && line[n - 1] == '\n') n--;
      if (n > 0) wsloop_broadcast(server, WSLOOP_ALL_ROUTES, 0, WSLOOP_TEXT, line, (size_t)n);
      if (n <= 0) fds[0].fd = -1, wsloop_stop(server);
    }
    if (now_ms() >= tick) { /* the program's own timer */
      puts("tick");
      tick += 1000;
    }
    rc = wsloop_turn(server, 0); /* always, whether it was the descriptor or the time */
  }
  if (rc != WSLOOP_ERR_STOPPED) fprintf(stderr, "%s\n", wsloop_error_text(server));
  wsloop_free(server);
  return rc != WSLOOP_ERR_STOPPED;
}
