/* The server as a guest of libuv. */
#include "app.h"

#include <uv.h>

static uv_poll_t readiness;
static uv_timer_t deadline;
static uv_prepare_t before_waiting;

static void turn(void) {
  int rc = wsloop_turn(server, 0);
  if (rc == WSLOOP_ERR_STOPPED) {
    uv_close((uv_handle_t *)&readiness, NULL);
    uv_close((uv_handle_t *)&deadline, NULL);
    uv_close((uv_handle_t *)&before_waiting, NULL);
  } else {
    check(rc);
  }
}

static void on_readiness(uv_poll_t *handle, int status, int events) {
  (void)handle, (void)status, (void)events;
  turn();
}

static void on_deadline(uv_timer_t *handle) {
  (void)handle;
  turn();
}

/* Last before libuv waits: how long may it? */
static void on_prepare(uv_prepare_t *handle) {
  int ms = wsloop_timeout_ms(server);
  (void)handle;
  if (ms < 0)
    uv_timer_stop(&deadline);
  else
    uv_timer_start(&deadline, on_deadline, (uint64_t)ms, 0);
}

int main(void) {
  uv_loop_t *loop = uv_default_loop();
  start(0);
  uv_poll_init(loop, &readiness, wsloop_fd(server));
  uv_poll_start(&readiness, UV_READABLE, on_readiness);
  uv_timer_init(loop, &deadline);
  uv_prepare_init(loop, &before_waiting);
  uv_prepare_start(&before_waiting, on_prepare);
  uv_run(loop, UV_RUN_DEFAULT);
  uv_loop_close(loop);
  return finish(WSLOOP_ERR_STOPPED);
}
