/* What the programs of the loops and of TLS share: a server with /mirror, told to stop by SIGTERM. */
#ifndef APP_H
#define APP_H

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wsloop.h>

static wsloop_server *server;

static void on_signal(int number) {
  (void)number;
  wsloop_stop(server);
}

static void mirror(wsloop_server *s, wsloop_conn c, int kind, const void *data, size_t len,
                   void *user) {
  (void)user;
  wsloop_send(s, c, kind, data, len);
}

static int check(int rc) {
  if (rc < 0) {
    fprintf(stderr, "%s: %s\n", wsloop_strerror(rc), wsloop_error_text(server));
    exit(1);
  }
  return rc;
}

static void create(const wsloop_config *config) {
  wsloop_handler handler;
  memset(&handler, 0, sizeof handler);
  handler.size = sizeof handler;
  handler.on_message = mirror;
  check(wsloop_new(config, &server));
  check(wsloop_route(server, "/mirror", &handler, NULL));
}

static void listen_and_say_so(void) {
  printf("listening on port %d\n", check(wsloop_listen(server, "127.0.0.1:0")));
  fflush(stdout);
  signal(SIGTERM, on_signal);
}

/* Both, with budgets so small that there is always something left over. */
static inline void start(uint32_t flags) {
  wsloop_config config;
  memset(&config, 0, sizeof config);
  config.size = sizeof config;
  config.flags = flags;
  config.max_events = 4;
  config.read_budget = 256;
  create(&config);
  listen_and_say_so();
}

/* rc is what ended the loop. */
static int finish(int rc) {
  signal(SIGTERM, SIG_DFL);
  if (rc != WSLOOP_ERR_STOPPED) check(rc);
  check(wsloop_free(server));
  return 0;
}

#endif
