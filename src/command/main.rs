//! `wsloop`, the command-line server.

#![deny(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used))]
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

mod cli;
mod demos;
mod log_output;
mod site;

use std::io::{self, Write};
use std::process::ExitCode;

use cli::{Bridge, Command, Options};
use env_logger::Target;
use log::{debug, warn};
use log_output::LogOutput;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use wsloop::Server;

const DEFAULT_ADDR: &str = "127.0.0.1:8080";
const DEFAULT_FEED: (&str, &str) = ("127.0.0.1:9876", "/plot");

/// What `--licences` prints; `tests/house/licences.py` keeps it true.
const LICENCES: &str = include_str!("licences.txt");
#[cfg(feature = "tls")]
const LICENCES_TLS: &str = concat!("\n", include_str!("licences-tls.txt"));
#[cfg(not(feature = "tls"))]
const LICENCES_TLS: &str = "";

fn main() -> ExitCode {
    let options = match cli::parse(std::env::args_os().skip(1)) {
        Ok(Command::Run(options)) => options,
        Ok(Command::Help) => return print(&cli::help()),
        Ok(Command::Version) => return print(concat!("wsloop ", env!("CARGO_PKG_VERSION"), "\n")),
        Ok(Command::Licences) => return print(&[LICENCES, LICENCES_TLS].concat()),
        Err(error) => {
            complain(&format!("{error}; see wsloop --help"));
            return ExitCode::from(2);
        }
    };
    env_logger::Builder::new()
        .filter_level(options.log)
        .target(Target::Pipe(Box::new(LogOutput::default())))
        .init();
    match serve(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// Sets the server up as asked, and runs it. The error is one line for the user.
fn serve(options: &Options) -> Result<(), String> {
    let open_files = raise_descriptor_limit();
    let mut server = Server::new(options.config.clone()).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidInput => format!("--host: {error}"),
        _ => error.to_string(),
    })?;
    #[cfg(feature = "tls")]
    if let (Some(cert), Some(key)) = (&options.tls_cert, &options.tls_key) {
        let tls = wsloop::Tls::from_files(cert, key)
            .map_err(|error| format!("--tls-cert, --tls-key: {error}"))?;
        server.set_tls(tls);
    }
    options.mount_routes(&mut server, open_files).map_err(|error| error.to_string())?;
    match &options.root {
        Some(root) => server.serve_folder(root).map_err(|error| format!("--root: {error}"))?,
        None => {
            server.serve_embedded(site::FILES);
            server.site_header("Content-Security-Policy", site::policy());
        }
    }
    server.stop_on_signals().map_err(|error| error.to_string())?;
    let default = [DEFAULT_ADDR.to_string()];
    let addrs = if options.listen.is_empty() { &default[..] } else { &options.listen };
    let mut ready = String::new();
    for addr in addrs {
        let bound = server.listen(addr).map_err(|error| format!("--listen {addr}: {error}"))?;
        ready += &format!("listening on {bound}\n");
    }
    for (addr, path) in &options.feeds {
        let bound = if addr == "-" {
            server.feed_stdin(path).map(|()| "standard input".to_string())
        } else {
            server.feed(addr, path).map(|bound| bound.to_string().replacen("ws:", "tcp:", 1))
        };
        let from = bound.map_err(|error| format!("--feed {addr}={path}: {error}"))?;
        ready += &format!("lines from {from} go to {path}\n");
    }
    for Bridge { path, is_shared, source } in &options.bridges {
        let how = if *is_shared { ", for all together" } else { "" };
        ready += &format!("{path} is bridged to {source}{how}\n");
    }
    for path in &options.publish {
        ready += &format!("messages by POST go to {path}\n");
    }
    if options.is_demo() {
        ready += &default_feed(&mut server);
    }
    options.warnings().iter().for_each(|warning| warn!("{warning}"));
    print(&ready);
    server.run().map_err(|error| error.to_string())
}

/// Lines for the plotter. Nobody asked for this feed by name, so the site is served even without
/// it.
fn default_feed(server: &mut Server) -> String {
    let (addr, path) = DEFAULT_FEED;
    match server.feed(addr, path) {
        Ok(_) => format!("lines from tcp://{addr} go to {path}\n"),
        Err(error) => {
            warn!("no lines for {path}: {addr}: {error}");
            String::new()
        }
    }
}

/// Allows as many connections as the system permits, not only as many as it grants unasked. Returns the
/// limit that programs are to have, which is what it was.
fn raise_descriptor_limit() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        debug!("the limit of open files stays at {:?}: {error}", limit.current);
    }
    limit.current
}

/// To standard output, at once. If nobody reads there any more, that is no failure.
fn print(text: &str) -> ExitCode {
    let mut stdout = io::stdout();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    ExitCode::SUCCESS
}

fn complain(error: &str) {
    let _ = writeln!(io::stderr(), "wsloop: {error}");
}
