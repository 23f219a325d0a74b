/* An echo server on wss://, SIGPIPE at its default: usage: tls CERT KEY */
#include <signal.h>
#include <stdio.h>
#include <wsloop.h>

static wsloop_server *server;

static void on_signal(int number) { (void)number, wsloop_stop(server); }

static void on_message(wsloop_server *s, wsloop_conn c, int kind, const void *data, size_t len,
                       void *user) {
  (void)user;
  wsloop_send(s, c, kind, data, len);
}

int main(int argc, char **argv) {
  wsloop_handler echo = {.size = sizeof echo, .on_message = on_message};
  int rc = wsloop_new(NULL, &server);
  if (argc != 3) return 2;
  signal(SIGPIPE, SIG_DFL);
  if (rc >= 0) rc = wsloop_route(server, "*", &echo, NULL);
  if (rc >= 0) rc = wsloop_set_tls(server, argv[1], argv[2]);
  if (rc >= 0) rc = wsloop_listen(server, "127.0.0.1:0");
  if (rc >= 0) {
    printf("listening on port %d\n", rc);
    fflush(stdout);
    signal(SIGINT, on_signal);
    rc = wsloop_run(server);
    signal(SIGINT, SIG_DFL);
  }
  if (rc < 0) fprintf(stderr, "%s: %s\n", wsloop_strerror(rc), wsloop_error_text(server));
  wsloop_free(server);
  return rc < 0;
}
