// The header in C++17: a server starts, turns once and is freed.
#include <wsloop.h>

int main() {
  wsloop_config config{};
  config.size = sizeof config;
  wsloop_server *server = nullptr;
  if (wsloop_new(&config, &server) != WSLOOP_OK) return 1;
  if (wsloop_listen(server, "127.0.0.1:0") <= 0) return 2;
  if (wsloop_turn(server, 0) < 0) return 3;
  return wsloop_free(server) == WSLOOP_OK ? 0 : 4;
}
