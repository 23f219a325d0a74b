// The header in C++17: a server starts, turns once and is freed; and an exception that leaves a
// callback goes no further: there the process aborts, as the header says.
#include <csignal>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wsloop.h>

static void throws(wsloop_server *, void *) { throw 1; }

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
  if (wsloop_listen(server, "127.0.0.1:0") <= 0) return 2;
  if (wsloop_turn(server, 0) < 0) return 3;
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
