//! The command-line server as a process.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

use super::PATIENCE;

/// The program, running. Dropping it ends it.
pub struct Program {
    pub pid: Pid,
    /// The addresses it says it listens on.
    pub listening: Vec<String>,
    status: Receiver<ExitStatus>,
    ended: bool,
    stderr: Receiver<String>,
}

/// What a program that ended by itself left.
pub struct Outcome {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Program {
    /// Starts it on a port that the system chooses.
    pub fn start(args: &[&str]) -> Program {
        Program::start_on(&["127.0.0.1:0"], args)
    }

    /// Starts it on these addresses, and waits until it listens on all of them.
    pub fn start_on(addrs: &[&str], args: &[&str]) -> Program {
        Program::start_by(&mut Command::new(env!("CARGO_BIN_EXE_wsloop")), addrs, args)
    }

    /// The same by way of a command of the test's own, which passes the arguments on.
    pub fn start_by(command: &mut Command, addrs: &[&str], args: &[&str]) -> Program {
        let mut child = command
            .args(addrs.iter().flat_map(|addr| ["--listen", addr]))
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let pid = Pid::from_child(&child);
        let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let stderr = lines(child.stderr.take().unwrap());
        let (sender, status) = channel();
        let mut program = Program { pid, listening: Vec::new(), status, ended: false, stderr };
        thread::spawn(move || sender.send(child.wait().unwrap()));
        for _ in addrs {
            let line = stdout.next().expect("it says where it listens").unwrap();
            let addr = line.strip_prefix("listening on ").expect(&line);
            program.listening.push(addr.to_string());
        }
        program
    }

    /// Runs it to its end, which must come by itself.
    pub fn run(args: &[&str]) -> Outcome {
        let mut child = Command::new(env!("CARGO_BIN_EXE_wsloop"))
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let pid = Pid::from_child(&child);
        let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let (sender, outcome) = channel();
        thread::spawn(move || {
            let (mut stdout, mut stderr) = (String::new(), String::new());
            out.read_to_string(&mut stdout).unwrap();
            err.read_to_string(&mut stderr).unwrap();
            let code = child.wait().unwrap().code();
            sender.send(Outcome { code, stdout, stderr })
        });
        outcome.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            let _ = kill_process(pid, Signal::KILL);
            panic!("wsloop {args:?} does not end")
        })
    }

    /// Its first TCP address.
    pub fn addr(&self) -> SocketAddr {
        let (_, addr) = self.listening[0].split_once("://").unwrap();
        addr.parse().unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).unwrap();
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        let status = self.status.recv_timeout(PATIENCE).expect("the program ends");
        self.ended = true;
        status
    }

    /// The next line on standard error that holds this.
    pub fn logged(&self, words: &str) -> String {
        loop {
            let line = self.stderr.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("{words:?} was not logged"));
            if line.contains(words) {
                return line;
            }
        }
    }

    /// Everything on standard error until the program's end, but for what was looked at before.
    pub fn all_logged(&self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            match self.stderr.recv_timeout(PATIENCE) {
                Ok(line) => lines.push(line),
                Err(RecvTimeoutError::Disconnected) => return lines,
                Err(RecvTimeoutError::Timeout) => panic!("the program does not end"),
            }
        }
    }

    /// The descriptors it has.
    pub fn descriptors(&self) -> Vec<usize> {
        let path = format!("/proc/{}/fd", self.pid.as_raw_nonzero());
        let names = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name());
        names.map(|name| name.to_str().unwrap().parse().unwrap()).collect()
    }

    /// The processor time it has taken, in hundredths of a second.
    pub fn cpu_time(&self) -> u64 {
        let path = format!("/proc/{}/stat", self.pid.as_raw_nonzero());
        let stat = std::fs::read_to_string(path).unwrap();
        let (_, behind_name) = stat.rsplit_once(") ").unwrap();
        // utime and stime; the state is the first behind the name.
        behind_name.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
    }

    /// Its resident memory, in KiB.
    pub fn resident(&self) -> usize {
        let path = format!("/proc/{}/status", self.pid.as_raw_nonzero());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if !self.ended && self.status.try_recv().is_err() {
            let _ = kill_process(self.pid, Signal::KILL);
            let _ = self.status.recv_timeout(PATIENCE);
        }
    }
}

fn lines(source: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(source).lines().map_while(Result::ok) {
            // Goes on when the test has ended, so that the program can always write.
            let _ = sender.send(line);
        }
    });
    receiver
}

/// A folder for one test, removed with it.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Scratch {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("wsloop-test-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Scratch(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.join(name), content).unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
