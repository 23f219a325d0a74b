//! The program when it ends by itself.

use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;

use crate::common::PATIENCE;
use crate::program::{Program, WSLOOP, spawn};
use rustix::process::{Pid, Signal, kill_process};

/// What a program that ended by itself left.
pub struct Outcome {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Program {
    /// Runs it to its end, which must come by itself.
    pub fn run(args: &[&str]) -> Outcome {
        let mut child = spawn(Command::new(WSLOOP).args(args), Stdio::null());
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
}
