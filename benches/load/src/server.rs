//! Servers under test: started on one processor, measured by what the kernel says about them.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};

/// The processors: one for the server, one for the generator.
const SERVER: usize = 0;
const GENERATOR: usize = 1;
/// A server that runs under valgrind takes long to come up.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server that can be started.
#[derive(Debug, Clone)]
pub struct Target {
    pub name: String,
    /// The words of its command; `{port}` stands for the port.
    command: Vec<String>,
}

/// The place of an echo's port in a command, which is not the server's own.
const ECHO: &str = "{echo}";

/// A server that runs.
pub struct Server {
    pub name: String,
    pub addr: SocketAddr,
    child: Child,
}

/// What a process has used, in nanoseconds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Times {
    /// On a processor, in user space and in the kernel.
    pub cpu: u64,
    /// Ready to run while something else had the processor.
    pub waited: u64,
}

impl Times {
    /// What was used since then.
    pub fn since(self, before: Times) -> Times {
        Times { cpu: self.cpu - before.cpu, waited: self.waited - before.waited }
    }
}

impl Target {
    /// `NAME=COMMAND`
    pub fn parse(word: &str) -> Result<Target, String> {
        let (name, command) = word.split_once('=').ok_or("--server needs NAME=COMMAND")?;
        let command: Vec<String> = command.split_whitespace().map(str::to_string).collect();
        if command.is_empty() {
            return Err(format!("--server {name}: no command"));
        }
        Ok(Target { name: name.to_string(), command })
    }

    /// With the port of an echo for the server to connect to.
    pub fn with_echo(&self, port: u16) -> Target {
        let words = self.command.iter().map(|word| word.replace(ECHO, &port.to_string()));
        Target { name: self.name.clone(), command: words.collect() }
    }

    pub fn start(&self) -> Result<Server, String> {
        self.start_under(&[])
    }

    /// With these words before its command.
    pub fn start_under(&self, wrapper: &[&str]) -> Result<Server, String> {
        let port = free_port().map_err(|error| format!("no port: {error}"))?;
        let own = self.command.iter().map(|word| word.replace("{port}", &port.to_string()));
        let words: Vec<String> = wrapper.iter().map(|word| word.to_string()).chain(own).collect();
        // A child begins where its parent is.
        pin(SERVER);
        let child = Command::new(&words[0])
            .args(&words[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        pin(GENERATOR);
        let child = child.map_err(|error| format!("{}: {error}", words[0]))?;
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut server = Server { name: self.name.clone(), addr, child };
        server.await_listener()?;
        Ok(server)
    }
}

impl Server {
    fn await_listener(&mut self) -> Result<(), String> {
        let started = Instant::now();
        while TcpStream::connect(self.addr).is_err() {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("{} ended at once: {status}", self.name));
            }
            if started.elapsed() > PATIENCE {
                return Err(format!("{} does not listen on {}", self.name, self.addr));
            }
            sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Itself, and what it has forked for its connections. The programs that it starts for them are
    /// not the server.
    pub fn processes(&self) -> Vec<u32> {
        let mut processes = vec![self.pid()];
        let Ok(program) = program(self.pid()) else { return processes };
        let mut next = 0;
        while let Some(&process) = processes.get(next) {
            next += 1;
            let forked = children(process);
            let forked = forked.filter(|&child| program_is(child, &program));
            processes.extend(forked);
        }
        processes
    }

    /// Of all its threads.
    pub fn times(&self) -> Times {
        let mut sum = Times::default();
        for task in self.processes().into_iter().flat_map(tasks) {
            let text = fs::read_to_string(task.join("schedstat")).unwrap_or_default();
            let mut numbers = text.split_whitespace().map(|word| word.parse().unwrap_or(0));
            sum.cpu += numbers.next().unwrap_or(0);
            sum.waited += numbers.next().unwrap_or(0);
        }
        sum
    }

    /// Bytes of memory of its own: what is neither a file's nor shared.
    pub fn memory(&self) -> Result<u64, String> {
        self.processes().into_iter().map(memory).sum()
    }

    /// How many it has open.
    pub fn descriptors(&self) -> usize {
        let folders = self.processes().into_iter().map(|process| format!("/proc/{process}/fd"));
        folders.map(|folder| fs::read_dir(folder).into_iter().flatten().count()).sum()
    }

    /// Asks it to end, and waits.
    pub fn stop(mut self) -> Result<(), String> {
        let pid = Pid::from_child(&self.child);
        let _ = kill_process(pid, Signal::TERM);
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            if let Ok(Some(status)) = self.child.try_wait() {
                let asked = status.success() || status.signal() == Some(Signal::TERM.as_raw());
                return if asked { Ok(()) } else { Err(format!("{}: {status}", self.name)) };
            }
            sleep(Duration::from_millis(5));
        }
        Err(format!("{} does not end", self.name))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program(process: u32) -> io::Result<PathBuf> {
    fs::read_link(format!("/proc/{process}/exe"))
}

fn program_is(process: u32, path: &Path) -> bool {
    program(process).is_ok_and(|program| program == path)
}

fn tasks(process: u32) -> impl Iterator<Item = PathBuf> {
    let tasks = fs::read_dir(format!("/proc/{process}/task"));
    tasks.into_iter().flatten().flatten().map(|task| task.path())
}

fn children(process: u32) -> impl Iterator<Item = u32> {
    let lists = tasks(process).flat_map(|task| fs::read_to_string(task.join("children")));
    let numbers =
        lists.flat_map(|list| list.split_whitespace().map(str::parse).collect::<Vec<_>>());
    numbers.flatten()
}

fn memory(process: u32) -> Result<u64, String> {
    let path = format!("/proc/{process}/smaps_rollup");
    let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let field = text.lines().find_map(|line| line.strip_prefix("Pss_Anon:"));
    let number = field.and_then(|field| field.split_whitespace().next());
    number
        .and_then(|number| number.parse::<u64>().ok())
        .map(|kibibytes| kibibytes * 1024)
        .ok_or_else(|| format!("{path}: no Pss_Anon"))
}

/// Puts this process on one processor. On a machine with a single one everything shares it.
pub fn pin(processor: usize) {
    let mut set = CpuSet::new();
    set.set(processor);
    let _ = sched_setaffinity(None, &set);
}

pub fn pin_generator() {
    pin(GENERATOR);
}

/// As many open files as the system allows; children inherit it.
pub fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
