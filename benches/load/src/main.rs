//! Measures WebSocket servers: processor time, memory, system calls, instructions. See `HELP`.

mod bridges;
mod client;
mod connect;
mod echo;
mod fairness;
mod fleet;
mod instructions;
mod memory;
mod poll;
mod polling;
mod report;
mod server;
mod stalled;
mod syscalls;
mod table;

use std::process::ExitCode;
use std::time::Duration;

use fleet::Kind;
use report::Table;
use server::Target;
use table::Effort;

/// How long a client that reads nothing is watched at most.
const UNREAD: Duration = Duration::from_secs(2);

const HELP: &str = "\
Usage: load MODE [OPTION...] --server NAME=COMMAND...

COMMAND has {port} where the port goes. The first server is what the others are compared with.
Servers run on processor 0, and this program on processor 1.

Modes:
  table          processor time for a message: echoes, fan-outs, connections
  connections    how that grows from 1 to 10,000 open connections
  sizes          how that grows from 1 KiB to 16 MiB, for each KiB
  memory         user memory for an open connection
  stalled        user memory for 1 MiB to 1,000 connections that do not read
  fairness       round trips beside a connection that floods
  syscalls       system calls for a message, and of an idle server; needs strace
  instructions   user-space instructions for a message; needs valgrind
  lines          processor time for a line through a program; COMMAND serves `cat` on /mirror
  tunnel         processor time for bytes through TCP and back; COMMAND has {echo} where the port
                 of an echo goes, and serves that on /mirror
  programs       memory and descriptors for a connection with a program; as for lines
  tunnels        the same for a connection with a tunnel; as for tunnel
  unread         processor time and memory for a client that reads nothing; COMMAND serves `yes` on
                 /mirror
  polling        asking for quotes against having them pushed; for wsloop alone

Options:
  --rounds N     samples of each cell               [default: 12]
  --seconds S    length of each, fractions allowed  [default: 0.3]
  --only TEXT    only workloads with this in their names; may be repeated
  --connections N  how many for memory and polling  [default: 10000; for stalled: 1000;
                 for programs: 200; for tunnels: 50]
  --idle S       how long nothing happens, for syscalls; for unread at most 2
                                                    [default: 30]
  --batches N    for instructions                   [default: 2000]
";

struct Options {
    mode: String,
    targets: Vec<Target>,
    effort: Effort,
    only: Vec<String>,
    connections: Option<usize>,
    idle: Duration,
    batches: u64,
}

fn main() -> ExitCode {
    let options = match parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("load: {error}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    server::raise_descriptor_limit();
    server::pin_generator();
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), String> {
    let Options { targets, effort, only, .. } = options;
    let connections = |default| options.connections.unwrap_or(default);
    match options.mode.as_str() {
        "table" => show(&table::run(targets, *effort, only)),
        "connections" => show(&table::connections(targets, *effort, only)),
        "sizes" => show(&table::sizes(targets, *effort, only)),
        "memory" => memory::run(targets, connections(10_000)),
        "stalled" => stalled::run(targets, connections(1_000)),
        "fairness" => fairness::run(targets, *effort),
        "syscalls" => syscalls::run(targets, options.idle),
        "instructions" => instructions::run(targets, options.batches),
        "lines" => show(&table::lines(targets, *effort, only)),
        "tunnel" => {
            let targets = echo::beside(targets)?;
            show(&table::tunnel(&targets, *effort, only))?;
            println!();
            show(&table::bulk(&targets, *effort, only))
        }
        "programs" => bridges::held(targets, connections(200), Kind::Text),
        "tunnels" => bridges::held(&echo::beside(targets)?, connections(50), Kind::Stream),
        "unread" => bridges::unread(targets, options.idle.min(UNREAD)),
        "polling" => polling::run(targets, connections(10_000)),
        mode => Err(format!("no mode {mode:?}")),
    }
}

fn show(table: &Table) -> Result<(), String> {
    table.print();
    if table.has_failed() { Err("a server failed".to_string()) } else { Ok(()) }
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
    let effort = Effort { rounds: 12, each: Duration::from_millis(300) };
    let mode = args.next().ok_or("which mode?")?;
    let mut options = Options {
        mode,
        targets: Vec::new(),
        effort,
        only: Vec::new(),
        connections: None,
        idle: Duration::from_secs(30),
        batches: 2000,
    };
    while let Some(arg) = args.next() {
        let value = args.next().ok_or_else(|| format!("{arg} needs a value"))?;
        let number = || value.parse::<f64>().map_err(|_| format!("{arg}: {value:?}"));
        match arg.as_str() {
            "--server" => options.targets.push(Target::parse(&value)?),
            "--rounds" => options.effort.rounds = number()?.max(1.0) as usize,
            "--seconds" => {
                options.effort.each = Duration::from_secs_f64(number()?.clamp(0.001, 60.0))
            }
            "--connections" => options.connections = Some(number()?.max(1.0) as usize),
            "--idle" => options.idle = Duration::from_secs_f64(number()?.clamp(0.001, 3600.0)),
            "--batches" => options.batches = number()?.max(1.0) as u64,
            "--only" => options.only.push(value),
            _ => return Err(format!("unknown option {arg}")),
        }
    }
    if options.targets.is_empty() {
        return Err("no --server".to_string());
    }
    Ok(options)
}
