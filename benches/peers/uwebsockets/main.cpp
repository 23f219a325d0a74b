// uWebSockets: `uwebsockets PORT`. /broadcast sends everything to everyone there; others echo.
#include "App.h"

#include <climits>
#include <cstdlib>

struct None {};

static uWS::App::WebSocketBehavior<None> behavior() {
    uWS::App::WebSocketBehavior<None> made;
    made.compression = uWS::DISABLED;
    made.maxPayloadLength = 16 * 1024 * 1024;
    // None is dropped, as with the others.
    made.maxBackpressure = UINT_MAX;
    return made;
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    uWS::App app;
    auto echo = behavior();
    echo.message = [](auto *ws, std::string_view message, uWS::OpCode opcode) {
        ws->send(message, opcode);
    };
    auto to_all = behavior();
    to_all.open = [](auto *ws) { ws->subscribe("all"); };
    to_all.message = [&app](auto *, std::string_view message, uWS::OpCode opcode) {
        app.publish("all", message, opcode);
    };
    app.ws<None>("/broadcast", std::move(to_all)).ws<None>("/*", std::move(echo));
    app.listen("127.0.0.1", atoi(argv[1]), [](auto *socket) {
        if (!socket) exit(1);
    }).run();
}
