// The header in C++17: a server starts, turns once, opens a source and is freed; and an exception that leaves a
// callback goes no further: there the process aborts, as the header says.
#include <csignal>
#include <string>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wsloop.h>

static void throws(wsloop_server *, void *) { throw 1; }

static int ended = 1;

static void on_source_end(wsloop_server *, wsloop_source, int end, const char *, size_t, void *) {
  ended = end;
}

// Opens a source and closes it.
static bool opens(wsloop_server *server, int port) {
  wsloop_handler handler{};
  handler.size = sizeof handler;
  handler.on_source_end = on_source_end;
  const int route = wsloop_route(server, "/", &handler, nullptr);
  const std::string target = "lines:tcp:127.0.0.1:" + std::to_string(port);
  wsloop_source source = 0;
  if (wsloop_open(server, route, target.c_str(), &source) != WSLOOP_OK) return false;
  if (wsloop_tell(server, source, "hello", 5) != WSLOOP_OK) return false;
  if (wsloop_close_source(server, source) != WSLOOP_OK) return false;
  while (ended == 1 && wsloop_turn(server, -1) >= 0) {
  }
  return ended == WSLOOP_END_OK;
}

static int aborts() {
  wsloop_server *server = nullptr;
  wsloop_handler handler{};
  if (wsloop_new(nullptr, &server) != WSLOOP_OK) return 5;
  handler.size = sizeof handler;
  handler.on_wake = throws;
  if (wsloop_route(server, "/", &handler, nullptr) != 0) return 1;
  if (wsloop_wake(server) != WSLOOP_OK) return 2;
  const rlimit no_core{0, 0};
  setrlimit(RLIMIT_CORE, &no_core);
  try {
    wsloop_turn(server, 0);
  } catch (int) {
    return 3;
  }
  return 4;
}

int main() {
  wsloop_config config{};
  config.size = sizeof config;
  wsloop_server *server = nullptr;
  if (wsloop_new(&config, &server) != WSLOOP_OK) return 1;
  const int port = wsloop_listen(server, "127.0.0.1:0");
  if (port <= 0) return 2;
  if (wsloop_turn(server, 0) < 0) return 3;
  if (!opens(server, port)) return 6;
  const pid_t child = fork();
  if (child == 0) {
    close(STDERR_FILENO);
    _exit(aborts());
  }
  int status = 0;
  if (waitpid(child, &status, 0) != child) return 4;
  if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT) return 10 + WEXITSTATUS(status);
  return wsloop_free(server) == WSLOOP_OK ? 0 : 5;
}
