//! The command line: what it allows, and what it said.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::Arg;
use lexopt::prelude::*;
use log::LevelFilter;
use wsloop::handlers::{Broadcast, Each, Echo, Feed, Mirror, Shared};
use wsloop::{Config, OriginRule, Server, Source, Version};

use crate::demos::{Chat, Hello, Monitor, Plot, Stocks, Sync, Tracker};

/// What `--help` prints, but for what is built in or not.
const HELP: &str = include_str!("help.txt");

/// Part of the help, if TLS is built in.
const TLS_HELP: &str = "\
TLS
      --tls-cert FILE        the certificate and those that vouch for it, PEM; TCP then speaks TLS
                             where --listen does not say ws://ADDR; read anew on SIGHUP, which
                             ends nothing then
      --tls-key FILE         its private key, PEM

";

/// Part of the help, if compression is built in.
const DEFLATE_HELP: &str = "\
Compression
      --deflate              compress messages for clients that offer permessage-deflate

";

/// What `--help` prints.
pub fn help() -> String {
    HELP.replace("{tls}", if cfg!(feature = "tls") { TLS_HELP } else { "" })
        .replace("{deflate}", if cfg!(feature = "deflate") { DEFLATE_HELP } else { "" })
}

/// What the command line asks for.
pub enum Command {
    Run(Box<Options>),
    Help,
    Version,
    Licences,
}

pub struct Options {
    pub listen: Vec<String>,
    pub root: Option<PathBuf>,
    pub routes: Vec<(String, BuiltIn)>,
    /// Where lines come in, `-` for standard input, and the path whose handler gets them.
    pub feeds: Vec<(String, String)>,
    /// Paths whose clients each have a source of their own, or share one.
    pub bridges: Vec<Bridge>,
    /// The variables that programs see beside the usual ones.
    pub pass_env: Vec<String>,
    /// Paths for which messages are taken by POST.
    pub publish: Vec<String>,
    /// Paths where newcomers are sent the last message.
    pub last: Vec<String>,
    pub config: Config,
    pub log: LevelFilter,
    /// The files of the certificate and of its key: both or neither.
    pub tls_cert: Option<PathBuf>,
    pub tls_key: Option<PathBuf>,
    /// As given; if it was not, the backlog has room for one largest message.
    max_backlog: Option<usize>,
}

/// What the clients of a path speak with.
#[derive(Debug, PartialEq, Eq)]
pub struct Bridge {
    pub path: String,
    pub is_shared: bool,
    pub source: Source,
}

/// The handlers that can be named on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuiltIn {
    Mirror,
    Echo,
    Broadcast,
    WebSocket,
    Hello,
    Chat,
    Tracker,
    Sync,
    Plot,
    Stocks,
    Monitor,
}

/// Most connections from one address, unless `--max-per-address` says otherwise.
const MAX_PER_ADDRESS: usize = 256;

/// The paths that are always served, unless `--route` gives them another handler.
const BUILT_IN_PATHS: &[(&str, BuiltIn)] = &[
    ("/", BuiltIn::Broadcast),
    ("/mirror", BuiltIn::Mirror),
    ("/echo", BuiltIn::Echo),
    ("/broadcast", BuiltIn::Broadcast),
    ("/websocket", BuiltIn::WebSocket),
    ("/hello", BuiltIn::Hello),
    ("/chat", BuiltIn::Chat),
    ("/tracker", BuiltIn::Tracker),
    ("/sync", BuiltIn::Sync),
    ("/plot", BuiltIn::Plot),
    ("/stocks", BuiltIn::Stocks),
    ("/stats", BuiltIn::Monitor),
];

impl BuiltIn {
    fn named(name: &str) -> Option<BuiltIn> {
        match name {
            "mirror" => Some(BuiltIn::Mirror),
            "echo" => Some(BuiltIn::Echo),
            "broadcast" => Some(BuiltIn::Broadcast),
            "websocket" => Some(BuiltIn::WebSocket),
            "hello" => Some(BuiltIn::Hello),
            "chat" => Some(BuiltIn::Chat),
            "tracker" => Some(BuiltIn::Tracker),
            "sync" => Some(BuiltIn::Sync),
            "plot" => Some(BuiltIn::Plot),
            "stocks" => Some(BuiltIn::Stocks),
            "stats" => Some(BuiltIn::Monitor),
            _ => None,
        }
    }

    fn mount(self, server: &mut Server, path: &str) -> io::Result<()> {
        match self {
            BuiltIn::Mirror => server.route(path, Mirror),
            BuiltIn::Echo => server.route(path, Echo::default()),
            BuiltIn::Broadcast => {
                server.route(path, Broadcast);
                return server.events(path);
            }
            BuiltIn::WebSocket => server.route(path, Echo::new("Server echoed: ")),
            BuiltIn::Hello => server.route(path, Hello),
            BuiltIn::Chat => server.route(path, Chat::default()),
            BuiltIn::Tracker => server.route(path, Tracker::default()),
            BuiltIn::Sync => server.route(path, Sync::default()),
            BuiltIn::Plot => server.route(path, Plot::default()),
            BuiltIn::Stocks => {
                let stocks = Stocks::default();
                server.route("/quote", stocks.quote());
                server.route(path, stocks);
            }
            BuiltIn::Monitor => server.route(path, Monitor::default()),
        }
        Ok(())
    }
}

impl Options {
    /// Whether what is served, where, and from which lines were all left to the program.
    pub fn is_demo(&self) -> bool {
        let asked = !self.feeds.is_empty() || !self.bridges.is_empty();
        self.listen.is_empty() && self.root.is_none() && !asked
    }

    /// Adds all routes, and what they offer beside WebSockets. Programs may have so many open files.
    pub fn mount_routes(&self, server: &mut Server, open_files: Option<u64>) -> io::Result<()> {
        for (path, handler) in BUILT_IN_PATHS {
            handler.mount(server, path)?;
        }
        for (path, handler) in &self.routes {
            handler.mount(server, path)?;
        }
        for Bridge { path, is_shared, source } in &self.bridges {
            let source = self.equipped(source, open_files);
            if *is_shared {
                server.route(path, Shared::new(source));
                server.events(path)?;
            } else {
                server.route(path, Each::new(source));
            }
        }
        for (_, path) in &self.feeds {
            let built_in = built_in(path);
            if !self.is_named(path) && built_in.is_none_or(|one| one == BuiltIn::Broadcast) {
                server.route(path, Feed);
                server.events(path)?;
            }
        }
        for path in self.publish.iter().chain(&self.last) {
            let fed = self.feeds.iter().any(|(_, fed)| fed == path);
            if !fed && !self.is_named(path) && built_in(path).is_none() {
                BuiltIn::Broadcast.mount(server, path)?;
            }
        }
        self.publish.iter().try_for_each(|path| server.publish(path))?;
        self.last.iter().try_for_each(|path| server.keep_last(path))
    }

    /// Whether somebody has said what serves a path.
    fn is_named(&self, path: &str) -> bool {
        self.routes.iter().any(|(named, _)| named == path)
            || self.bridges.iter().any(|bridge| bridge.path == path)
    }

    /// A program finds the variables that it is to see, and its own limit of open files.
    fn equipped(&self, source: &Source, open_files: Option<u64>) -> Source {
        let set = |name: &String| Some((name.clone(), std::env::var_os(name)?));
        let source = source.clone().envs(self.pass_env.iter().filter_map(set));
        match open_files {
            Some(limit) => source.open_files(limit),
            None => source,
        }
    }

    /// What deserves a word before anybody connects.
    pub fn warnings(&self) -> Vec<String> {
        let open = self.config.origins.contains(&OriginRule::Any);
        let programs = self.bridges.iter().filter(|bridge| open && bridge.source.is_program());
        let warning = |bridge: &Bridge| {
            let (path, source) = (&bridge.path, &bridge.source);
            format!("--origin '*': every page that a browser shows here can use {source} by {path}")
        };
        programs.map(warning).collect()
    }
}

/// What serves a path if nobody says otherwise.
fn built_in(path: &str) -> Option<BuiltIn> {
    BUILT_IN_PATHS.iter().find(|(named, _)| *named == path).map(|(_, handler)| *handler)
}

/// Reads the arguments after the program's name. The error is one line for the user.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, String> {
    let mut config = Config::default();
    config.max_per_address = Some(MAX_PER_ADDRESS);
    let mut options = Options {
        listen: Vec::new(),
        root: None,
        routes: Vec::new(),
        feeds: Vec::new(),
        bridges: Vec::new(),
        pass_env: Vec::new(),
        publish: Vec::new(),
        last: Vec::new(),
        config,
        log: LevelFilter::Info,
        tls_cert: None,
        tls_key: None,
        max_backlog: None,
    };
    let mut origins = Vec::new();
    let mut parser = lexopt::Parser::from_args(args);
    while let Some(arg) = parser.next().map_err(|error| error.to_string())? {
        match arg {
            Short('h') | Long("help") => return Ok(Command::Help),
            Short('V') | Long("version") => return Ok(Command::Version),
            Long("licences" | "licenses") => return Ok(Command::Licences),
            Short('q') | Long("quiet") => options.log = LevelFilter::Warn,
            Short('v') | Long("verbose") => options.log = options.log.increment_severity(),
            Value(word) => return Err(format!("unexpected argument {word:?}")),
            Short('l') | Long("listen") => options.listen.push(text(&mut parser, "--listen")?),
            Long("origin") => origins.push(origin(&mut parser)?),
            flag => {
                let name = flag_name(&flag);
                option(&name, &mut parser, &mut options)?;
            }
        }
    }
    if !origins.is_empty() {
        options.config.origins = origins;
    }
    let config = &mut options.config;
    let one_message = config.max_message.saturating_add(4096);
    config.max_backlog = options.max_backlog.unwrap_or(config.max_backlog.max(one_message));
    match (&options.tls_cert, &options.tls_key) {
        (Some(_), None) => return Err("--tls-cert needs --tls-key".to_string()),
        (None, Some(_)) => return Err("--tls-key needs --tls-cert".to_string()),
        _ => {}
    }
    Ok(Command::Run(Box::new(options)))
}

fn flag_name(flag: &Arg<'_>) -> String {
    match flag {
        Short('r') => "--root".to_string(),
        Short(letter) => format!("-{letter}"),
        Long(name) => format!("--{name}"),
        Value(word) => word.to_string_lossy().into_owned(),
    }
}

/// The options whose value is stored as it is.
fn option(name: &str, parser: &mut lexopt::Parser, options: &mut Options) -> Result<(), String> {
    let config = &mut options.config;
    match name {
        "--root" => options.root = Some(value(parser, name)?.into()),
        "--route" => options.routes.push(route(&text(parser, name)?)?),
        "--feed" => options.feeds.push(feed(&text(parser, name)?)?),
        "--bridge" => options.bridges.push(bridge(&text(parser, name)?)?),
        "--pass-env" => options.pass_env.push(variable(&text(parser, name)?)?),
        "--publish" => options.publish.push(path(parser, name)?),
        "--last" => options.last.push(path(parser, name)?),
        "--host" => config.hosts.push(text(parser, name)?),
        "--versions" => config.versions = versions(&text(parser, name)?)?,
        "--secure-proxy" => config.secure_proxy = true,
        "--trust-proxy" => config.trust_proxy = true,
        #[cfg(feature = "tls")]
        "--tls-cert" => options.tls_cert = Some(value(parser, name)?.into()),
        #[cfg(feature = "tls")]
        "--tls-key" => options.tls_key = Some(value(parser, name)?.into()),
        #[cfg(feature = "deflate")]
        "--deflate" => config.deflate = Some(wsloop::Deflate::default()),
        "--max-message" => config.max_message = number(parser, name)?,
        "--max-backlog" => options.max_backlog = Some(number(parser, name)?),
        "--max-connections" => config.max_connections = Some(number(parser, name)?),
        "--max-per-address" => config.max_per_address = any_number(parser, name)?,
        "--max-programs" => config.max_programs = number(parser, name)?,
        "--max-memory" => config.max_memory = Some(number(parser, name)?),
        "--handshake-timeout" => {
            config.handshake_timeout = seconds(parser, name)?
                .ok_or_else(|| format!("{name}: a handshake needs more than 0 seconds"))?;
        }
        "--ping-interval" => config.ping_interval = seconds(parser, name)?,
        "--message-timeout" => config.message_timeout = seconds(parser, name)?,
        "--program-grace" => {
            config.program_grace = seconds(parser, name)?.unwrap_or_default();
        }
        "--stall-timeout" => {
            config.stall_timeout = Some(seconds(parser, name)?.unwrap_or(Duration::MAX));
        }
        "--idle-timeout" => config.idle_timeout = seconds(parser, name)?,
        _ => return Err(unknown(name)),
    }
    Ok(())
}

/// The error for an unknown option, or for one that this program was built without.
fn unknown(name: &str) -> String {
    let feature = match name {
        "--tls-cert" | "--tls-key" => "tls",
        "--deflate" => "deflate",
        _ => return format!("unknown option {name}"),
    };
    format!("{name}: this program was built without it (cargo build --features {feature})")
}

fn value(parser: &mut lexopt::Parser, name: &str) -> Result<OsString, String> {
    parser.value().map_err(|_| format!("{name} needs a value"))
}

fn text(parser: &mut lexopt::Parser, name: &str) -> Result<String, String> {
    let value = value(parser, name)?;
    value.into_string().map_err(|value| format!("{name}: {value:?} is not UTF-8"))
}

fn number(parser: &mut lexopt::Parser, name: &str) -> Result<usize, String> {
    let word = text(parser, name)?;
    match word.parse() {
        Ok(0) | Err(_) => Err(format!("{name}: '{word}' is not a whole number above 0")),
        Ok(number) => Ok(number),
    }
}

/// A number; 0 is `None`.
fn any_number(parser: &mut lexopt::Parser, name: &str) -> Result<Option<usize>, String> {
    let word = text(parser, name)?;
    let number = word.parse().map_err(|_| format!("{name}: '{word}' is not a whole number"))?;
    Ok(Some(number).filter(|number| *number > 0))
}

/// A time in seconds; 0 is `None`.
fn seconds(parser: &mut lexopt::Parser, name: &str) -> Result<Option<Duration>, String> {
    let word = text(parser, name)?;
    let seconds: Option<f64> = word.parse().ok();
    let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let duration = duration.ok_or_else(|| format!("{name}: '{word}' is not a time in seconds"))?;
    Ok(Some(duration).filter(|duration| !duration.is_zero()))
}

fn origin(parser: &mut lexopt::Parser) -> Result<OriginRule, String> {
    text(parser, "--origin")?.parse().map_err(|error| format!("--origin: {error}"))
}

fn variable(name: &str) -> Result<String, String> {
    match name.is_empty() || name.contains('=') {
        true => Err(format!("--pass-env: '{name}' is not the name of a variable")),
        false => Ok(name.to_string()),
    }
}

fn versions(list: &str) -> Result<Vec<Version>, String> {
    list.split(',').map(version).collect()
}

fn version(name: &str) -> Result<Version, String> {
    match name {
        "rfc6455" => Ok(Version::Rfc6455),
        "hybi08" => Ok(Version::Hybi08),
        "hybi07" => Ok(Version::Hybi07),
        "hixie76" => Ok(Version::Hixie76),
        "hixie75" => Ok(Version::Hixie75),
        _ => Err(format!(
            "--versions: no version '{name}'; there are rfc6455, hybi08, hybi07, hixie76, hixie75"
        )),
    }
}

fn route(word: &str) -> Result<(String, BuiltIn), String> {
    let (path, name) = word
        .rsplit_once('=')
        .ok_or_else(|| format!("--route: '{word}' is not of the form PATH=HANDLER"))?;
    check_path("--route", path)?;
    let handler = BuiltIn::named(name).ok_or_else(|| {
        format!(
            "--route: no handler '{name}'; there are mirror, echo, broadcast, websocket, hello, \
             chat, tracker, sync, plot, stocks, stats"
        )
    })?;
    Ok((path.to_string(), handler))
}

fn feed(word: &str) -> Result<(String, String), String> {
    let (addr, path) = word
        .rsplit_once('=')
        .ok_or_else(|| format!("--feed: '{word}' is not of the form ADDR=PATH"))?;
    check_path("--feed", path)?;
    Ok((addr.to_string(), path.to_string()))
}

fn bridge(word: &str) -> Result<Bridge, String> {
    let (path, target) = word
        .split_once('=')
        .ok_or_else(|| format!("--bridge: '{word}' is not of the form PATH=TARGET"))?;
    check_path("--bridge", path)?;
    let shared = target.strip_prefix("shared:");
    let source = shared.unwrap_or(target).parse();
    let source = source.map_err(|error| format!("--bridge {path}: {error}"))?;
    Ok(Bridge { path: path.to_string(), is_shared: shared.is_some(), source })
}

fn path(parser: &mut lexopt::Parser, name: &str) -> Result<String, String> {
    let path = text(parser, name)?;
    check_path(name, &path)?;
    Ok(path)
}

fn check_path(flag: &str, path: &str) -> Result<(), String> {
    if path.starts_with('/') || path == "*" {
        return Ok(());
    }
    Err(format!("{flag}: the path '{path}' does not begin with a slash"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(line: &str) -> Result<Options, String> {
        match parse(line.split_whitespace().map(OsString::from))? {
            Command::Run(options) => Ok(*options),
            Command::Help | Command::Version | Command::Licences => Err("not to run".to_string()),
        }
    }

    #[test]
    fn nothing_is_the_demo() {
        let options = options("").unwrap();
        assert!(options.listen.is_empty() && options.root.is_none() && options.is_demo());
        assert_eq!(options.log, LevelFilter::Info);
    }

    #[test]
    fn the_backlog_has_room_for_a_largest_message() {
        assert_eq!(options("").unwrap().config.max_backlog, 4 << 20);
        assert_eq!(options("--max-message 16777216").unwrap().config.max_backlog, 16_781_312);
        let options = options("--max-backlog 9 --max-message 16777216").unwrap();
        assert_eq!(options.config.max_backlog, 9);
    }

    #[test]
    fn flags_reach_the_config() {
        let options = options(
            "-l 127.0.0.1:0 --listen=unix:/tmp/a -r /srv --route /x=mirror --route *=echo \
             --origin self --origin https://a.org --host a.org --host *.b.org \
             --max-message 5 --max-backlog 6 --max-connections 7 --handshake-timeout 0.5 \
             --ping-interval 0 --idle-timeout 1.5 \
             --message-timeout 7 --max-per-address 0 --max-memory 1000000 \
             --secure-proxy --trust-proxy -v -v",
        )
        .unwrap();
        assert_eq!(options.listen, ["127.0.0.1:0", "unix:/tmp/a"]);
        assert_eq!(options.root, Some("/srv".into()));
        let routes = [("/x".into(), BuiltIn::Mirror), ("*".into(), BuiltIn::Echo)];
        assert_eq!(options.routes, routes);
        assert_eq!(options.config.origins.len(), 2);
        assert_eq!(options.config.hosts, ["a.org", "*.b.org"]);
        assert_eq!((options.config.max_message, options.config.max_backlog), (5, 6));
        assert_eq!(options.config.max_connections, Some(7));
        assert_eq!(options.config.handshake_timeout, Duration::from_millis(500));
        assert_eq!(options.config.ping_interval, None);
        assert_eq!(options.config.idle_timeout, Some(Duration::from_millis(1500)));
        assert_eq!(options.config.max_per_address, None);
        assert_eq!(options.config.max_memory, Some(1_000_000));
        assert_eq!(options.config.message_timeout, Some(Duration::from_secs(7)));
        assert!(options.config.secure_proxy && options.config.trust_proxy);
        assert_eq!(options.log, LevelFilter::Trace);
    }

    #[test]
    fn bridges_are_between_a_path_and_a_source() {
        let line = "--bridge /a=tcp:127.0.0.1:5900 --bridge /b=shared:lines:unix:/c=d";
        let given = options(line).unwrap();
        let bridge =
            |path: &str, is_shared, source| Bridge { path: path.to_string(), is_shared, source };
        let vnc = Source::tcp(([127, 0, 0, 1], 5900).into());
        let lines = Source::unix("/c=d").lines();
        assert_eq!(given.bridges, [bridge("/a", false, vnc), bridge("/b", true, lines)]);
        assert!(!given.is_demo());
    }

    #[test]
    fn programs_have_bounds_and_an_environment() {
        let given =
            options("--max-programs 3 --program-grace 0 --pass-env A --pass-env B").unwrap();
        assert_eq!((given.config.max_programs, given.config.program_grace), (3, Duration::ZERO));
        assert_eq!(given.pass_env, ["A", "B"]);
        let stall = |line| options(line).unwrap().config.stall_timeout;
        assert_eq!((stall(""), stall("--stall-timeout 0")), (None, Some(Duration::MAX)));
        assert_eq!(stall("--stall-timeout 9"), Some(Duration::from_secs(9)));
        assert_eq!(options("--program-grace 0.5").unwrap().config.program_grace.as_millis(), 500);
    }

    #[test]
    fn paths_are_published_to_and_keep_their_last() {
        let given = options("--publish /a --last /b --publish *").unwrap();
        assert_eq!((given.publish, given.last), (vec!["/a".into(), "*".into()], vec!["/b".into()]));
    }

    #[test]
    fn versions_are_named_with_commas_between() {
        assert_eq!(options("").unwrap().config.versions, Version::ALL);
        let given = options("--versions rfc6455,hixie76").unwrap();
        assert_eq!(given.config.versions, [Version::Rfc6455, Version::Hixie76]);
        let all = options("--versions hixie75,hixie76,hybi07,hybi08,rfc6455").unwrap();
        assert_eq!(all.config.versions, Version::ALL);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, said) in [
            ("--versions 13", "--versions: no version '13'"),
            ("--versions rfc6455,", "--versions: no version ''"),
            ("--nonsense", "--nonsense"),
            ("-x", "-x"),
            ("extra", "extra"),
            ("--listen", "--listen"),
            ("--max-message ten", "--max-message: 'ten'"),
            ("--max-message 0", "--max-message: '0'"),
            ("--ping-interval -1", "--ping-interval: '-1'"),
            ("--ping-interval NaN", "--ping-interval: 'NaN'"),
            ("--handshake-timeout 0", "--handshake-timeout"),
            ("--max-per-address x", "--max-per-address: 'x'"),
            ("--max-memory 0", "--max-memory: '0'"),
            ("--origin a.org", "--origin: 'a.org'"),
            ("--route /x", "--route: '/x'"),
            ("--route x=echo", "--route: the path 'x'"),
            ("--feed 127.0.0.1:1", "--feed: '127.0.0.1:1'"),
            ("--feed -=live", "--feed: the path 'live'"),
            ("--bridge /x", "--bridge: '/x'"),
            ("--bridge x=tcp:127.0.0.1:1", "--bridge: the path 'x'"),
            ("--bridge /x=udp:a", "--bridge /x: 'udp:a' is none of"),
            ("--bridge /x=exec:", "--bridge /x: 'exec:' is none of"),
            ("--pass-env A=b", "--pass-env: 'A=b'"),
            ("--max-programs 0", "--max-programs: '0'"),
            ("--program-grace soon", "--program-grace: 'soon'"),
            ("--publish", "--publish needs a value"),
            ("--publish x", "--publish: the path 'x'"),
            ("--last x", "--last: the path 'x'"),
            ("--route /x=tea", "--route: no handler 'tea'"),
            ("--quiet=yes", "quiet"),
        ] {
            let error = options(line).err().unwrap_or_default();
            assert!(error.contains(said) && !error.contains('\n'), "{line}: {error:?}");
        }
    }

    #[test]
    fn compression_is_asked_for_where_it_can_be_had() {
        let there = cfg!(feature = "deflate");
        assert_eq!(options("--deflate").is_ok(), there);
        assert_eq!(help().contains("--deflate "), there);
        #[cfg(feature = "deflate")]
        for line in ["", "--deflate"] {
            assert_eq!(options(line).unwrap().config.deflate.is_some(), !line.is_empty());
        }
    }

    #[test]
    fn a_certificate_and_its_key_go_together() {
        let said = |line: &str| options(line).err().unwrap_or_default();
        if cfg!(feature = "tls") {
            let given = options("--tls-cert a.pem --tls-key b.pem").unwrap();
            assert_eq!(
                (given.tls_cert, given.tls_key),
                (Some("a.pem".into()), Some("b.pem".into()))
            );
            assert_eq!(said("--tls-cert a.pem"), "--tls-cert needs --tls-key");
            assert_eq!(said("--tls-key b.pem"), "--tls-key needs --tls-cert");
        } else {
            assert!(said("--tls-cert a.pem").contains("built without it"));
        }
        assert_eq!(help().contains("--tls-key "), cfg!(feature = "tls"));
    }

    #[test]
    fn every_flag_is_in_the_help() {
        for flag in [
            "--listen",
            "--root",
            "--route",
            "--feed",
            "--bridge",
            "--publish",
            "--last",
            "--origin",
            "--host",
            "--versions",
            "--secure-proxy",
            "--trust-proxy",
            "--max-message",
            "--max-backlog",
            "--max-connections",
            "--handshake-timeout",
            "--ping-interval",
            "--message-timeout",
            "--max-per-address",
            "--max-memory",
            "--max-programs",
            "--program-grace",
            "--pass-env",
            "--stall-timeout",
            "--idle-timeout",
            "--quiet",
            "--verbose",
            "--help",
            "--version",
            "--licences",
        ] {
            assert!(help().contains(&format!("{flag} ")) || help().contains(&format!("{flag}\n")));
        }
        assert!(help().lines().all(|line| line.len() <= 100));
    }
}
