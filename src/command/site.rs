//! The demo site, part of the program.

/// The paths and the files behind them.
pub const FILES: &[(&str, &[u8])] = &[
    ("/index.html", include_bytes!("../../demo/web/index.html")),
    ("/echo.html", include_bytes!("../../demo/web/echo.html")),
    ("/broadcast.html", include_bytes!("../../demo/web/broadcast.html")),
    ("/hello.html", include_bytes!("../../demo/web/hello.html")),
    ("/tracker.html", include_bytes!("../../demo/web/tracker.html")),
    ("/chat.html", include_bytes!("../../demo/web/chat.html")),
    ("/websock.html", include_bytes!("../../demo/web/websock.html")),
    ("/sync.html", include_bytes!("../../demo/web/sync.html")),
    ("/plotter.html", include_bytes!("../../demo/web/plotter.html")),
    ("/stocks.html", include_bytes!("../../demo/web/stocks.html")),
    ("/monitor.html", include_bytes!("../../demo/web/monitor.html")),
    ("/style.css", include_bytes!("../../demo/web/style.css")),
    ("/connection.js", include_bytes!("../../demo/web/connection.js")),
    ("/favicon.svg", include_bytes!("../../demo/web/favicon.svg")),
    // The programs, to read.
    ("/demo/tiny.rs", include_bytes!("../../demo/tiny.rs")),
    ("/demo/minimal.rs", include_bytes!("../../demo/minimal.rs")),
    ("/demo/hello.rs", include_bytes!("../../demo/hello.rs")),
    ("/demo/echo.rs", include_bytes!("../../demo/echo.rs")),
    ("/demo/broadcast.rs", include_bytes!("../../demo/broadcast.rs")),
    ("/demo/tracker.rs", include_bytes!("../../demo/tracker.rs")),
    ("/demo/chat.rs", include_bytes!("../../demo/chat.rs")),
    ("/demo/websock.rs", include_bytes!("../../demo/websock.rs")),
    ("/demo/plotter.rs", include_bytes!("../../demo/plotter.rs")),
    ("/demo/stocks.rs", include_bytes!("../../demo/stocks.rs")),
    ("/demo/monitor.rs", include_bytes!("../../demo/monitor.rs")),
    ("/demo/sync.rs", include_bytes!("../../demo/sync.rs")),
];
