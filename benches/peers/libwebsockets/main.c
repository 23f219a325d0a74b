// libwebsockets: `libwebsockets PORT`. /broadcast sends everything to everyone there; others echo.
// As many messages as the socket takes are written at once.
#include <libwebsockets.h>
#include <stdlib.h>
#include <string.h>

#define PIECE 16384

// A message that is to be sent to some.
struct message {
    size_t len, uses;
    int flags;
    unsigned char room[];  // LWS_PRE bytes for the head, then the payload
};

struct entry {
    struct entry *next;
    struct message *message;
};

struct session {
    struct lws *wsi;
    struct session *next;  // in the room
    int to_all;
    struct message *building;
    size_t capacity;
    struct entry *first, **last;
};

static struct session *room;

static int append(struct session *s, const void *in, size_t len, int flags) {
    size_t had = s->building ? s->building->len : 0;
    if (!s->building || had + len > s->capacity) {
        size_t capacity = 2 * had + len;
        struct message *grown = realloc(s->building, sizeof *grown + LWS_PRE + capacity);
        if (!grown) return -1;
        s->building = grown;
        s->capacity = capacity;
    }
    s->building->len = had + len;
    s->building->uses = 0;
    s->building->flags = flags;
    if (len) memcpy(s->building->room + LWS_PRE + had, in, len);
    return 0;
}

static int enqueue(struct session *to, struct message *message) {
    struct entry *entry = malloc(sizeof *entry);
    if (!entry) return -1;
    entry->next = NULL;
    entry->message = message;
    message->uses++;
    *to->last = entry;
    to->last = &entry->next;
    lws_callback_on_writable(to->wsi);
    return 0;
}

static void drop_first(struct session *s) {
    struct entry *entry = s->first;
    s->first = entry->next;
    if (!s->first) s->last = &s->first;
    if (--entry->message->uses == 0) free(entry->message);
    free(entry);
}

static int receive(struct lws *wsi, struct session *s, const void *in, size_t len) {
    int flags = lws_frame_is_binary(wsi) ? LWS_WRITE_BINARY : LWS_WRITE_TEXT;
    if (append(s, in, len, flags)) return -1;
    if (!lws_is_final_fragment(wsi) || lws_remaining_packet_payload(wsi)) return 0;
    struct message *message = s->building;
    s->building = NULL;
    if (!s->to_all) return enqueue(s, message);
    for (struct session *to = room; to; to = to->next)
        if (enqueue(to, message)) return -1;
    return 0;
}

static int send_queue(struct lws *wsi, struct session *s) {
    while (s->first) {
        struct message *message = s->first->message;
        unsigned char *payload = message->room + LWS_PRE;
        if (lws_write(wsi, payload, message->len, (enum lws_write_protocol)message->flags) < 0)
            return -1;
        drop_first(s);
        if (s->first && lws_send_pipe_choked(wsi)) {
            lws_callback_on_writable(wsi);
            break;
        }
    }
    return 0;
}

static void leave(struct session *s) {
    while (s->first) drop_first(s);
    free(s->building);
    for (struct session **at = &room; *at; at = &(*at)->next)
        if (*at == s) {
            *at = s->next;
            break;
        }
}

static int callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                    size_t len) {
    struct session *s = user;
    char path[64] = "";
    switch (reason) {
    case LWS_CALLBACK_ESTABLISHED:
        memset(s, 0, sizeof *s);
        s->wsi = wsi;
        s->last = &s->first;
        lws_hdr_copy(wsi, path, sizeof path, WSI_TOKEN_GET_URI);
        s->to_all = !strcmp(path, "/broadcast");
        if (s->to_all) {
            s->next = room;
            room = s;
        }
        return 0;
    case LWS_CALLBACK_RECEIVE: return receive(wsi, s, in, len);
    case LWS_CALLBACK_SERVER_WRITEABLE: return send_queue(wsi, s);
    case LWS_CALLBACK_CLOSED: leave(s); return 0;
    default: return 0;
    }
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    static const struct lws_protocols protocols[] = {
        {"any", callback, sizeof(struct session), PIECE, 0, NULL, 0},
        {NULL, NULL, 0, 0, 0, NULL, 0},
    };
    struct lws_context_creation_info info = {0};
    info.port = atoi(argv[1]);
    info.iface = "127.0.0.1";
    info.protocols = protocols;
    info.pt_serv_buf_size = PIECE;
    info.options = LWS_SERVER_OPTION_VALIDATE_UTF8;
    lws_set_log_level(LLL_ERR, NULL);
    struct lws_context *context = lws_create_context(&info);
    if (!context) return 1;
    while (lws_service(context, 0) >= 0) {}
    return 1;
}
