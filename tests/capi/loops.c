/* The same server in seven loops.  Usage: loops LOOP */
#include "app.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <unistd.h>

static int by_hand(void) {
  int rc;
  while ((rc = wsloop_turn(server, 10)) >= 0) {
  }
  return rc;
}

/* With -1 for what the timeout is, the contract is broken, unless the descriptor alone is enough. */
static int by_poll(int heed) {
  struct pollfd fd;
  int rc;
  fd.fd = wsloop_fd(server);
  fd.events = POLLIN;
  do {
    poll(&fd, 1, heed ? wsloop_timeout_ms(server) : -1);
  } while ((rc = wsloop_turn(server, 0)) >= 0);
  return rc;
}

static int by_select(void) {
  int rc, fd = wsloop_fd(server);
  do {
    int ms = wsloop_timeout_ms(server);
    struct timeval wait;
    fd_set set;
    FD_ZERO(&set);
    FD_SET(fd, &set);
    wait.tv_sec = ms / 1000;
    wait.tv_usec = ms % 1000 * 1000;
    select(fd + 1, &set, NULL, NULL, ms < 0 ? NULL : &wait);
  } while ((rc = wsloop_turn(server, 0)) >= 0);
  return rc;
}

static int by_epoll(uint32_t trigger) {
  struct epoll_event event;
  int rc, epoll = epoll_create1(EPOLL_CLOEXEC);
  memset(&event, 0, sizeof event);
  event.events = EPOLLIN | trigger;
  epoll_ctl(epoll, EPOLL_CTL_ADD, wsloop_fd(server), &event);
  do {
    epoll_wait(epoll, &event, 1, wsloop_timeout_ms(server));
    /* Edge-triggered it has to be turned until there is nothing more. */
    while ((rc = wsloop_turn(server, 0)) > 0 && trigger) {
    }
  } while (rc >= 0);
  close(epoll);
  return rc;
}

int main(int argc, char **argv) {
  const char *loop = argc > 1 ? argv[1] : "run";
  start(strcmp(loop, "fd-only") ? 0 : WSLOOP_F_FD_ONLY);
  if (!strcmp(loop, "run")) return finish(wsloop_run(server));
  if (!strcmp(loop, "turn")) return finish(by_hand());
  if (!strcmp(loop, "poll")) return finish(by_poll(1));
  if (!strcmp(loop, "careless") || !strcmp(loop, "fd-only")) return finish(by_poll(0));
  if (!strcmp(loop, "select")) return finish(by_select());
  if (!strcmp(loop, "epoll")) return finish(by_epoll(0));
  if (!strcmp(loop, "epoll-edge")) return finish(by_epoll(EPOLLET));
  fprintf(stderr, "no loop %s\n", loop);
  return 2;
}
