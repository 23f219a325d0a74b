/* The server as a source of GLib's main loop. */
#include "app.h"

#include <glib.h>

static GMainLoop *loop;
static gpointer watched;

static gboolean prepare(GSource *source, gint *timeout) {
  (void)source;
  *timeout = wsloop_timeout_ms(server);
  return *timeout == 0;
}

static gboolean is_due(GSource *source) {
  return g_source_query_unix_fd(source, watched) != 0 || wsloop_timeout_ms(server) == 0;
}

static gboolean dispatch(GSource *source, GSourceFunc callback, gpointer data) {
  int rc = wsloop_turn(server, 0);
  (void)source, (void)callback, (void)data;
  if (rc != WSLOOP_ERR_STOPPED) return check(rc) >= 0;
  g_main_loop_quit(loop);
  return G_SOURCE_REMOVE;
}

int main(void) {
  GSourceFuncs functions = {prepare, is_due, dispatch, NULL, NULL, NULL};
  GSource *source = g_source_new(&functions, sizeof(GSource));
  start(0);
  loop = g_main_loop_new(NULL, FALSE);
  watched = g_source_add_unix_fd(source, wsloop_fd(server), G_IO_IN);
  g_source_attach(source, NULL);
  g_main_loop_run(loop);
  g_source_unref(source);
  g_main_loop_unref(loop);
  return finish(WSLOOP_ERR_STOPPED);
}
