//! Measures WebSocket servers: processor time, memory, system calls, instructions. See `HELP`.

mod client;
mod fleet;
mod memory;
mod poll;
mod report;
mod server;
mod table;

use std::process::ExitCode;
use std::time::Duration;

use server::Target;
use table::Effort;

const HELP: &str = "\
Usage: load MODE [OPTION...] --server NAME=COMMAND...

COMMAND has {port} where the port goes. The first server is what the others are compared with.
Servers run on processor 0, and this program on processor 1.

Modes:
  table          processor time for a message: echoes and fan-outs
  memory         user memory for an open connection

Options:
  --rounds N     samples of each cell               [default: 12]
  --seconds S    length of each, fractions allowed  [default: 0.3]
  --only TEXT    only workloads with this in their names; may be repeated
  --connections N  how many for memory              [default: 10000]
";

struct Options {
    mode: String,
    targets: Vec<Target>,
    effort: Effort,
    only: Vec<String>,
    connections: usize,
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
    match options.mode.as_str() {
        "table" => {
            let table = table::run(targets, *effort, only);
            table.print();
            if table.has_failed() { Err("a server failed".to_string()) } else { Ok(()) }
        }
        "memory" => memory::run(targets, options.connections),
        mode => Err(format!("no mode {mode:?}")),
    }
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
    let effort = Effort { rounds: 12, each: Duration::from_millis(300) };
    let mode = args.next().ok_or("which mode?")?;
    if !["table", "memory"].contains(&mode.as_str()) {
        return Err(format!("no mode {mode:?}"));
    }
    let mut options =
        Options { mode, targets: Vec::new(), effort, only: Vec::new(), connections: 10_000 };
    while let Some(arg) = args.next() {
        let value = args.next().ok_or_else(|| format!("{arg} needs a value"))?;
        let number = || value.parse::<f64>().map_err(|_| format!("{arg}: {value:?}"));
        match arg.as_str() {
            "--server" => options.targets.push(Target::parse(&value)?),
            "--rounds" => options.effort.rounds = number()?.max(1.0) as usize,
            "--seconds" => {
                options.effort.each = Duration::from_secs_f64(number()?.clamp(0.001, 60.0))
            }
            "--connections" => options.connections = number()?.max(1.0) as usize,
            "--only" => options.only.push(value),
            _ => return Err(format!("unknown option {arg}")),
        }
    }
    if options.targets.is_empty() {
        return Err("no --server".to_string());
    }
    Ok(options)
}
