/*
 * wsloop.h - a WebSocket server on one thread, for C99 and C++.  This file is its manual.
 *
 *   static void on_message(wsloop_server *s, wsloop_conn c, int kind, const void *data,
 *                          size_t len, void *user) {
 *     wsloop_send(s, c, kind, data, len);
 *   }
 *   ...
 *   wsloop_handler echo = { .size = sizeof echo, .on_message = on_message };
 *   wsloop_new(NULL, &server);
 *   wsloop_route(server, "/", &echo, NULL);
 *   wsloop_listen(server, "127.0.0.1:9001");
 *   wsloop_run(server);
 *   wsloop_free(server);
 *
 * THE LOOP.  All work is done, and all callbacks are called, inside wsloop_run(), wsloop_turn()
 * and wsloop_free(), on the thread that calls them.  One of three:
 *   a) ours:      wsloop_run(server);
 *   b) by hand:   while (wsloop_turn(server, 10) >= 0) do_something_else();
 *   c) nested:    watch wsloop_fd() for readability (poll, select, epoll without EPOLLET, libuv,
 *                 GLib), wait no longer than wsloop_timeout_ms(), then call
 *                 wsloop_turn(server, 0), whether the wait ended by readiness or by time.
 * In c) all three calls are needed: after a turn there may be work that the descriptor does not
 * announce.  Ask for the timeout before EVERY wait, behind the last call of anything here.  A loop
 * that ignores it stalls.  On Linux the flag WSLOOP_F_FD_ONLY has the descriptor announce that
 * work and the deadlines too; then there is no timeout to heed.
 *
 * THREADS.  A server is used by one thread at a time; between calls it may go to another.  Only
 * these may be called beside it, from any thread: wsloop_stop() and wsloop_wake(), until the
 * server is freed; the wsloop_remote_ functions; and those that take no server.  Of them,
 * wsloop_stop(), wsloop_wake(), wsloop_remote_stop() and wsloop_remote_wake() may be called in a
 * signal handler; they leave errno alone.
 *
 * CALLBACKS may call every function of which no more is said here.  Those marked "not in a
 * callback" do nothing there and answer WSLOOP_ERR_BUSY.  A connection may be closed or
 * terminated in its own callbacks.  Never leave a callback by longjmp(3); a C++ exception that
 * would leave one aborts the process.  What a callback sends is written by the end of the turn.
 *
 * MEMORY.  What is passed in is copied before the call returns, and never written to.  What a
 * callback is given is valid until it returns.  Data, and text that may come from a peer, is a
 * pointer and a length, without a NUL behind it; where the length is 0 the pointer may be NULL.
 * Names (paths, addresses, fields) end in NUL.  All text is UTF-8.  Nothing here is for free(3).
 *
 * RESULTS.  0 or more is success, less is one of WSLOOP_ERR_: and then nothing was done.  A NULL
 * server is WSLOOP_ERR_ARGUMENT; so are NULL and nonsense elsewhere.
 *
 * MANNERS.  No threads, no signal handlers, no SIGPIPE, no exit(3), nothing on the standard
 * streams (but where wsloop_feed_stdin() is asked for), no processes (but where wsloop_open() is
 * asked for a program), no state outside of the server but the log function.  Descriptors are
 * close-on-exec.  After fork(2) the child leaves the server alone.
 * Should a bug of wsloop's be met, the call answers WSLOOP_ERR_PANIC, and from then on every call
 * with this server does, no callback comes any more, and wsloop_free() frees it.
 *
 * STRUCTS begin with their own size, so that they can grow:
 *   wsloop_config config = { .size = sizeof config };                          C99, C++20
 *   wsloop_config config; memset(&config, 0, sizeof config); config.size = sizeof config;
 * A field that is 0 or NULL is the default.  Later versions append fields.  A program that was
 * compiled with an older, shorter struct goes on to work; one that sets a field which this
 * library does not know is told WSLOOP_ERR_UNSUPPORTED.
 */
#ifndef WSLOOP_H
#define WSLOOP_H

#include <stddef.h>
#include <stdint.h>

#define WSLOOP_VERSION "0.1.0" /* of this header; wsloop_version() is the library's */

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------------------- types --- */

typedef struct wsloop_server wsloop_server;
typedef struct wsloop_request wsloop_request; /* inside on_request and on_open */
typedef struct wsloop_remote wsloop_remote;   /* reaches a server from other threads */

/* Names a connection; 0 is none.  It may be kept: when the connection has gone, functions answer
 * WSLOOP_ERR_GONE, and it is not given to another (before 4 billion more have come). */
typedef uint64_t wsloop_conn;

/* Names a source: what is no client, but came by a feed or was opened by wsloop_open().  0 is none.
 * It may be kept as a wsloop_conn may, but is not one: functions for connections answer
 * WSLOOP_ERR_GONE to it, and those for sources to a wsloop_conn. */
typedef uint64_t wsloop_source;

typedef struct wsloop_timer {
  uint64_t opaque[2];
} wsloop_timer;

/* Text of a length.  ptr is NULL where there is none. */
typedef struct wsloop_str {
  const char *ptr;
  size_t len;
} wsloop_str;

enum { WSLOOP_TEXT = 1, WSLOOP_BINARY = 2 }; /* kinds of messages; text is UTF-8, checked */

enum {
  WSLOOP_OK = 0,
  WSLOOP_BACKPRESSURE = 1,     /* queued, but over 64 KiB wait: send less until on_drain */
  WSLOOP_ERR_ARGUMENT = -1,    /* NULL, not UTF-8, a size that is not set, ... */
  WSLOOP_ERR_BUSY = -2,        /* not in a callback */
  WSLOOP_ERR_GONE = -3,        /* no such connection or source, or none any more */
  WSLOOP_ERR_STATE = -4,       /* it is not open yet, or closing; or done before */
  WSLOOP_ERR_FULL = -5,        /* so much waits already that nothing was added */
  WSLOOP_ERR_SYSTEM = -6,      /* see wsloop_errno() */
  WSLOOP_ERR_STOPPED = -7,     /* the server was stopped */
  WSLOOP_ERR_UNSUPPORTED = -8, /* not on this system, not by this peer, not in this version */
  WSLOOP_ERR_PANIC = -9        /* a bug was caught; see above */
};

/* ------------------------------------------------------------------------ configuration --- */

#define WSLOOP_F_FD_ONLY 1u        /* Linux: see THE LOOP; else WSLOOP_ERR_UNSUPPORTED */
#define WSLOOP_F_DROP_WHEN_FULL 2u /* over max_backlog drop the message, not the connection */
#define WSLOOP_F_SECURE_PROXY 4u   /* TLS ends at a proxy in front */
#define WSLOOP_F_TRUST_PROXY 8u    /* believe X-Forwarded-For and X-Forwarded-Proto */
#define WSLOOP_F_DEFLATE 16u       /* compress messages, both ways, for clients that offer
                                      permessage-deflate (RFC 7692); WSLOOP_ERR_UNSUPPORTED where
                                      the library was built without the feature `deflate` */
#define WSLOOP_F_RFC6455_ONLY 32u  /* speak no draft: Hixie and HyBi clients get 426 */

#define WSLOOP_NEVER UINT32_MAX /* for a time: none */

/* Sizes are octets.  0 is the default, which the comments name. */
typedef struct wsloop_config {
  size_t size;                   /* sizeof(wsloop_config) */
  uint32_t flags;                /* WSLOOP_F_, added up */
  uint32_t max_connections;      /* the limit of open files, less 32, files under way and three for
                                    each program; over: 503 */
  size_t max_head;               /* 8 KiB for a request head, 64 MiB at most; over: 431 */
  size_t max_message;            /* 1 MiB; over: close code 1009; no memory for one: 1011 */
  size_t max_backlog;            /* 4 MiB queued for one peer; over: close code 1008 */
  uint32_t max_headers;          /* 100 fields in a head, 1,024 at most; over: 431 */
  uint32_t max_fragments;        /* 131,072 in a message; over: close code 1008 */
  uint32_t handshake_timeout_ms; /* 10,000 from connecting to open; over: 408 */
  uint32_t ping_interval_ms;     /* 25,000 of silence, then a ping is sent */
  uint32_t pong_timeout_ms;      /* 25,000 after the ping the peer is gone, 1006 */
  uint32_t idle_timeout_ms;      /* never; over: gone, 1006 */
  uint32_t close_timeout_ms;     /* 5,000 to answer a close or take the last octets */
  uint32_t max_events;           /* 1,024 events taken from the kernel in a turn; up to 65,536 */
  size_t read_budget;            /* 64 KiB read from one peer in a turn; up to 256 KiB */
  /* Which pages may connect.  None: those of the same host, on any port; "localhost", "127.0.0.1"
   * and "[::1]" are one host.  Else the words: an
   * origin like "https://example.com:8443"; "self", the same scheme, host and port; "null",
   * file: pages and sandboxed ones; "*", everybody.  Who is not let in gets 403.  A request
   * without Origin does not come from a page, and is let in. */
  const char *const *origins;
  size_t origin_count;
  /* With WSLOOP_F_DEFLATE only.  max_message counts the octets of a message as it is delivered. */
  uint32_t deflate_threshold; /* 1,024: shorter messages are sent as they are */
  uint32_t deflate_level;     /* 3, of 1, fast, to 9, small */
  /* From the first octet of a message to its last: 60,000, and 1,000 more for each 4 KiB of it that
   * have come; over: close code 1008. */
  uint32_t message_timeout_ms;
  uint32_t max_per_address; /* any number of connections from one address; over: 429 */
  /* All that the connections hold together: a quarter of the machine's memory, or of its control
   * group's; over: who holds the most ends, 1013, and who comes gets 503. */
  size_t max_memory;
  /* The hosts that are served, on any port: "example.com", "[2001:db8::1]"; "*.example.com", all
   * below one; "*", all.  A request whose Host field names another gets 421: else a page of anybody's
   * could read what is served here, by a name of its own that points at this machine.  None:
   * "localhost", what is below it, and loopback addresses, where wsloop_listen() was called for
   * loopback addresses alone and the client comes from one; all elsewhere, on Unix sockets, and with
   * WSLOOP_F_SECURE_PROXY or WSLOOP_F_TRUST_PROXY. */
  const char *const *hosts;
  size_t host_count;
  uint32_t max_programs;     /* 64 that wsloop_open() has started and that have not ended */
  uint32_t program_grace_ms; /* 2,000 that a program has to end by itself when its input has ended,
                                and again after SIGTERM; then SIGKILL */
  uint32_t stall_timeout_ms; /* that what is queued for a peer, or told a source, may wait while it
                                takes nothing: ping_interval_ms and pong_timeout_ms together */
  uint32_t reserved;         /* 0 */
} wsloop_config;

/* ---------------------------------------------------------------------------- callbacks --- */

/* The functions of one route; each may be NULL.  user is what wsloop_route() was given. */
typedef struct wsloop_handler {
  size_t size; /* sizeof(wsloop_handler) */

  /* A request for this path, before it is answered: to open a WebSocket, or plain HTTP.  Return 0
   * to go on, or a status, 200 to 599, to answer with instead; and see wsloop_request_choose() and
   * wsloop_request_respond().  conn has no messages yet, but wsloop_set_data() works.  Without
   * this function WebSockets are opened, and plain HTTP is left to wsloop_serve_folder(). */
  int (*on_request)(wsloop_server *server, wsloop_conn conn, wsloop_request *request,
                    void *user);

  /* The connection is open.  For each call of this there will be one of on_close. */
  void (*on_open)(wsloop_server *server, wsloop_conn conn, const wsloop_request *request,
                  void *user);

  /* One whole message. */
  void (*on_message)(wsloop_server *server, wsloop_conn conn, int kind, const void *data,
                     size_t len, void *user);

  /* A pong, with what the ping had; that of the server's own pings is empty. */
  void (*on_pong)(wsloop_server *server, wsloop_conn conn, const void *data, size_t len,
                  void *user);

  /* After WSLOOP_BACKPRESSURE or WSLOOP_ERR_FULL: all that waited has been written. */
  void (*on_drain)(wsloop_server *server, wsloop_conn conn, void *user);

  /* The connection has ended, whichever way; nothing is called for it after this.  code is the
   * peer's; 1005 if it gave none, 1006 if there was no closing handshake, or the code that was
   * sent to a peer that broke a rule.  wsloop_data() and wsloop_peer_addr() still answer. */
  void (*on_close)(wsloop_server *server, wsloop_conn conn, uint16_t code, const char *reason,
                   size_t len, void *user);

  /* A timer, by its tag; conn is 0 if it belongs to the route. */
  void (*on_timer)(wsloop_server *server, wsloop_conn conn, uint64_t tag, void *user);

  /* A line from a source of this route: one that feeds it, or that was opened for lines.  Return
   * NULL, or what is wrong with it: text that ends in NUL and stays for a moment after the return.
   * Who came by a feed is told that; of one that was opened, the log is.  Without this function each
   * line is broadcast. */
  const char *(*on_line)(wsloop_server *server, wsloop_source source, const char *line, size_t len,
                         void *user);

  /* Bytes from a source that was opened for bytes, cut anywhere.  Without this function they are
   * broadcast as binary messages. */
  void (*on_bytes)(wsloop_server *server, wsloop_source source, const void *data, size_t len,
                   void *user);

  /* As on_drain, after wsloop_tell(). */
  void (*on_source_drain)(wsloop_server *server, wsloop_source source, void *user);

  /* The source has ended; all that came of it was handed over before.  Called once for each that
   * came by a feed, and for each that wsloop_open() has opened, reached or not; nothing is called for
   * it after this.  end is one of WSLOOP_END_, and reason the same in words, with what the system
   * says: "it cannot be reached: Connection refused (os error 111)".  A new one may be opened in
   * here; to try again and again, do that in on_timer. */
  void (*on_source_end)(wsloop_server *server, wsloop_source source, int end, const char *reason,
                        size_t len, void *user);

  /* After wsloop_wake() or wsloop_remote_wake(), called once or more. */
  void (*on_wake)(wsloop_server *server, void *user);
} wsloop_handler;

/* ---------------------------------------------------------------------------- beginning --- */

const char *wsloop_version(void);       /* "0.1.0" */
const char *wsloop_strerror(int error); /* a line for each code above */

/* What the last error that this server answered was, in words; "" if there was none.  Valid until
 * the next call with this server.  And errno, if it was WSLOOP_ERR_SYSTEM, else 0. */
const char *wsloop_error_text(const wsloop_server *server);
int wsloop_errno(const wsloop_server *server);

/* Makes a server.  config NULL: all defaults.  On failure *out is NULL. */
int wsloop_new(const wsloop_config *config, wsloop_server **out);

/* Ends all connections and sources at once (on_close, 1006, and on_source_end, WSLOOP_END_STOPPED,
 * come from in here) and frees the server; NULL is fine.  Not in a callback: there, wsloop_stop()
 * it, and free it when the loop has ended. */
int wsloop_free(wsloop_server *server);

/* Has handler serve a path, compared without the query and percent-decoded: "/%63hat" is "/chat",
 * but an encoded slash is no slash; a route that is named encoded is found by requests that spell
 * it so.  "*" is every path that no other route names.  A path that was added before gets the new
 * handler.  Returns the number of the route, 0 for the first; WSLOOP_ERR_ARGUMENT for one more than
 * 65,535.  Not in a callback. */
int wsloop_route(wsloop_server *server, const char *path, const wsloop_handler *handler,
                 void *user);

/* Listens: "127.0.0.1:8080", "8080", which is the same, "[::1]:8080", "localhost:8080",
 * "unix:/run/app.sock".  May be called again for another.  Port 0 has the system choose.  Returns
 * the port, 0 for a Unix socket.  Not in a callback. */
int wsloop_listen(wsloop_server *server, const char *addr);

/* Has clients speak TLS, for "wss://": PEM files, the certificate with those that vouch for it, and
 * its private key.  Before wsloop_listen(), whose TCP addresses then are for TLS, unless one says
 * "ws://127.0.0.1:8080"; so are wsloop_listen_fd() and wsloop_adopt_fd() on TCP.  Called again, with
 * files that were renewed, clients that come from then on get the new certificate, and nobody else
 * notices.  WSLOOP_ERR_SYSTEM if a file cannot be had or used, and wsloop_error_text() says which;
 * WSLOOP_ERR_UNSUPPORTED where the library was built without the feature `tls`.  Not in a
 * callback. */
int wsloop_set_tls(wsloop_server *server, const char *cert, const char *key);

/* Takes over a TCP or Unix socket that listens already, such as systemd's.  It is the server's on
 * success, and the caller's else.  Returns as wsloop_listen().  Not in a callback. */
int wsloop_listen_fd(wsloop_server *server, int fd);

/* Takes over a socket that is connected to a client; read is what was read from it, if anything.
 * It is the server's on success, and the caller's else.  Not in a callback. */
int wsloop_adopt_fd(wsloop_server *server, int fd, const void *read, size_t len);

/* Listens for sources of lines, such as nc(1), for on_line of a route.  Lines end in LF or CR LF
 * and have 64 KiB at most.  Sources are not asked who they are, but one that begins with a line of
 * HTTP, TLS or the PROXY protocol is cut, and on_line sees nothing of it: it may be a browser that
 * some web page sends.  Returns as wsloop_listen().  Not in a callback. */
int wsloop_feed(wsloop_server *server, const char *addr, int route);

/* The same for the lines of standard input.  Not in a callback. */
int wsloop_feed_stdin(wsloop_server *server, int route);

/* Serves the files of a folder to plain HTTP that no handler answers.  Not in a callback. */
int wsloop_serve_folder(wsloop_server *server, const char *folder);

/* Writes where the first listener listens, "ws://127.0.0.1:8080", and a NUL; cut to room.  Returns
 * the length it has uncut, as snprintf(3).  Not in a callback. */
int wsloop_local_addr(const wsloop_server *server, char *out, size_t room);

/* ------------------------------------------------------------------------------ running --- */

/* Turns until the server was stopped and all connections have ended; then 0.  Not in a
 * callback. */
int wsloop_run(wsloop_server *server);

/* One turn: waits for events, timeout_ms at most (0: not at all; less: as long as it takes) and
 * not past the next deadline, and does what there is to do.  Returns how many events there were,
 * and 0 if a signal came; WSLOOP_ERR_STOPPED once it was stopped and all connections have ended.
 * Not in a callback. */
int wsloop_turn(wsloop_server *server, int timeout_ms);

/* The descriptor to watch.  It is the same for as long as the server is there, and not to be read
 * or closed.  Watched edge-triggered it must be turned until wsloop_timeout_ms() is not 0 and
 * wsloop_turn() returns 0.  Not in a callback. */
int wsloop_fd(const wsloop_server *server);

/* How long to wait for it at most, in milliseconds: -1 if nothing is due, 0 if there is something
 * to do now, which may be to learn from wsloop_turn() what is wrong.  In a callback: 0. */
int wsloop_timeout_ms(const wsloop_server *server);

/* Has the server stop in its next turn: nobody new is accepted, every connection is closed with
 * 1001 and every source ended, and cut after close_timeout_ms.  From any thread and signal
 * handler. */
int wsloop_stop(const wsloop_server *server);

/* Has on_wake of every route called in the next turn.  From any thread and signal handler. */
int wsloop_wake(const wsloop_server *server);

/* -------------------------------------------------------------------------- connections --- */

/* Queues a message.  WSLOOP_OK or WSLOOP_BACKPRESSURE; WSLOOP_ERR_FULL if it would be more than
 * max_backlog, and then the connection is closed with 1008, unless WSLOOP_F_DROP_WHEN_FULL is
 * set, or if there is no memory for it, and then the connection is closed with 1011;
 * WSLOOP_ERR_UNSUPPORTED for binary to a Hixie client.  Between callbacks it is written in
 * the next turn, for which the timeout is 0. */
int wsloop_send(wsloop_server *server, wsloop_conn conn, int kind, const void *data, size_t len);

/* Queues a message for everyone on a route but `except` (0: for everyone); framed once. */
#define WSLOOP_ALL_ROUTES (-1)
int wsloop_broadcast(wsloop_server *server, int route, wsloop_conn except, int kind,
                     const void *data, size_t len);

/* Queues a ping, 125 octets at most.  WSLOOP_ERR_UNSUPPORTED to a Hixie client. */
int wsloop_ping(wsloop_server *server, wsloop_conn conn, const void *data, size_t len);

/* Starts the closing handshake: 1000 to 1003, 1007 to 1014, 3000 to 4999.  The reason is cut to
 * 123 octets. */
int wsloop_close(wsloop_server *server, wsloop_conn conn, uint16_t code, const char *reason,
                 size_t len);

/* Ends the connection at once, without a handshake; what is queued is dropped. */
int wsloop_terminate(wsloop_server *server, wsloop_conn conn);

/* Stops reading from the connection, and reads on.  TCP slows the peer down meanwhile. */
int wsloop_pause(wsloop_server *server, wsloop_conn conn);
int wsloop_resume(wsloop_server *server, wsloop_conn conn);

/* Octets that are queued and not taken by the kernel yet; 0 if there is no such connection. */
size_t wsloop_buffered(const wsloop_server *server, wsloop_conn conn);

/* The browser's readyState; WSLOOP_CLOSED if there is no such connection. */
enum { WSLOOP_CONNECTING = 0, WSLOOP_OPEN = 1, WSLOOP_CLOSING = 2, WSLOOP_CLOSED = 3 };
int wsloop_ready_state(const wsloop_server *server, wsloop_conn conn);

/* A pointer of the program's for each connection.  NULL at first, or if there is no such
 * connection; never followed or freed. */
int wsloop_set_data(wsloop_server *server, wsloop_conn conn, void *data);
void *wsloop_data(const wsloop_server *server, wsloop_conn conn);

/* Writes the client's address, "192.0.2.1:50000", or "" on a Unix socket; as
 * wsloop_local_addr(), but in callbacks too. */
int wsloop_peer_addr(const wsloop_server *server, wsloop_conn conn, char *out, size_t room);

/* Writes the subprotocol chosen, or "", in the same way. */
int wsloop_protocol(const wsloop_server *server, wsloop_conn conn, char *out, size_t room);

/* The version of the protocol.  The Hixie clients, those of 2010, know text only: no binary
 * messages, no pings, no close codes.  WSLOOP_ERR_GONE before it is open. */
enum {
  WSLOOP_HIXIE_75 = 1,
  WSLOOP_HIXIE_76 = 2,
  WSLOOP_HYBI_07 = 3,
  WSLOOP_HYBI_08 = 4,
  WSLOOP_RFC_6455 = 5
};
int wsloop_protocol_version(const wsloop_server *server, wsloop_conn conn);

/* Writes the open connections of a route, or of WSLOOP_ALL_ROUTES, as many as there is room for.
 * Returns how many there are. */
size_t wsloop_members(const wsloop_server *server, int route, wsloop_conn *out, size_t room);

/* ------------------------------------------------------------------------------ sources --- */

/* Opens a source for a route, whose handler is given what comes of it:
 *   "tcp:127.0.0.1:5900"     who listens there; a name of a host in place of the address is looked
 *                            up before this returns, which may block for seconds
 *   "unix:/run/player.sock"  who listens there
 *   "dev:/dev/ttyUSB0"       a device.  It is read and written as it is set: give it its speed, and
 *                            `raw -echo`, by stty(1) before
 *   "exec:./controller"      a program, by /bin/sh -c, in a process group of its own: what it is told
 *                            goes to its standard input, and its standard output comes here; its
 *                            standard error is ours.  Of the environment it has PATH, HOME, LANG and
 *                            TZ, and PYTHONUNBUFFERED=1.  When it is closed its input ends, and what
 *                            then runs on is sent SIGTERM and SIGKILL; see program_grace_ms
 * Devices and programs send lines, the others bytes; "lines:" or "bytes:" before it says otherwise.
 * Lines end in LF or CR LF, have 64 KiB at most, and go to on_line; bytes go to on_bytes.
 *
 * It returns before the source is reached, which may take handshake_timeout_ms; what it is told
 * meanwhile waits.  Whether it could be reached, on_source_end says.  It counts as one of
 * max_connections, in whose place a client could be.  *out, where it is not NULL, is its name, and 0
 * on failure.  WSLOOP_ERR_ARGUMENT if the text is none of these; WSLOOP_ERR_SYSTEM if the host has no
 * address, or the system refuses at once, as for a path at which there is nothing; WSLOOP_ERR_STOPPED
 * once the server stops; WSLOOP_ERR_FULL if max_programs run.  After an error on_source_end is not
 * called.
 *
 * To have pages talk to a device, whose lines are broadcast:
 *   static void on_message(wsloop_server *s, wsloop_conn c, int kind, const void *data,
 *                          size_t len, void *user) {
 *     struct app *app = user;
 *     wsloop_tell(s, app->meter, data, len);
 *   }
 *   ...
 *   wsloop_handler handler = { .size = sizeof handler, .on_message = on_message };
 *   int route = wsloop_route(server, "/meter", &handler, &app);
 *   wsloop_open(server, route, "dev:/dev/ttyUSB0", &app.meter); */
int wsloop_open(wsloop_server *server, int route, const char *target, wsloop_source *out);

/* Queues something for a source: bytes, or one line for a source of lines, to which the LF is added
 * here; so do not pass one.  Who came by a feed may be told something as well.  WSLOOP_OK or
 * WSLOOP_BACKPRESSURE, then on_source_drain follows; WSLOOP_ERR_FULL if more than max_backlog would
 * wait, or there is no memory for it: the source stays, and on_source_drain follows here too;
 * WSLOOP_ERR_STATE behind wsloop_end_source() or wsloop_close_source(); WSLOOP_ERR_UNSUPPORTED for
 * standard input.  Between callbacks it is written in the next turn, for which the timeout is 0. */
int wsloop_tell(wsloop_server *server, wsloop_source source, const void *data, size_t len);

/* Ends what a source is told, behind what is queued: a half-close.  What still comes of it is handed
 * over, until it ends as well; one that is silent for close_timeout_ms is cut, and every one after
 * twelve times as long.  A device ends at once, both ways.  WSLOOP_ERR_STATE if this was done
 * before. */
int wsloop_end_source(wsloop_server *server, wsloop_source source);

/* Ends a source both ways: what it was told is still written, and nothing that comes of it is handed
 * over.  on_source_end follows, WSLOOP_END_OK, later in the turn or in another. */
int wsloop_close_source(wsloop_server *server, wsloop_source source);

/* Stops reading from a source, and reads on: it is slowed down meanwhile, and its end is not noticed.
 * It may be paused before it is reached, and behind wsloop_end_source(), when its silence is not
 * counted.  WSLOOP_ERR_STATE behind wsloop_close_source(), or where its end is known. */
int wsloop_pause_source(wsloop_server *server, wsloop_source source);
int wsloop_resume_source(wsloop_server *server, wsloop_source source);

/* Bytes that it was told and that the kernel has not taken yet; 0 if there is no such source. */
size_t wsloop_source_buffered(const wsloop_server *server, wsloop_source source);

/* How a source has ended, for on_source_end.  More than 0 is what a program has ended with, as the
 * shell says it: its exit code, or 128 and the number of the signal that has ended it; 127 is a
 * command that was not found.  Less than 0 is one of these; later versions may add others. */
enum {
  WSLOOP_END_OK = 0,           /* its stream has ended, a program has exited with 0, or
                                  wsloop_close_source() was called */
  WSLOOP_END_UNREACHABLE = -1, /* nobody listens there, or answers within handshake_timeout_ms; a
                                  program cannot be started */
  WSLOOP_END_FAILED = -2,      /* the connection broke, or it was cut */
  WSLOOP_END_STALLED = -3,     /* it took nothing of what it was told for stall_timeout_ms, or
                                  idle_timeout_ms if that is less */
  WSLOOP_END_STOPPED = -4      /* the server stops */
};

/* ------------------------------------------------------------------------------- timers --- */

/* Has on_timer called once, not before after_ms have passed; for a connection, unless it has ended
 * by then.  Set it again in on_timer to have it repeated.  out may be NULL. */
int wsloop_set_timer(wsloop_server *server, wsloop_conn conn, uint32_t after_ms, uint64_t tag,
                     wsloop_timer *out);
int wsloop_set_route_timer(wsloop_server *server, int route, uint32_t after_ms, uint64_t tag,
                           wsloop_timer *out);

/* One that has fired, or was cleared, is no error. */
int wsloop_clear_timer(wsloop_server *server, wsloop_timer timer);

/* ------------------------------------------------- requests: in on_request and on_open --- */

wsloop_str wsloop_request_method(const wsloop_request *request);
wsloop_str wsloop_request_path(const wsloop_request *request);  /* "/chat", as it was sent */
wsloop_str wsloop_request_query(const wsloop_request *request); /* behind the first '?' */

/* The first field of this name, in any case. */
wsloop_str wsloop_request_header(const wsloop_request *request, const char *name);

/* Every field in the order it came, from place 0 on; WSLOOP_ERR_ARGUMENT behind the last. */
int wsloop_request_field(const wsloop_request *request, size_t place, wsloop_str *name,
                         wsloop_str *value);

/* The subprotocols offered, from place 0 on. */
wsloop_str wsloop_request_protocol(const wsloop_request *request, size_t place);

/* The rest in on_request only; in on_open it answers WSLOOP_ERR_STATE.  Chooses one of the
 * subprotocols offered. */
int wsloop_request_choose(wsloop_request *request, const char *protocol, size_t len);

/* Answers with a small page, or refuses a WebSocket with one.  content_type may be NULL. */
int wsloop_request_respond(wsloop_request *request, int status, const char *content_type,
                           const void *body, size_t len);

/* Adds a field to that answer; Content-Length and Transfer-Encoding are WSLOOP_ERR_ARGUMENT. */
int wsloop_request_add_field(wsloop_request *request, const char *name, const char *value);

/* ------------------------------------------------------------------------ other threads --- */

/* A way to the server for another thread; it may outlive the server, and each is freed by itself.
 * NULL on failure. */
wsloop_remote *wsloop_remote_new(const wsloop_server *server);
wsloop_remote *wsloop_remote_clone(const wsloop_remote *remote);
void wsloop_remote_free(wsloop_remote *remote);

/* As wsloop_wake() and wsloop_stop(). */
int wsloop_remote_wake(const wsloop_remote *remote);
int wsloop_remote_stop(const wsloop_remote *remote);

/* Copies the message into a queue; the server sends it in its next turn.  Never blocks:
 * WSLOOP_ERR_FULL if 1,024 wait, WSLOOP_ERR_STOPPED if the server was freed. */
int wsloop_remote_send(const wsloop_remote *remote, wsloop_conn conn, int kind, const void *data,
                       size_t len);
int wsloop_remote_broadcast(const wsloop_remote *remote, int route, int kind, const void *data,
                            size_t len);

/* ----------------------------------------------------------------------------- the rest --- */

/* Counters since the server began, and gauges of this moment. */
typedef struct wsloop_stats {
  size_t size; /* sizeof(wsloop_stats), to be set before the call */
  uint64_t uptime_ms;
  uint64_t accepted; /* connections: WebSockets, plain HTTP, feeds; not what was opened */
  uint64_t refused;  /* requests, with a status of 400 or more */
  uint64_t opened;   /* WebSockets */
  uint64_t closed;
  uint64_t open[5]; /* by version, from WSLOOP_HIXIE_75 on */
  uint64_t messages_in;
  uint64_t messages_out; /* one for each connection they were queued for */
  uint64_t bytes_in;
  uint64_t bytes_out;
  uint64_t backlog; /* octets queued */
} wsloop_stats;

/* Linear in the number of connections. */
int wsloop_get_stats(const wsloop_server *server, wsloop_stats *out);

/* Why the server has ended connections of its own accord, and how often each: from place 0 on;
 * WSLOOP_ERR_ARGUMENT behind the last.  The text stays. */
int wsloop_get_cut(const wsloop_server *server, size_t place, wsloop_str *reason,
                   uint64_t *count);

/* Has the log go to a function, for the whole process, once; a second time is WSLOOP_ERR_STATE.
 * It is called on whichever thread has something to say, inside other calls: functions with a
 * server answer it WSLOOP_ERR_BUSY. */
enum {
  WSLOOP_LOG_OFF = 0,
  WSLOOP_LOG_ERROR = 1,
  WSLOOP_LOG_WARN = 2,
  WSLOOP_LOG_INFO = 3, /* each opening and closing */
  WSLOOP_LOG_DEBUG = 4,
  WSLOOP_LOG_TRACE = 5
};
typedef void (*wsloop_log)(int level, const char *text, size_t len, void *user);
int wsloop_set_log(int level, wsloop_log function, void *user);

#ifdef __cplusplus
}
#endif
#endif
