/* What the header promises, one function for each promise; the peers are in this process, on
 * socketpair(2), and SIGPIPE is at its default.  Exit status 0: all of it holds. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wsloop.h>

#define HOLDS(truth) holds((truth) != 0, #truth, __LINE__)
#define IS(value, wanted) is((long long)(value), (long long)(wanted), #value, __LINE__)

static void holds(int truth, const char *what, int line) {
  if (!truth) {
    fprintf(stderr, "unit.c:%d: %s does not hold\n", line, what);
    exit(1);
  }
}

static void is(long long value, long long wanted, const char *what, int line) {
  if (value != wanted) {
    fprintf(stderr, "unit.c:%d: %s is %lld, not %lld\n", line, what, value, wanted);
    exit(1);
  }
}

/* ------------------------------------------------------------- a server that takes notes --- */

static char notes[4096];
static wsloop_conn last;
static wsloop_server *seen;
static char route_data, conn_data;

static void note(const char *what, const char *text, size_t len) {
  size_t used = strlen(notes);
  snprintf(notes + used, sizeof notes - used, "%s%.*s ", what, (int)len, text);
}

static int noted(const char *wanted) {
  int same = !strcmp(notes, wanted);
  if (!same) fprintf(stderr, "noted '%s', not '%s'\n", notes, wanted);
  notes[0] = 0;
  return same;
}

static void on_open(wsloop_server *s, wsloop_conn c, const wsloop_request *request, void *user) {
  wsloop_str query = wsloop_request_query(request);
  HOLDS(user == &route_data && wsloop_data(s, c) == NULL);
  IS(wsloop_set_data(s, c, &conn_data), WSLOOP_OK);
  IS(wsloop_ready_state(s, c), WSLOOP_OPEN);
  note("open", query.ptr, query.len);
  last = c;
}

/* What may not be done in here answers so, and does nothing. */
static void busy(wsloop_server *s) {
  wsloop_handler handler;
  char out[8] = "as it is";
  memset(&handler, 0, sizeof handler);
  handler.size = sizeof handler;
  IS(wsloop_turn(s, 0), WSLOOP_ERR_BUSY);
  IS(wsloop_run(s), WSLOOP_ERR_BUSY);
  IS(wsloop_free(s), WSLOOP_ERR_BUSY);
  IS(wsloop_route(s, "/new", &handler, NULL), WSLOOP_ERR_BUSY);
  IS(wsloop_listen(s, "127.0.0.1:0"), WSLOOP_ERR_BUSY);
  IS(wsloop_listen_fd(s, 0), WSLOOP_ERR_BUSY);
  IS(wsloop_adopt_fd(s, 0, NULL, 0), WSLOOP_ERR_BUSY);
  IS(wsloop_feed(s, "127.0.0.1:0", 0), WSLOOP_ERR_BUSY);
  IS(wsloop_feed_stdin(s, 0), WSLOOP_ERR_BUSY);
  IS(wsloop_serve_folder(s, "/"), WSLOOP_ERR_BUSY);
  IS(wsloop_local_addr(s, out, sizeof out), WSLOOP_ERR_BUSY);
  IS(wsloop_fd(s), WSLOOP_ERR_BUSY);
  IS(wsloop_timeout_ms(s), 0);
  HOLDS(!memcmp(out, "as it is", sizeof out));
  HOLDS(strstr(wsloop_error_text(s), "callback") != NULL);
}

static void on_message(wsloop_server *s, wsloop_conn c, int kind, const void *data, size_t len,
                       void *user) {
  HOLDS(s == seen && user == &route_data && wsloop_data(s, c) == &conn_data);
  note(kind == WSLOOP_TEXT ? "text " : "binary ", (const char *)data, len);
  if (len == 4 && !memcmp(data, "busy", 4)) busy(s);
  if (len == 5 && !memcmp(data, "close", 5)) {
    IS(wsloop_close(s, c, 3001, "as asked", 8), WSLOOP_OK);
    IS(wsloop_close(s, c, 3001, "as asked", 8), WSLOOP_ERR_STATE);
    IS(wsloop_send(s, c, WSLOOP_TEXT, "late", 4), WSLOOP_ERR_STATE);
    return;
  }
  if (len == 9 && !memcmp(data, "terminate", 9)) {
    IS(wsloop_terminate(s, c), WSLOOP_OK);
    IS(wsloop_terminate(s, c), WSLOOP_ERR_GONE);
    IS(wsloop_send(s, c, WSLOOP_TEXT, "late", 4), WSLOOP_ERR_GONE);
    return;
  }
  IS(wsloop_send(s, c, kind, data, len), WSLOOP_OK);
}

static void on_pong(wsloop_server *s, wsloop_conn c, const void *data, size_t len, void *user) {
  (void)s, (void)c, (void)user;
  note("pong ", (const char *)data, len);
}

static void on_drain(wsloop_server *s, wsloop_conn c, void *user) {
  HOLDS(s == seen && user == &route_data && c == last);
  note("drain", "", 0);
}

static void on_close(wsloop_server *s, wsloop_conn c, uint16_t code, const char *reason,
                     size_t len, void *user) {
  char number[16];
  HOLDS(user == &route_data && wsloop_data(s, c) == &conn_data);
  IS(wsloop_send(s, c, WSLOOP_TEXT, "x", 1), WSLOOP_ERR_GONE);
  busy(s);
  snprintf(number, sizeof number, "close %d ", code);
  note(number, reason, len);
}

static void on_timer(wsloop_server *s, wsloop_conn c, uint64_t tag, void *user) {
  char number[32];
  (void)user;
  snprintf(number, sizeof number, "timer %d", (int)tag);
  note(number, c ? "c" : "r", 1);
  if (!c && tag == 7) IS(wsloop_set_route_timer(s, 0, 1, 8, NULL), WSLOOP_OK);
}

static void on_wake(wsloop_server *s, void *user) {
  (void)s, (void)user;
  note("wake", "", 0);
}

static wsloop_handler recorder(void) {
  wsloop_handler handler;
  memset(&handler, 0, sizeof handler);
  handler.size = sizeof handler;
  handler.on_open = on_open;
  handler.on_message = on_message;
  handler.on_pong = on_pong;
  handler.on_drain = on_drain;
  handler.on_close = on_close;
  handler.on_timer = on_timer;
  handler.on_wake = on_wake;
  return handler;
}

static wsloop_server *server(const wsloop_config *config) {
  wsloop_handler handler = recorder();
  wsloop_server *made;
  IS(wsloop_new(config, &made), WSLOOP_OK);
  IS(wsloop_route(made, "/", &handler, &route_data), 0);
  seen = made;
  notes[0] = 0;
  return made;
}

/* ---------------------------------------------------------------------------- its peers --- */

static const char REQUEST[] =
    "GET /?ada HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Protocol: a, b\r\n\r\n";
static const char HIXIE[] =
    "GET / HTTP/1.1\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\nHost: here\r\n"
    "Origin: http://here\r\n\r\n";

static void write_all(int fd, const void *data, size_t len) {
  IS(send(fd, data, len, MSG_NOSIGNAL), len);
}

/* Turns until something can be read, and reads what there is; 0 at the end. */
static size_t answer(wsloop_server *s, int fd, char *out, size_t room) {
  int turns;
  for (turns = 0; turns < 1000; turns++) {
    ssize_t n = recv(fd, out, room - 1, MSG_DONTWAIT);
    if (n < 0 && errno == ECONNRESET) n = 0;
    if (n >= 0) return out[n] = 0, (size_t)n;
    HOLDS(errno == EAGAIN);
    HOLDS(wsloop_turn(s, 10) >= 0);
  }
  HOLDS(!"an answer came");
  return 0;
}

/* A peer that has sent this; half of it was read before the server got it. */
static int peer(wsloop_server *s, const char *request) {
  size_t half = strlen(request) / 2;
  int pair[2];
  HOLDS(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
  write_all(pair[1], request + half, strlen(request) - half);
  IS(wsloop_adopt_fd(s, pair[0], request, half), WSLOOP_OK);
  return pair[1];
}

static int open_peer(wsloop_server *s) {
  char head[1024];
  int fd = peer(s, REQUEST);
  answer(s, fd, head, sizeof head);
  HOLDS(!strncmp(head, "HTTP/1.1 101 ", 13) && strstr(head, "\r\n\r\n"));
  HOLDS(noted("openada "));
  return fd;
}

/* Masked with zeros. */
static void say(int fd, int opcode, const char *text) {
  char frame[200] = {0};
  size_t len = strlen(text);
  frame[0] = (char)(0x80 | opcode);
  frame[1] = (char)(0x80 | len);
  memcpy(frame + 6, text, len);
  write_all(fd, frame, 6 + len);
}

/* The next frame is this one. */
static void hears(wsloop_server *s, int fd, int opcode, const char *text) {
  char frame[200];
  size_t len = strlen(text);
  IS(answer(s, fd, frame, sizeof frame), 2 + len);
  IS(frame[0] & 0xff, 0x80 | opcode);
  HOLDS(!memcmp(frame + 2, text, len));
}

static void hears_the_end(wsloop_server *s, int fd) {
  char rest[1024];
  while (answer(s, fd, rest, sizeof rest) > 0) {
  }
  close(fd);
}

/* ------------------------------------------------------------------------- the promises --- */

static void on_log(int level, const char *text, size_t len, void *user);

static void null_is_an_error_everywhere(void) {
  wsloop_server *s = server(NULL), *none = NULL;
  wsloop_handler handler = recorder();
  wsloop_stats stats;
  wsloop_str text;
  wsloop_timer timer = {{0, 0}};
  wsloop_source source;
  IS(wsloop_new(NULL, NULL), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_free(NULL), WSLOOP_OK);
  IS(wsloop_turn(none, 0), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_run(none), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_fd(none), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_timeout_ms(none), 0);
  IS(wsloop_stop(none), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_wake(none), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_route(none, "/", &handler, NULL), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_listen(none, "127.0.0.1:0"), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_send(none, 1, WSLOOP_TEXT, "", 0), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_clear_timer(none, timer), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_errno(none), 0);
  HOLDS(wsloop_error_text(none) && wsloop_data(none, 1) == NULL);
  IS(wsloop_listen_fd(none, 0), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_adopt_fd(none, 0, NULL, 0), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_feed(none, "127.0.0.1:0", 0), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_feed_stdin(none, 0), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_serve_folder(none, "/"), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_local_addr(none, NULL, 0), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_broadcast(none, 0, 0, WSLOOP_TEXT, "", 0), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_ping(none, 1, "", 0), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_close(none, 1, 1000, NULL, 0), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_terminate(none, 1), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_pause(none, 1), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_resume(none, 1), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_ready_state(none, 1), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_set_data(none, 1, NULL), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_peer_addr(none, 1, NULL, 0), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_protocol(none, 1, NULL, 0), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_protocol_version(none, 1), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_set_timer(none, 1, 1, 1, NULL), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_set_route_timer(none, 0, 1, 1, NULL), WSLOOP_ERR_ARGUMENT);
  source = 7;
  IS(wsloop_open(none, 0, "tcp:127.0.0.1:1", &source), WSLOOP_ERR_ARGUMENT);
  IS(source, 0);
  IS(wsloop_tell(none, 1, "", 0), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_end_source(none, 1), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_close_source(none, 1), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_pause_source(none, 1), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_resume_source(none, 1), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_source_buffered(none, 1), 0);
  IS(wsloop_get_stats(none, NULL), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_get_cut(none, 0, NULL, NULL), WSLOOP_ERR_ARGUMENT);
  HOLDS(wsloop_remote_new(none) == NULL && wsloop_remote_clone(NULL) == NULL);
  wsloop_remote_free(NULL);
  IS(wsloop_remote_wake(NULL), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_remote_stop(NULL), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_remote_send(NULL, 1, WSLOOP_TEXT, "", 0), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_buffered(none, 1), 0);
  IS(wsloop_members(none, 0, NULL, 0), 0);
  HOLDS(wsloop_request_path(NULL).ptr == NULL && wsloop_request_method(NULL).ptr == NULL);
  HOLDS(wsloop_request_query(NULL).ptr == NULL && wsloop_request_protocol(NULL, 0).ptr == NULL);
  HOLDS(wsloop_request_header(NULL, NULL).ptr == NULL);
  IS(wsloop_request_choose(NULL, "a", 1), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_request_respond(NULL, 200, NULL, NULL, 0), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_request_add_field(NULL, "A", "b"), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_request_field(NULL, 0, &text, &text), WSLOOP_ERR_ARGUMENT);

  /* Nothing went wrong with this one yet. */
  HOLDS(!strcmp(wsloop_error_text(s), ""));
  IS(wsloop_route(s, NULL, &handler, NULL), WSLOOP_ERR_ARGUMENT);
  HOLDS(!strcmp(wsloop_error_text(s), "a name is NULL"));
  IS(wsloop_errno(s), 0);
  IS(wsloop_route(s, "/x", NULL, NULL), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_listen(s, NULL), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_feed(s, NULL, 0), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_open(s, 0, NULL, NULL), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_serve_folder(s, NULL), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_get_stats(s, NULL), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_set_log(WSLOOP_LOG_INFO, NULL, NULL), WSLOOP_ERR_ARGUMENT);
  stats.size = 0;
  IS(wsloop_get_stats(s, &stats), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_free(s), WSLOOP_OK);
}

static void nonsense_is_an_error(void) {
  static const uint16_t codes[] = {0,    999,  1004, 1005, 1006, 1015,
                                   1016, 2999, 5000, 65535};
  wsloop_server *s = server(NULL);
  wsloop_remote *remote = wsloop_remote_new(s);
  wsloop_handler handler = recorder();
  size_t code;
  int fd = open_peer(s);
  IS(wsloop_remote_send(remote, last, 3, "x", 1), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_remote_send(remote, last, WSLOOP_TEXT, NULL, 1), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_remote_send(remote, last, WSLOOP_TEXT, "\xff", 1), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_remote_broadcast(remote, 0, WSLOOP_BINARY, "x", SIZE_MAX), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_remote_send(remote, 0, WSLOOP_TEXT, "nobody", 6), WSLOOP_OK);
  wsloop_remote_free(remote);
  IS(wsloop_send(s, last, 3, "x", 1), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_send(s, last, WSLOOP_TEXT, NULL, 1), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_send(s, last, WSLOOP_TEXT, "x", SIZE_MAX), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_send(s, last, WSLOOP_TEXT, "\xff", 1), WSLOOP_ERR_ARGUMENT);
  HOLDS(!strcmp(wsloop_error_text(s), "the text is not UTF-8"));
  IS(wsloop_send(s, 0, WSLOOP_TEXT, "x", 1), WSLOOP_ERR_GONE);
  IS(wsloop_send(s, last + (1ull << 32), WSLOOP_TEXT, "x", 1), WSLOOP_ERR_GONE);
  IS(wsloop_send(s, ~0ull, WSLOOP_TEXT, "x", 1), WSLOOP_ERR_GONE);
  IS(wsloop_broadcast(s, 1, 0, WSLOOP_TEXT, "x", 1), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_broadcast(s, -2, 0, WSLOOP_TEXT, "x", 1), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_ping(s, last, notes, 126), WSLOOP_ERR_ARGUMENT);
  for (code = 0; code < sizeof codes / sizeof *codes; code++)
    IS(wsloop_close(s, last, codes[code], NULL, 0), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_close(s, last, 1000, NULL, 1), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_ping(s, last, NULL, 1), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_ping(s, 0, "", 0), WSLOOP_ERR_GONE);
  IS(wsloop_close(s, 0, 1000, NULL, 0), WSLOOP_ERR_GONE);
  IS(wsloop_terminate(s, 0), WSLOOP_ERR_GONE);
  IS(wsloop_pause(s, 0), WSLOOP_ERR_GONE);
  IS(wsloop_resume(s, 0), WSLOOP_ERR_GONE);
  IS(wsloop_protocol(s, 0, NULL, 0), WSLOOP_ERR_GONE);
  IS(wsloop_buffered(s, 0), 0);
  IS(wsloop_members(s, 1, NULL, 0), 0);
  IS(wsloop_members(s, -2, NULL, 0), 0);
  HOLDS(wsloop_data(s, 0) == NULL);
  IS(wsloop_close(s, last, 1000, "\xff", 1), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_set_timer(s, 0, 1, 1, NULL), WSLOOP_ERR_GONE);
  IS(wsloop_set_route_timer(s, 1, 1, 1, NULL), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_set_data(s, 0, &handler), WSLOOP_ERR_GONE);
  IS(wsloop_peer_addr(s, 0, NULL, 0), WSLOOP_ERR_GONE);
  IS(wsloop_protocol_version(s, 0), WSLOOP_ERR_GONE);
  IS(wsloop_ready_state(s, 0), WSLOOP_CLOSED);
  IS(wsloop_route(s, "no slash", &handler, NULL), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_route(s, "/\xff", &handler, NULL), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_listen(s, "127.0.0.1"), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_listen(s, "unix:/no/such/folder"), WSLOOP_ERR_SYSTEM);
  IS(wsloop_errno(s), ENOENT);
  IS(wsloop_feed(s, "127.0.0.1:0", 1), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_feed(s, "127.0.0.1:0", -1), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_feed(s, "nonsense", 0), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_feed_stdin(s, 1), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_open(s, 1, "tcp:127.0.0.1:1", NULL), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_open(s, -1, "tcp:127.0.0.1:1", NULL), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_open(s, 0, "", NULL), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_open(s, 0, "127.0.0.1:1", NULL), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_open(s, 0, "tcp:1", NULL), WSLOOP_ERR_ARGUMENT);
  HOLDS(!strcmp(wsloop_error_text(s), "'1' is not HOST:PORT"));
  IS(wsloop_open(s, 0, "dev:no/slash", NULL), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_open(s, 0, "unix:/\xff", NULL), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_open(s, 0, "unix:/no/such/socket", NULL), WSLOOP_ERR_SYSTEM);
  IS(wsloop_errno(s), ENOENT);
  IS(wsloop_open(s, 0, "dev:/no/such/device", NULL), WSLOOP_ERR_SYSTEM);
  /* Nobody, and who is no source. */
  for (code = 0; code < 4; code++) {
    wsloop_source wrong[4];
    wrong[0] = 0, wrong[1] = ~0ull, wrong[2] = last, wrong[3] = 1ull << 31;
    IS(wsloop_tell(s, wrong[code], "x", 1), WSLOOP_ERR_GONE);
    IS(wsloop_end_source(s, wrong[code]), WSLOOP_ERR_GONE);
    IS(wsloop_close_source(s, wrong[code]), WSLOOP_ERR_GONE);
    IS(wsloop_pause_source(s, wrong[code]), WSLOOP_ERR_GONE);
    IS(wsloop_resume_source(s, wrong[code]), WSLOOP_ERR_GONE);
    IS(wsloop_source_buffered(s, wrong[code]), 0);
  }
  /* A client, by the number of a source. */
  IS(wsloop_tell(s, last | 1ull << 31, "x", 1), WSLOOP_ERR_GONE);
  IS(wsloop_close_source(s, last | 1ull << 31), WSLOOP_ERR_GONE);
  IS(wsloop_serve_folder(s, "/no/such/folder"), WSLOOP_ERR_SYSTEM);
  IS(wsloop_serve_folder(s, "/dev/null") < 0, 1);
  IS(wsloop_local_addr(s, NULL, 0), WSLOOP_ERR_SYSTEM);
  IS(wsloop_set_log(6, on_log, NULL), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_set_log(-1, on_log, NULL), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_adopt_fd(s, fd, NULL, 1), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_adopt_fd(s, -1, NULL, 0), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_listen_fd(s, -1), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_adopt_fd(s, 1000, NULL, 0), WSLOOP_ERR_SYSTEM);
  IS(wsloop_errno(s), EBADF);
  IS(wsloop_adopt_fd(s, wsloop_fd(s), NULL, 0), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_listen_fd(s, fd), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_remote_broadcast(NULL, 0, WSLOOP_TEXT, "", 0), WSLOOP_ERR_ARGUMENT);
  HOLDS(!strcmp(wsloop_strerror(WSLOOP_ERR_GONE),
                "there is no such connection or source, or none any more"));
  HOLDS(!strcmp(wsloop_strerror(-100), "no error of wsloop's"));
  HOLDS(!strcmp(wsloop_version(), WSLOOP_VERSION));
  /* And the connection is as it was. */
  say(fd, 1, "still here");
  hears(s, fd, 1, "still here");
  IS(wsloop_free(s), WSLOOP_OK);
  close(fd);
}

static void structs_may_be_of_another_version(void) {
  struct { wsloop_handler known; void *later[2]; } handlers;
  struct { wsloop_config known; uint64_t later; } configs;
  const char *origins[2] = {"https://example.com", "nonsense"};
  wsloop_stats stats;
  wsloop_server *s = server(NULL), *refused;
  int fd;
  memset(&handlers, 0, sizeof handlers);
  handlers.known = recorder();
  handlers.known.size = sizeof handlers;
  IS(wsloop_route(s, "/", &handlers.known, &route_data), 0);
  handlers.later[1] = &handlers;
  IS(wsloop_route(s, "/", &handlers.known, &route_data), WSLOOP_ERR_UNSUPPORTED);
  /* Older: what lies behind its size is not looked at. */
  handlers.known.size = offsetof(wsloop_handler, on_pong);
  memset(&handlers.known.on_pong, 0xff,
         sizeof handlers.known - offsetof(wsloop_handler, on_pong));
  IS(wsloop_route(s, "/", &handlers.known, &route_data), 0);
  fd = open_peer(s);
  say(fd, 10, "nobody's");
  say(fd, 1, "hello");
  hears(s, fd, 1, "hello");
  HOLDS(noted("text hello "));
  close(fd);
  handlers.known.size = 0;
  IS(wsloop_route(s, "/", &handlers.known, NULL), WSLOOP_ERR_ARGUMENT);
  handlers.known.size = sizeof(void *) + 1;
  IS(wsloop_route(s, "/", &handlers.known, NULL), WSLOOP_ERR_ARGUMENT);
  handlers.known.size = SIZE_MAX - 7;
  IS(wsloop_route(s, "/", &handlers.known, NULL), WSLOOP_ERR_ARGUMENT);

  memset(&stats, 0xee, sizeof stats);
  stats.size = offsetof(wsloop_stats, opened);
  IS(wsloop_get_stats(s, &stats), WSLOOP_OK);
  IS(stats.accepted, 1);
  IS(stats.opened, 0xeeeeeeeeeeeeeeeell);
  IS(wsloop_free(s), WSLOOP_OK);

  memset(&configs, 0, sizeof configs);
  IS(wsloop_new(&configs.known, &refused), WSLOOP_ERR_ARGUMENT);
  HOLDS(refused == NULL);
  configs.known.size = sizeof configs;
  configs.later = 1;
  IS(wsloop_new(&configs.known, &refused), WSLOOP_ERR_UNSUPPORTED);
  configs.later = 0;
  configs.known.flags = 1u << 31;
  IS(wsloop_new(&configs.known, &refused), WSLOOP_ERR_UNSUPPORTED);
  configs.known.flags = 0;
  configs.known.origin_count = 1;
  IS(wsloop_new(&configs.known, &refused), WSLOOP_ERR_ARGUMENT);
  configs.known.origins = origins;
  IS(wsloop_new(&configs.known, &s), WSLOOP_OK);
  IS(wsloop_free(s), WSLOOP_OK);
  configs.known.origin_count = 2;
  IS(wsloop_new(&configs.known, &refused), WSLOOP_ERR_ARGUMENT);
  configs.known.size = sizeof(size_t);
  IS(wsloop_new(&configs.known, &s), WSLOOP_OK);
  IS(wsloop_free(s), WSLOOP_OK);
}

static void callbacks_may_do_all_but_a_few_things(void) {
  wsloop_server *s = server(NULL);
  int fd = open_peer(s);
  say(fd, 1, "busy");
  hears(s, fd, 1, "busy");
  say(fd, 2, "bytes");
  hears(s, fd, 2, "bytes");
  HOLDS(noted("text busy binary bytes "));
  say(fd, 1, "close");
  hears(s, fd, 8, "\x0b\xb9" "as asked");
  say(fd, 8, "\x0b\xb9");
  hears_the_end(s, fd);
  HOLDS(noted("text close close 3001  "));
  fd = open_peer(s);
  say(fd, 1, "terminate");
  hears_the_end(s, fd);
  HOLDS(noted("text terminate close 1006 terminated "));
  fd = open_peer(s);
  IS(wsloop_free(s), WSLOOP_OK);
  HOLDS(noted("close 1006 the server is gone "));
  close(fd);
}

static void a_close_has_its_code_and_what_fits_of_its_reason(void) {
  static const uint16_t codes[] = {1000, 1001, 1002, 1003, 1007, 1014, 3000, 4999};
  char reason[200], frame[200];
  size_t n;
  memset(reason, 'r', sizeof reason);
  for (n = 0; n < sizeof codes / sizeof *codes; n++) {
    wsloop_server *s = server(NULL);
    int fd = open_peer(s);
    IS(wsloop_close(s, last, codes[n], reason, sizeof reason), WSLOOP_OK);
    IS(answer(s, fd, frame, sizeof frame), 127);
    HOLDS((frame[0] & 0xff) == 0x88 && frame[1] == 125 && !memcmp(frame + 4, reason, 123));
    IS((frame[2] & 0xff) << 8 | (frame[3] & 0xff), codes[n]);
    IS(wsloop_free(s), WSLOOP_OK);
    close(fd);
  }
}

/* Turns until a peer has been answered so. */
static void is_told(wsloop_server *s, int fd, const char *begin, size_t len) {
  char head[1024];
  HOLDS(answer(s, fd, head, sizeof head) >= len && !memcmp(head, begin, len));
  close(fd);
}

static wsloop_config defaults(void) {
  wsloop_config config;
  memset(&config, 0, sizeof config);
  config.size = sizeof config;
  return config;
}

/* Each field of the config is the limit that its name says. */
static void limits_are_those_that_were_set(void) {
  wsloop_config config = defaults();
  wsloop_server *s;
  int fd, other;
  config.max_head = 100;
  s = server(&config);
  is_told(s, peer(s, REQUEST), "HTTP/1.1 431 ", 13);
  IS(wsloop_free(s), WSLOOP_OK);

  config = defaults();
  config.max_headers = 5;
  s = server(&config);
  is_told(s, peer(s, REQUEST), "HTTP/1.1 431 ", 13);
  IS(wsloop_free(s), WSLOOP_OK);

  config = defaults();
  config.handshake_timeout_ms = 20;
  s = server(&config);
  is_told(s, peer(s, "GET / HTTP/1.1\r\n"), "HTTP/1.1 408 ", 13);
  IS(wsloop_free(s), WSLOOP_OK);

  config = defaults();
  config.max_connections = 1;
  s = server(&config);
  fd = open_peer(s);
  other = peer(s, REQUEST);
  is_told(s, other, "HTTP/1.1 503 ", 13);
  IS(wsloop_free(s), WSLOOP_OK);
  close(fd);

  config = defaults();
  config.max_message = 4;
  config.max_fragments = 2;
  s = server(&config);
  fd = open_peer(s);
  say(fd, 1, "four");
  hears(s, fd, 1, "four");
  say(fd, 1, "fives");
  is_told(s, fd, "\x88", 1);
  while (!strstr(notes, "close 1009 ")) HOLDS(wsloop_turn(s, 10) >= 0);
  notes[0] = 0;
  fd = open_peer(s);
  write_all(fd, "\x01\x80\0\0\0\0" "\x00\x80\0\0\0\0" "\x80\x80\0\0\0\0", 18);
  is_told(s, fd, "\x88", 1);
  while (!strstr(notes, "close 1008 ")) HOLDS(wsloop_turn(s, 10) >= 0);
  IS(wsloop_free(s), WSLOOP_OK);

  config = defaults();
  config.ping_interval_ms = 20;
  config.pong_timeout_ms = 20;
  s = server(&config);
  fd = open_peer(s);
  hears(s, fd, 9, "");
  hears_the_end(s, fd);
  HOLDS(strstr(notes, "close 1006 ") != NULL);
  IS(wsloop_free(s), WSLOOP_OK);

  config = defaults();
  config.ping_interval_ms = WSLOOP_NEVER;
  s = server(&config);
  IS(wsloop_timeout_ms(s), -1); /* with nobody there nothing is due */
  IS(wsloop_free(s), WSLOOP_OK);

  config.idle_timeout_ms = 20;
  s = server(&config);
  hears_the_end(s, open_peer(s));
  HOLDS(strstr(notes, "close 1006 ") != NULL);
  IS(wsloop_free(s), WSLOOP_OK);

  config = defaults();
  config.close_timeout_ms = 20;
  s = server(&config);
  fd = open_peer(s);
  IS(wsloop_stop(s), WSLOOP_OK);
  IS(wsloop_run(s), WSLOOP_OK); /* though the peer says nothing */
  IS(wsloop_free(s), WSLOOP_OK);
  close(fd);
}

#ifdef WITH_DEFLATE
/* Asks for compression, and has a text of 300 times the letter a sent: as a frame so long, of which
 * the first byte is this. */
static void sends(const wsloop_config *config, const char *agreed, int first, size_t most) {
  static const char OFFER[] =
      "GET /?ada HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
      "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
  char text[300], got[1024];
  wsloop_server *s = server(config);
  int fd = peer(s, OFFER);
  size_t len;
  memset(text, 'a', sizeof text);
  answer(s, fd, got, sizeof got);
  HOLDS(strstr(got, "HTTP/1.1 101 ") == got);
  IS(strstr(got, "permessage-deflate") != NULL, agreed != NULL);
  IS(wsloop_send(s, last, WSLOOP_TEXT, text, sizeof text), WSLOOP_OK);
  len = answer(s, fd, got, sizeof got);
  IS(got[0] & 0xff, first);
  HOLDS(len <= most && (len < 100 || most > 300));
  /* "Hello", compressed as in RFC 7692 section 7.2.3.1, masked with zeros. */
  if (agreed) {
    notes[0] = 0;
    write_all(fd, "\xc1\x87\0\0\0\0\xf2\x48\xcd\xc9\xc9\x07\x00", 13);
    hears(s, fd, 1, "Hello");
    HOLDS(noted("text Hello "));
  }
  IS(wsloop_free(s), WSLOOP_OK);
  close(fd);
}

static void messages_are_compressed_where_that_is_asked_for(void) {
  wsloop_config config = defaults();
  sends(&config, NULL, 0x81, 304);
  config.flags = WSLOOP_F_DEFLATE;
  sends(&config, "yes", 0x81, 304); /* below the threshold */
  config.deflate_threshold = 300;
  sends(&config, "yes", 0xc1, 50);
  config.deflate_level = 9;
  sends(&config, "yes", 0xc1, 50);
}
#else
static void messages_are_compressed_where_that_is_asked_for(void) {
  wsloop_config config = defaults();
  wsloop_server *refused;
  config.flags = WSLOOP_F_DEFLATE;
  IS(wsloop_new(&config, &refused), WSLOOP_ERR_UNSUPPORTED);
  HOLDS(refused == NULL);
}
#endif

static void compression_is_described_with_its_flag_only(void) {
  wsloop_config config = defaults();
  wsloop_server *refused;
  config.deflate_level = 3;
  IS(wsloop_new(&config, &refused), WSLOOP_ERR_ARGUMENT);
  config.deflate_level = 0;
  config.deflate_threshold = 1;
  IS(wsloop_new(&config, &refused), WSLOOP_ERR_ARGUMENT);
  config.flags = WSLOOP_F_DEFLATE;
  config.deflate_level = 10;
  IS(wsloop_new(&config, &refused), WSLOOP_ERR_ARGUMENT);
}

#ifdef WITH_TLS
static void tls_is_spoken_where_there_is_a_certificate(void) {
  char text[80];
  wsloop_server *s = server(NULL);
  IS(wsloop_set_tls(s, "/nowhere.pem", WITH_TLS "/key.pem"), WSLOOP_ERR_SYSTEM);
  HOLDS(strstr(wsloop_error_text(s), "/nowhere.pem") != NULL);
  IS(wsloop_set_tls(s, WITH_TLS "/key.pem", WITH_TLS "/key.pem"), WSLOOP_ERR_SYSTEM);
  HOLDS(strstr(wsloop_error_text(s), "no certificate") != NULL);
  IS(wsloop_set_tls(s, NULL, WITH_TLS "/key.pem"), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_listen(s, "wss://127.0.0.1:0"), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_set_tls(s, WITH_TLS "/cert.pem", WITH_TLS "/key.pem"), WSLOOP_OK);
  HOLDS(wsloop_listen(s, "127.0.0.1:0") > 0);
  HOLDS(wsloop_listen(s, "ws://127.0.0.1:0") > 0);
  HOLDS(wsloop_local_addr(s, text, sizeof text) > 0);
  HOLDS(strstr(text, "wss://127.0.0.1:") == text);
  IS(wsloop_set_tls(s, WITH_TLS "/cert.pem", WITH_TLS "/key.pem"), WSLOOP_OK);
  IS(wsloop_free(s), WSLOOP_OK);
}
#else
static void tls_is_spoken_where_there_is_a_certificate(void) {
  wsloop_server *s = server(NULL);
  IS(wsloop_set_tls(s, "cert.pem", "key.pem"), WSLOOP_ERR_UNSUPPORTED);
  HOLDS(strstr(wsloop_error_text(s), "tls") != NULL);
  IS(wsloop_free(s), WSLOOP_OK);
}
#endif

static void listeners_are_told_apart(void) {
  char path[64], addr[80], text[80];
  wsloop_server *s = server(NULL);
  int port = wsloop_listen(s, "127.0.0.1:0");
  HOLDS(port > 0);
  snprintf(addr, sizeof addr, "127.0.0.1:%d", port);
  IS(wsloop_listen(s, addr), WSLOOP_ERR_SYSTEM);
  IS(wsloop_errno(s), EADDRINUSE);
  HOLDS(strstr(wsloop_error_text(s), "in use") != NULL);
  HOLDS(wsloop_local_addr(s, NULL, 0) > 0);
  IS(wsloop_free(s), WSLOOP_OK);

  snprintf(path, sizeof path, "/tmp/wsloop-unit-%ld", (long)getpid());
  snprintf(addr, sizeof addr, "unix:%s", path);
  s = server(NULL);
  IS(wsloop_listen(s, addr), 0);
  IS(access(path, F_OK), 0);
  IS(wsloop_local_addr(s, text, sizeof text), strlen(addr));
  HOLDS(!strcmp(text, addr));
  IS(wsloop_free(s), WSLOOP_OK);
  IS(access(path, F_OK), -1);
}

static void between_callbacks_all_works_too(void) {
  wsloop_server *s = server(NULL);
  wsloop_conn all[2] = {0, 0};
  wsloop_timer timer;
  wsloop_stats stats;
  char text[64];
  int fd = open_peer(s);
  IS(wsloop_send(s, last, WSLOOP_TEXT, "one", 3), WSLOOP_OK);
  IS(wsloop_buffered(s, last), 5);
  IS(wsloop_timeout_ms(s), 0);
  hears(s, fd, 1, "one");
  IS(wsloop_buffered(s, last), 0);
  HOLDS(wsloop_timeout_ms(s) > 1000);
  IS(wsloop_broadcast(s, 0, 0, WSLOOP_BINARY, "two", 3), WSLOOP_OK);
  hears(s, fd, 2, "two");
  IS(wsloop_broadcast(s, WSLOOP_ALL_ROUTES, last, WSLOOP_TEXT, "not you", 7), WSLOOP_OK);
  IS(wsloop_ping(s, last, "are you", 7), WSLOOP_OK);
  hears(s, fd, 9, "are you");
  say(fd, 10, "I am");
  while (!notes[0]) HOLDS(wsloop_turn(s, 10) >= 0);
  HOLDS(noted("pong I am "));
  IS(wsloop_pause(s, last), WSLOOP_OK);
  say(fd, 1, "held");
  IS(wsloop_turn(s, 0) >= 0, 1);
  IS(wsloop_turn(s, 0) >= 0, 1);
  HOLDS(noted(""));
  IS(wsloop_resume(s, last), WSLOOP_OK);
  hears(s, fd, 1, "held");
  HOLDS(noted("text held "));
  IS(wsloop_members(s, 0, NULL, 0), 1);
  IS(wsloop_members(s, WSLOOP_ALL_ROUTES, all, 2), 1);
  IS(all[0], last);
  IS(wsloop_peer_addr(s, last, text, sizeof text), 0);
  IS(wsloop_protocol(s, last, text, sizeof text), 0);
  IS(wsloop_protocol_version(s, last), WSLOOP_RFC_6455);
  HOLDS(wsloop_data(s, last) == &conn_data);
  IS(wsloop_set_timer(s, last, 1, 1, NULL), WSLOOP_OK);
  IS(wsloop_set_timer(s, last, 2, 2, &timer), WSLOOP_OK);
  IS(wsloop_clear_timer(s, timer), WSLOOP_OK);
  IS(wsloop_clear_timer(s, timer), WSLOOP_OK);
  IS(wsloop_set_route_timer(s, 0, 3, 7, NULL), WSLOOP_OK);
  while (!strstr(notes, "timer 8")) HOLDS(wsloop_turn(s, -1) >= 0);
  HOLDS(noted("timer 1c timer 7r timer 8r "));
  memset(&stats, 0, sizeof stats);
  stats.size = sizeof stats;
  IS(wsloop_get_stats(s, &stats), WSLOOP_OK);
  IS(stats.opened, 1);
  IS(stats.open[WSLOOP_RFC_6455 - 1], 1);
  IS(stats.messages_in, 1);
  IS(wsloop_get_cut(s, 0, NULL, NULL), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_close(s, last, 1000, NULL, 0), WSLOOP_OK);
  IS(wsloop_ready_state(s, last), WSLOOP_CLOSING);
  hears(s, fd, 8, "\x03\xe8");
  close(fd);
  IS(wsloop_free(s), WSLOOP_OK);
  HOLDS(noted("close 1006 the server is gone "));
}

static void a_hixie_client_has_text_only(void) {
  wsloop_server *s = server(NULL);
  char head[1024];
  int fd = peer(s, HIXIE);
  answer(s, fd, head, sizeof head);
  IS(wsloop_protocol_version(s, last), WSLOOP_HIXIE_75);
  IS(wsloop_send(s, last, WSLOOP_BINARY, "x", 1), WSLOOP_ERR_UNSUPPORTED);
  IS(wsloop_ping(s, last, "", 0), WSLOOP_ERR_UNSUPPORTED);
  IS(wsloop_send(s, last, WSLOOP_TEXT, "x", 1), WSLOOP_OK);
  IS(wsloop_free(s), WSLOOP_OK);
  close(fd);
}

static void drafts_may_be_turned_off(void) {
  wsloop_config config = defaults();
  wsloop_server *s;
  config.flags = WSLOOP_F_RFC6455_ONLY;
  s = server(&config);
  is_told(s, peer(s, HIXIE), "HTTP/1.1 426 ", 13);
  close(open_peer(s));
  IS(wsloop_free(s), WSLOOP_OK);
}

static void a_full_backlog_is_told(void) {
  wsloop_config config;
  wsloop_server *s;
  wsloop_str why;
  uint64_t count;
  static char large[70000], taken[70000];
  int fd;
  memset(&config, 0, sizeof config);
  config.size = sizeof config;
  config.max_backlog = 100000;
  config.flags = WSLOOP_F_DROP_WHEN_FULL;
  s = server(&config);
  fd = open_peer(s);
  IS(wsloop_pause(s, last), WSLOOP_OK);
  while (wsloop_send(s, last, WSLOOP_BINARY, large, sizeof large) == WSLOOP_OK) {
  }
  HOLDS(wsloop_buffered(s, last) > 65536);
  IS(wsloop_send(s, last, WSLOOP_TEXT, "x", 1), WSLOOP_BACKPRESSURE);
  IS(wsloop_send(s, last, WSLOOP_BINARY, large, sizeof large), WSLOOP_ERR_FULL);
  IS(wsloop_ready_state(s, last), WSLOOP_OPEN);
  while (!strstr(notes, "drain")) answer(s, fd, taken, sizeof taken);
  HOLDS(noted("drain "));
  IS(wsloop_buffered(s, last), 0);
  IS(wsloop_free(s), WSLOOP_OK);
  close(fd);
  config.flags = 0;
  s = server(&config);
  fd = open_peer(s);
  while (wsloop_send(s, last, WSLOOP_BINARY, large, sizeof large) >= 0) {
  }
  IS(wsloop_ready_state(s, last), WSLOOP_CLOSING);
  IS(wsloop_get_cut(s, 0, &why, &count), WSLOOP_OK);
  HOLDS(why.len == 12 && !memcmp(why.ptr, "backlog full", 12) && count == 1);
  IS(wsloop_free(s), WSLOOP_OK);
  close(fd);
}

/* ------------------------------------------------------------------------------ requests --- */

static int on_request(wsloop_server *s, wsloop_conn c, wsloop_request *request, void *user) {
  wsloop_str path = wsloop_request_path(request), name, value, second;
  (void)user;
  IS(wsloop_ready_state(s, c), WSLOOP_CONNECTING);
  IS(wsloop_send(s, c, WSLOOP_TEXT, "x", 1), WSLOOP_ERR_STATE);
  IS(wsloop_protocol_version(s, c), WSLOOP_ERR_GONE);
  HOLDS(!memcmp(wsloop_request_method(request).ptr, "GET", 3));
  HOLDS(!memcmp(wsloop_request_header(request, "hOsT").ptr, "here", 4));
  HOLDS(wsloop_request_header(request, "None").ptr == NULL);
  IS(wsloop_request_field(request, 0, &name, &value), WSLOOP_OK);
  HOLDS(name.len == 4 && !memcmp(name.ptr, "Host", 4) && value.len == 4);
  IS(wsloop_request_field(request, 100, &name, &value), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_request_add_field(request, "X", "y"), WSLOOP_ERR_STATE);
  IS(wsloop_request_respond(request, 101, NULL, NULL, 0), WSLOOP_ERR_ARGUMENT);
  if (path.len == 6 && !memcmp(path.ptr, "/quote", 6)) {
    IS(wsloop_request_respond(request, 199, NULL, NULL, 0), WSLOOP_ERR_ARGUMENT);
    IS(wsloop_request_respond(request, 600, NULL, NULL, 0), WSLOOP_ERR_ARGUMENT);
    IS(wsloop_request_respond(request, 200, NULL, NULL, 1), WSLOOP_ERR_ARGUMENT);
    IS(wsloop_request_respond(request, 200, "\xff", NULL, 0), WSLOOP_ERR_ARGUMENT);
    IS(wsloop_request_choose(request, NULL, 1), WSLOOP_ERR_ARGUMENT);
    IS(wsloop_request_add_field(request, NULL, "x"), WSLOOP_ERR_ARGUMENT);
    IS(wsloop_request_respond(request, 200, "application/json", "{}", 2), WSLOOP_OK);
    IS(wsloop_request_add_field(request, "X", NULL), WSLOOP_ERR_ARGUMENT);
    IS(wsloop_request_add_field(request, "X-Price", "12"), WSLOOP_OK);
    IS(wsloop_request_add_field(request, "X Price", "12"), WSLOOP_ERR_ARGUMENT);
    IS(wsloop_request_add_field(request, "content-length", "12"), WSLOOP_ERR_ARGUMENT);
    IS(wsloop_request_add_field(request, "Transfer-Encoding", "x"), WSLOOP_ERR_ARGUMENT);
    IS(wsloop_request_add_field(request, "X-Split", "a\r\nb: c"), WSLOOP_ERR_ARGUMENT);
    return 0;
  }
  if (path.len == 5) return path.ptr[1] == 'b' ? 403 : 1; /* /bars, /nons */
  second = wsloop_request_protocol(request, 1);
  HOLDS(second.len == 1 && second.ptr[0] == 'b');
  HOLDS(wsloop_request_protocol(request, 2).ptr == NULL);
  IS(wsloop_request_choose(request, "c", 1), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_request_choose(request, second.ptr, second.len), WSLOOP_OK);
  IS(wsloop_set_data(s, c, &conn_data), WSLOOP_OK);
  return 0;
}

static void on_open_chosen(wsloop_server *s, wsloop_conn c, const wsloop_request *request,
                           void *user) {
  char protocol[2];
  (void)user;
  HOLDS(wsloop_data(s, c) == &conn_data);
  IS(wsloop_protocol(s, c, protocol, sizeof protocol), 1);
  HOLDS(!strcmp(protocol, "b"));
  HOLDS(wsloop_request_header(request, "Upgrade").len == 9);
}

static void answers(wsloop_server *s, const char *request, const char *status, const char *field) {
  char head[1024];
  int fd = peer(s, request);
  answer(s, fd, head, sizeof head);
  HOLDS(!strncmp(head, status, strlen(status)) && strstr(head, field));
  close(fd);
}

static void a_request_is_answered_as_it_is_said(void) {
  wsloop_server *s = server(NULL);
  wsloop_handler handler;
  memset(&handler, 0, sizeof handler);
  handler.size = sizeof handler;
  handler.on_request = on_request;
  handler.on_open = on_open_chosen;
  IS(wsloop_route(s, "*", &handler, NULL), 1);
  IS(wsloop_route(s, "/", &handler, NULL), 0);
  answers(s, REQUEST, "HTTP/1.1 101 ", "\r\nSec-WebSocket-Protocol: b\r\n");
  answers(s, "GET /quote HTTP/1.1\r\nHost: here\r\n\r\n", "HTTP/1.1 200 ", "\r\nX-Price: 12\r\n");
  answers(s, "GET /bars HTTP/1.1\r\nHost: here\r\n\r\n", "HTTP/1.1 403 ", "\r\n");
  answers(s, "GET /nons HTTP/1.1\r\nHost: here\r\n\r\n", "HTTP/1.1 500 ", "\r\n");
  IS(wsloop_free(s), WSLOOP_OK);
}

/* --------------------------------------------------------- descriptors, feeds, and stops --- */

static int tcp(uint16_t port, int listening) {
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in addr;
  memset(&addr, 0, sizeof addr);
  addr.sin_family = AF_INET;
  addr.sin_port = htons(port);
  addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (listening)
    HOLDS(bind(fd, (struct sockaddr *)&addr, sizeof addr) == 0 && listen(fd, 8) == 0);
  else
    HOLDS(connect(fd, (struct sockaddr *)&addr, sizeof addr) == 0);
  return fd;
}

static void descriptors_are_taken_over_or_left(void) {
  wsloop_server *s = server(NULL);
  char text[64], cut[8];
  int pair[2], len, port, ours, listener = tcp(0, 1), flags = fcntl(listener, F_GETFL);
  HOLDS(pipe(pair) == 0);
  IS(wsloop_adopt_fd(s, pair[0], NULL, 0), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_listen_fd(s, pair[0]), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_adopt_fd(s, listener, NULL, 0), WSLOOP_ERR_ARGUMENT);
  IS(fcntl(listener, F_GETFL), flags); /* refused, and so as it was */
  port = wsloop_listen_fd(s, listener);
  HOLDS(port > 0);
  IS(fcntl(listener, F_GETFD), -1); /* ours no more */
  len = wsloop_local_addr(s, text, sizeof text);
  IS(len, strlen(text));
  IS(wsloop_local_addr(s, cut, sizeof cut), len);
  HOLDS(!strncmp(text, "ws://127.0.0.1:", 15) && !strcmp(cut, "ws://12"));
  ours = tcp((uint16_t)port, 0);
  write_all(ours, REQUEST, strlen(REQUEST));
  HOLDS(answer(s, ours, notes, 200) > 0);
  len = wsloop_peer_addr(s, last, text, sizeof text);
  IS(len, strlen(text));
  HOLDS(!strncmp(text, "127.0.0.1:", 10));
  close(ours), close(pair[0]), close(pair[1]);
  IS(wsloop_free(s), WSLOOP_OK);
}

static wsloop_source fed;

static const char *on_line(wsloop_server *s, wsloop_source source, const char *line, size_t len,
                           void *user) {
  (void)user;
  /* A source is no connection. */
  IS(wsloop_send(s, source, WSLOOP_TEXT, line, len), WSLOOP_ERR_GONE);
  fed = source;
  note("line ", line, len);
  return len == 3 && !memcmp(line, "bad", 3) ? "too bad" : NULL;
}

static void on_source_end(wsloop_server *s, wsloop_source source, int end, const char *reason,
                          size_t len, void *user) {
  char number[16];
  (void)user;
  IS(wsloop_tell(s, source, "late", 4), WSLOOP_ERR_GONE);
  snprintf(number, sizeof number, "end %d ", end);
  note(number, reason, len);
}

static void lines_come_in(void) {
  wsloop_server *s = server(NULL);
  wsloop_handler handler = recorder();
  char text[64];
  int fd, port;
  handler.on_line = on_line;
  handler.on_source_end = on_source_end;
  IS(wsloop_route(s, "/", &handler, &route_data), 0);
  port = wsloop_feed(s, "127.0.0.1:0", 0);
  HOLDS(port > 0);
  fd = tcp((uint16_t)port, 0);
  write_all(fd, "good\nbad\nlast", 13);
  answer(s, fd, text, sizeof text);
  HOLDS(!strcmp(text, "error: line 2: too bad\n"));
  close(fd);
  while (!strstr(notes, "end")) HOLDS(wsloop_turn(s, 10) >= 0);
  HOLDS(noted("line good line bad line last end 0 it has ended "));
  IS(wsloop_free(s), WSLOOP_OK);
}

static void lines_come_from_standard_input(void) {
  wsloop_server *s = server(NULL);
  wsloop_handler handler = recorder();
  int pair[2], kept = dup(STDIN_FILENO);
  HOLDS(pipe(pair) == 0 && dup2(pair[0], STDIN_FILENO) == STDIN_FILENO);
  handler.on_line = on_line;
  handler.on_source_end = on_source_end;
  IS(wsloop_route(s, "/", &handler, &route_data), 0);
  IS(wsloop_feed_stdin(s, 0), WSLOOP_OK);
  HOLDS(write(pair[1], "one\r\ntwo", 8) == 8);
  close(pair[1]);
  while (!strstr(notes, "end")) HOLDS(wsloop_turn(s, 10) >= 0);
  HOLDS(noted("line one line two end 0 it has ended "));
  IS(wsloop_free(s), WSLOOP_OK);
  HOLDS(dup2(kept, STDIN_FILENO) == STDIN_FILENO);
  close(kept), close(pair[0]);
}

/* --------------------------------------------------------------------- sources opened --- */

static wsloop_source opened;

static void on_bytes(wsloop_server *s, wsloop_source source, const void *data, size_t len,
                     void *user) {
  HOLDS(s == seen && user == &route_data && source == opened);
  /* A source is no connection. */
  IS(wsloop_close(s, source, 1000, NULL, 0), WSLOOP_ERR_GONE);
  note("bytes ", (const char *)data, len);
  if (len == 5 && !memcmp(data, "pause", 5)) IS(wsloop_pause_source(s, source), WSLOOP_OK);
  if (len == 3 && !memcmp(data, "ask", 3)) IS(wsloop_tell(s, source, "answer", 6), WSLOOP_OK);
}

static void on_source_drain(wsloop_server *s, wsloop_source source, void *user) {
  HOLDS(s == seen && user == &route_data && source == opened);
  note("drain", "", 0);
}

/* A server with a handler of sources on its route. */
static wsloop_server *source_server(const wsloop_config *config) {
  wsloop_server *s = server(config);
  wsloop_handler handler = recorder();
  handler.on_line = on_line;
  handler.on_bytes = on_bytes;
  handler.on_source_drain = on_source_drain;
  handler.on_source_end = on_source_end;
  IS(wsloop_route(s, "/", &handler, &route_data), 0);
  return s;
}

static void turn_until(wsloop_server *s, const char *what) {
  while (!strstr(notes, what)) HOLDS(wsloop_turn(s, 1000) >= 0);
}

/* Opens a source that is reached, and gives back its other end. */
static int open_source(wsloop_server *s, const char *how) {
  struct sockaddr_in addr;
  socklen_t len = sizeof addr;
  char target[64];
  int fd, listener = tcp(0, 1);
  HOLDS(getsockname(listener, (struct sockaddr *)&addr, &len) == 0);
  snprintf(target, sizeof target, "%stcp:127.0.0.1:%d", how, ntohs(addr.sin_port));
  IS(wsloop_open(s, 0, target, &opened), WSLOOP_OK);
  HOLDS(opened != 0);
  IS(wsloop_timeout_ms(s), 0);
  fd = accept(listener, NULL, NULL);
  HOLDS(fd >= 0);
  while (wsloop_timeout_ms(s) == 0) HOLDS(wsloop_turn(s, 10) >= 0);
  close(listener);
  return fd;
}

static void bytes_go_both_ways_until_both_have_ended(void) {
  wsloop_server *s = source_server(NULL);
  char text[64];
  int fd = open_source(s, "");
  IS(wsloop_tell(s, opened, NULL, 1), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_tell(s, opened, "x", SIZE_MAX), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_tell(s, opened, NULL, 0), WSLOOP_OK);
  IS(wsloop_tell(s, opened, "\xff\0!", 3), WSLOOP_OK);
  IS(wsloop_timeout_ms(s), 0);
  IS(wsloop_source_buffered(s, opened), 3);
  IS(answer(s, fd, text, sizeof text), 3);
  HOLDS(!memcmp(text, "\xff\0!", 3));
  write_all(fd, "ask", 3);
  IS(answer(s, fd, text, sizeof text), 6);
  HOLDS(!memcmp(text, "answer", 6) && noted("bytes ask "));
  /* What comes while it is paused waits, and so does its end. */
  write_all(fd, "pause", 5);
  turn_until(s, "bytes pause ");
  write_all(fd, "on", 2);
  IS(wsloop_turn(s, 0) >= 0, 1);
  HOLDS(noted("bytes pause "));
  IS(wsloop_resume_source(s, opened), WSLOOP_OK);
  IS(wsloop_resume_source(s, opened), WSLOOP_OK);
  turn_until(s, "bytes on ");
  HOLDS(noted("bytes on "));
  /* It is told no more, and still heard. */
  IS(wsloop_tell(s, opened, "bye", 3), WSLOOP_OK);
  IS(wsloop_end_source(s, opened), WSLOOP_OK);
  IS(wsloop_end_source(s, opened), WSLOOP_ERR_STATE);
  IS(wsloop_tell(s, opened, "late", 4), WSLOOP_ERR_STATE);
  IS(wsloop_pause_source(s, opened), WSLOOP_OK);
  IS(answer(s, fd, text, sizeof text), 3);
  IS(answer(s, fd, text, sizeof text), 0);
  write_all(fd, "last", 4);
  close(fd);
  while (wsloop_turn(s, 0) > 0) {
  }
  HOLDS(noted(""));
  IS(wsloop_resume_source(s, opened), WSLOOP_OK);
  turn_until(s, "end");
  HOLDS(noted("bytes last end 0 it has ended "));
  IS(wsloop_tell(s, opened, "late", 4), WSLOOP_ERR_GONE);
  IS(wsloop_close_source(s, opened), WSLOOP_ERR_GONE);
  IS(wsloop_source_buffered(s, opened), 0);
  IS(wsloop_free(s), WSLOOP_OK);
}

static void lines_go_both_ways(void) {
  wsloop_server *s = source_server(NULL);
  char text[64];
  int fd = open_source(s, "lines:");
  IS(wsloop_tell(s, opened, "speed 3", 7), WSLOOP_OK);
  IS(wsloop_tell(s, opened, "", 0), WSLOOP_OK);
  IS(answer(s, fd, text, sizeof text), 9);
  HOLDS(!strcmp(text, "speed 3\n\n"));
  write_all(fd, "one\r\nbad\ntwo", 12);
  turn_until(s, "line bad ");
  /* It is not told what is wrong with its lines. */
  IS(recv(fd, text, sizeof text, MSG_DONTWAIT), -1);
  IS(wsloop_close_source(s, opened), WSLOOP_OK);
  IS(wsloop_close_source(s, opened), WSLOOP_OK);
  IS(wsloop_pause_source(s, opened), WSLOOP_ERR_STATE);
  turn_until(s, "end");
  HOLDS(noted("line one line bad end 0 it has ended "));
  IS(answer(s, fd, text, sizeof text), 0);
  close(fd);
  IS(wsloop_free(s), WSLOOP_OK);
}

static void without_a_function_all_that_comes_is_broadcast(void) {
  wsloop_server *s = server(NULL);
  int client = open_peer(s), fd = open_source(s, "");
  write_all(fd, "\x01\x02", 2);
  hears(s, client, 2, "\x01\x02");
  close(fd);
  fd = open_source(s, "lines:");
  write_all(fd, "a line\n", 7);
  hears(s, client, 1, "a line");
  IS(wsloop_free(s), WSLOOP_OK);
  close(fd), close(client);
}

static void a_source_that_does_not_keep_up_is_told_no_more(void) {
  static char large[70000], taken[70000];
  wsloop_config config = defaults();
  wsloop_server *s;
  int fd, rc;
  config.max_backlog = 100000;
  s = source_server(&config);
  fd = open_source(s, "");
  while ((rc = wsloop_tell(s, opened, large, sizeof large)) == WSLOOP_OK) {
  }
  IS(rc, WSLOOP_BACKPRESSURE);
  HOLDS(wsloop_source_buffered(s, opened) > 65536);
  IS(wsloop_tell(s, opened, large, sizeof large), WSLOOP_ERR_FULL);
  while (!strstr(notes, "drain")) answer(s, fd, taken, sizeof taken);
  HOLDS(noted("drain "));
  IS(wsloop_source_buffered(s, opened), 0);
  IS(wsloop_tell(s, opened, "x", 1), WSLOOP_OK);
  IS(wsloop_free(s), WSLOOP_OK);
  close(fd);
}

/* Has it end; it must have ended so. */
static void ends(wsloop_server *s, const char *how) {
  turn_until(s, "end");
  if (strncmp(notes, how, strlen(how))) HOLDS(noted(how));
  IS(wsloop_tell(s, opened, "x", 1), WSLOOP_ERR_GONE);
  notes[0] = 0;
}

static void every_end_has_its_reason(void) {
  static char large[4000000];
  struct linger at_once = {1, 0};
  struct sockaddr_in addr;
  socklen_t len = sizeof addr;
  wsloop_config config = defaults();
  wsloop_server *s = source_server(NULL);
  char target[64];
  int fd = tcp(0, 1);
  HOLDS(getsockname(fd, (struct sockaddr *)&addr, &len) == 0);
  close(fd);
  snprintf(target, sizeof target, "tcp:127.0.0.1:%d", ntohs(addr.sin_port));
  IS(wsloop_open(s, 0, target, &opened), WSLOOP_OK);
  ends(s, "end -1 it cannot be reached: Connection refused");

  fd = open_source(s, "");
  HOLDS(setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once) == 0);
  close(fd);
  ends(s, "end -2 it failed: Connection reset");

  fd = open_source(s, "");
  close(fd);
  ends(s, "end 0 it has ended ");

  fd = open_source(s, "");
  IS(wsloop_tell(s, opened, "good night", 10), WSLOOP_OK);
  IS(wsloop_stop(s), WSLOOP_OK);
  ends(s, "end -4 the server stops ");
  IS(wsloop_open(s, 0, target, &opened), WSLOOP_ERR_STOPPED);
  IS(opened, 0);
  HOLDS(answer(s, fd, target, sizeof target) == 10);
  close(fd);
  IS(wsloop_run(s), WSLOOP_OK);
  IS(wsloop_free(s), WSLOOP_OK);

  config.ping_interval_ms = 20;
  config.pong_timeout_ms = 20;
  s = source_server(&config);
  fd = open_source(s, "");
  /* As much as the kernel takes, and as may wait. */
  while (wsloop_tell(s, opened, large, sizeof large) >= 0) {
  }
  ends(s, "end -3 it takes nothing ");
  close(fd);
  IS(wsloop_free(s), WSLOOP_OK);

  s = source_server(NULL);
  fd = open_source(s, "");
  IS(wsloop_free(s), WSLOOP_OK);
  HOLDS(noted("end -4 the server stops "));
  close(fd);
}

static void programs_are_sources_too(void) {
  wsloop_config config = defaults();
  wsloop_server *s;
  config.max_programs = 1;
  config.program_grace_ms = 50;
  s = source_server(&config);
  IS(wsloop_open(s, 0, "exec:", &opened), WSLOOP_ERR_ARGUMENT);
  IS(wsloop_open(s, 0, "exec:read a; echo $a and on; exit 3", &opened), WSLOOP_OK);
  IS(wsloop_open(s, 0, "exec:true", NULL), WSLOOP_ERR_FULL);
  IS(wsloop_tell(s, opened, "so", 2), WSLOOP_OK);
  turn_until(s, "end");
  HOLDS(noted("line so and on end 3 it has ended with exit code 3 "));
  while (wsloop_open(s, 0, "exec:kill -TERM $$", &opened) == WSLOOP_ERR_FULL)
    HOLDS(wsloop_turn(s, 10) >= 0);
  turn_until(s, "end");
  HOLDS(noted("end 143 it was ended by signal 15 "));
  while (wsloop_open(s, 0, "bytes:exec:printf x", &opened) == WSLOOP_ERR_FULL)
    HOLDS(wsloop_turn(s, 10) >= 0);
  turn_until(s, "end");
  HOLDS(noted("bytes x end 0 it has ended "));
  /* One that ignores the end of its input has no more than its grace. */
  while (wsloop_open(s, 0, "exec:echo here; exec sleep 1000", &opened) == WSLOOP_ERR_FULL)
    HOLDS(wsloop_turn(s, 10) >= 0);
  turn_until(s, "line here ");
  IS(wsloop_stop(s), WSLOOP_OK);
  IS(wsloop_run(s), WSLOOP_OK);
  HOLDS(noted("line here end -4 the server stops "));
  IS(wsloop_free(s), WSLOOP_OK);
}

static void who_feeds_may_be_told_and_standard_input_not(void) {
  wsloop_server *s = source_server(NULL);
  char text[64];
  int fd, port, pair[2], kept = dup(STDIN_FILENO);
  port = wsloop_feed(s, "127.0.0.1:0", 0);
  fd = tcp((uint16_t)port, 0);
  fed = 0;
  write_all(fd, "a line\n", 7);
  turn_until(s, "line a line ");
  IS(wsloop_tell(s, fed, "thanks", 6), WSLOOP_OK);
  IS(answer(s, fd, text, sizeof text), 7);
  HOLDS(!strcmp(text, "thanks\n"));
  close(fd);
  turn_until(s, "end 0 ");
  notes[0] = 0;
  HOLDS(pipe(pair) == 0 && dup2(pair[0], STDIN_FILENO) == STDIN_FILENO);
  IS(wsloop_feed_stdin(s, 0), WSLOOP_OK);
  HOLDS(write(pair[1], "typed\n", 6) == 6);
  turn_until(s, "line typed ");
  IS(wsloop_tell(s, fed, "thanks", 6), WSLOOP_ERR_UNSUPPORTED);
  close(pair[1]);
  turn_until(s, "end 0 ");
  IS(wsloop_free(s), WSLOOP_OK);
  HOLDS(dup2(kept, STDIN_FILENO) == STDIN_FILENO);
  close(kept), close(pair[0]);
}

static void on_alarm(int number) {
  (void)number;
  errno = 0;
  wsloop_wake(seen);
  wsloop_stop(seen);
  IS(errno, 0);
}

static void a_signal_handler_stops_it(void) {
  wsloop_server *s = server(NULL);
  wsloop_remote *remote = wsloop_remote_new(s), *other = wsloop_remote_clone(remote);
  int fd = open_peer(s);
  signal(SIGALRM, on_alarm);
  raise(SIGALRM);
  signal(SIGALRM, SIG_DFL);
  HOLDS(wsloop_turn(s, -1) >= 0);
  HOLDS(noted("wake "));
  hears(s, fd, 8, "\x03\xe9the server stops");
  close(fd);
  IS(wsloop_run(s), WSLOOP_OK);
  IS(wsloop_turn(s, -1), WSLOOP_ERR_STOPPED);
  IS(wsloop_timeout_ms(s), 0);
  IS(wsloop_run(s), WSLOOP_OK);
  IS(wsloop_listen(s, "127.0.0.1:0") < 0, 1);
  IS(wsloop_remote_send(remote, last, WSLOOP_TEXT, "x", 1), WSLOOP_OK);
  wsloop_remote_free(remote);
  IS(wsloop_free(s), WSLOOP_OK);
  IS(wsloop_remote_send(other, last, WSLOOP_TEXT, "x", 1), WSLOOP_ERR_STOPPED);
  IS(wsloop_remote_wake(other), WSLOOP_OK);
  wsloop_remote_free(other);
}

static void a_remote_is_heard_and_bounded(void) {
  wsloop_server *s = server(NULL);
  wsloop_remote *remote = wsloop_remote_new(s);
  int i, fd = open_peer(s);
  IS(wsloop_remote_send(remote, last, WSLOOP_TEXT, "one", 3), WSLOOP_OK);
  hears(s, fd, 1, "one");
  IS(wsloop_remote_broadcast(remote, 0, WSLOOP_BINARY, "two", 3), WSLOOP_OK);
  hears(s, fd, 2, "two");
  IS(wsloop_remote_broadcast(remote, -1, WSLOOP_TEXT, "x", 1), WSLOOP_ERR_ARGUMENT);
  for (i = 0; i < 1024; i++)
    IS(wsloop_remote_broadcast(remote, 9, WSLOOP_TEXT, "nobody", 6), WSLOOP_OK);
  IS(wsloop_remote_send(remote, last, WSLOOP_TEXT, "x", 1), WSLOOP_ERR_FULL);
  IS(wsloop_remote_wake(remote), WSLOOP_OK);
  while (!notes[0]) HOLDS(wsloop_turn(s, -1) >= 0);
  HOLDS(noted("wake "));
  wsloop_remote_free(remote);
  IS(wsloop_free(s), WSLOOP_OK);
  close(fd);
}

/* --------------------------------------------------------------------- SIGPIPE, the log --- */

/* What a plain write to a peer that has gone does to this very process. */
static void sigpipe_kills(void) {
  int status, pair[2];
  pid_t child = fork();
  if (child == 0) {
    HOLDS(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    close(pair[1]);
    _exit(write(pair[0], "x", 1) == 1);
  }
  HOLDS(waitpid(child, &status, 0) == child);
  HOLDS(WIFSIGNALED(status) && WTERMSIG(status) == SIGPIPE);
}

static void writing_to_who_has_gone_is_no_sigpipe(void) {
  static char large[200000];
  wsloop_server *s;
  size_t len;
  sigpipe_kills();
  for (len = 1; len <= sizeof large; len *= 20) {
    int fd;
    s = server(NULL);
    fd = open_peer(s);
    close(fd);
    wsloop_send(s, last, WSLOOP_BINARY, large, len);
    wsloop_broadcast(s, 0, 0, WSLOOP_BINARY, large, len);
    while (wsloop_ready_state(s, last) != WSLOOP_CLOSED) HOLDS(wsloop_turn(s, 10) >= 0);
    IS(wsloop_free(s), WSLOOP_OK);
  }
}

static void on_log(int level, const char *text, size_t len, void *user) {
  (void)text;
  HOLDS(user == &route_data && level <= WSLOOP_LOG_INFO && len > 0);
  /* It is called inside another call. */
  IS(wsloop_send(seen, last, WSLOOP_TEXT, "x", 1), WSLOOP_ERR_BUSY);
  note("log", "", 0);
}

static void the_log_has_one_function(void) {
  wsloop_server *s = server(NULL);
  int fd;
  IS(wsloop_set_log(WSLOOP_LOG_INFO, on_log, &route_data), WSLOOP_OK);
  IS(wsloop_set_log(WSLOOP_LOG_INFO, on_log, &route_data), WSLOOP_ERR_STATE);
  fd = peer(s, REQUEST);
  while (!strstr(notes, "open")) HOLDS(wsloop_turn(s, 10) >= 0);
  HOLDS(noted("log openada "));
  IS(wsloop_free(s), WSLOOP_OK);
  close(fd);
}

int main(void) {
  null_is_an_error_everywhere();
  nonsense_is_an_error();
  structs_may_be_of_another_version();
  callbacks_may_do_all_but_a_few_things();
  a_close_has_its_code_and_what_fits_of_its_reason();
  limits_are_those_that_were_set();
  messages_are_compressed_where_that_is_asked_for();
  compression_is_described_with_its_flag_only();
  tls_is_spoken_where_there_is_a_certificate();
  listeners_are_told_apart();
  between_callbacks_all_works_too();
  a_hixie_client_has_text_only();
  drafts_may_be_turned_off();
  a_full_backlog_is_told();
  a_request_is_answered_as_it_is_said();
  descriptors_are_taken_over_or_left();
  lines_come_in();
  lines_come_from_standard_input();
  bytes_go_both_ways_until_both_have_ended();
  lines_go_both_ways();
  without_a_function_all_that_comes_is_broadcast();
  a_source_that_does_not_keep_up_is_told_no_more();
  every_end_has_its_reason();
  programs_are_sources_too();
  who_feeds_may_be_told_and_standard_input_not();
  a_signal_handler_stops_it();
  a_remote_is_heard_and_bounded();
  writing_to_who_has_gone_is_no_sigpipe();
  the_log_has_one_function();
  puts("all holds");
  return 0;
}
