//! The command-line server as a process.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

use crate::common::{PATIENCE, Scratch};

/// Where it lies.
pub const WSLOOP: &str = env!("CARGO_BIN_EXE_wsloop");

/// The program, running. Dropping it ends it.
pub struct Program {
    pub pid: Pid,
    /// The addresses it says it listens on.
    pub listening: Vec<String>,
    status: Receiver<ExitStatus>,
    ended: bool,
    stderr: Receiver<String>,
}

impl Program {
    /// Starts it on a port that the system chooses.
    pub fn start(args: &[&str]) -> Program {
        Program::start_on(&["127.0.0.1:0"], args)
    }

    /// Starts it on these addresses, and waits until it listens on all of them.
    pub fn start_on(addrs: &[&str], args: &[&str]) -> Program {
        Program::start_by(&mut Command::new(WSLOOP), addrs, args)
    }

    /// The same by way of a command of the test's own, which passes the arguments on.
    pub fn start_by(command: &mut Command, addrs: &[&str], args: &[&str]) -> Program {
        Program::start_reading(Stdio::null(), command, addrs, args)
    }

    /// The same with something to read on its standard input.
    pub fn start_reading(
        stdin: Stdio,
        command: &mut Command,
        addrs: &[&str],
        args: &[&str],
    ) -> Program {
        command.args(addrs.iter().flat_map(|addr| ["--listen", addr])).args(args);
        let mut child = spawn(command, stdin);
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

    /// Its resident memory, in KiB.
    pub fn resident(&self) -> usize {
        self.memory("VmRSS")
    }

    /// What the kernel says about its memory, in KiB.
    pub fn memory(&self, field: &str) -> usize {
        let path = format!("/proc/{}/status", self.pid.as_raw_nonzero());
        let status = std::fs::read_to_string(path).unwrap();
        let mut fields = status.lines().filter_map(|line| line.split_once(':'));
        let (_, value) = fields.find(|(name, _)| *name == field).unwrap();
        value.trim().trim_end_matches(" kB").parse().unwrap()
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

/// Starts it with pipes for what it says.
pub fn spawn(command: &mut Command, stdin: Stdio) -> Child {
    command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
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

impl Scratch {
    /// A file for the program to serve.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.join(name), content).unwrap();
    }
}
