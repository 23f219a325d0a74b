/* The mirror on wss://, SIGPIPE at its default.  Usage: tls CERT KEY */
#include "app.h"

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  signal(SIGPIPE, SIG_DFL);
  create(NULL);
  check(wsloop_set_tls(server, argv[1], argv[2]));
  listen_and_say_so();
  return finish(wsloop_run(server));
}
