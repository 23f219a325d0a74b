//! The demo site, part of the program.

/// The paths and the files behind them.
pub const FILES: &[(&str, &[u8])] = &[
    ("/index.html", include_bytes!("../demo/web/index.html")),
    ("/echo.html", include_bytes!("../demo/web/echo.html")),
    ("/broadcast.html", include_bytes!("../demo/web/broadcast.html")),
    ("/hello.html", include_bytes!("../demo/web/hello.html")),
    ("/plotter.html", include_bytes!("../demo/web/plotter.html")),
    ("/stocks.html", include_bytes!("../demo/web/stocks.html")),
    ("/monitor.html", include_bytes!("../demo/web/monitor.html")),
    ("/style.css", include_bytes!("../demo/web/style.css")),
    ("/connection.js", include_bytes!("../demo/web/connection.js")),
    ("/favicon.svg", include_bytes!("../demo/web/favicon.svg")),
];
