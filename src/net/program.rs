//! Programs: what they are told goes to their standard input, and what they say comes from their
//! standard output. Their standard error is ours.
//!
//! A program leads a process group, and who is in it ends with it. It is asked to end step by step:
//! its input ends, then the group is sent SIGTERM, then SIGKILL. The steps are the caller's, since each
//! waits for a deadline; nothing here waits. Its end is announced by a descriptor (Linux, Android).
//! There is no handler for SIGCHLD, which is the host's, and only our own children are waited for.

use std::io::{self, IoSlice, PipeReader, PipeWriter};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process_group, test_kill_process,
    test_kill_process_group, waitid,
};

use super::transfer::Received;
use crate::source::Launch;

/// A program that runs, or is to be started.
#[derive(Debug)]
pub(crate) enum Program {
    /// It is started when it is put into the poll.
    Waiting(Launch),
    Running(Running),
}

/// What is passed on of our own environment.
const PASSED_ON: [&str; 4] = ["PATH", "HOME", "LANG", "TZ"];
/// Without a descriptor that announces it, an end follows the end of the output in about 50 µs. So often
/// it is asked for, and others run in between.
const TRIES: usize = 100;
/// When the server itself goes, what it started is killed, and not waited for much longer than this.
const LAST_WAIT: Duration = Duration::from_millis(100);

impl Program {
    /// Starts it, and has the kernel announce what it says, takes, and that it ends.
    pub(super) fn start(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match self {
            Program::Running(running) => running.register(registry, token),
            Program::Waiting(launch) => {
                let running = Running::start(launch)?;
                let registered = running.register(registry, token);
                *self = Program::Running(running);
                registered
            }
        }
    }

    fn running(&mut self) -> Option<&mut Running> {
        match self {
            Program::Waiting(_) => None,
            Program::Running(running) => Some(running),
        }
    }

    pub(super) fn was_started(&self) -> bool {
        matches!(self, Program::Running(_))
    }

    /// Reads what it says. `HalfEnd` if it says no more and runs on, and `End` once it has ended: who else
    /// holds its output then is not listened to.
    pub(super) fn read(&mut self, buf: &mut [u8]) -> io::Result<Received> {
        self.running().ok_or(io::ErrorKind::WouldBlock)?.read(buf)
    }

    pub(super) fn write(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.running().ok_or(io::ErrorKind::WouldBlock)?.write(parts)
    }

    /// Its output.
    pub(super) fn as_fd(&self) -> io::Result<BorrowedFd<'_>> {
        match self {
            Program::Waiting(_) => Err(io::ErrorKind::WouldBlock.into()),
            Program::Running(running) => Ok(running.output.as_fd()),
        }
    }

    /// It is told no more: its input ends.
    pub(super) fn end_input(&mut self) {
        if let Some(running) = self.running() {
            running.input = None;
        }
    }

    /// Nobody is interested any more in what it says. It is not read: who floods would keep us busy, and
    /// is blocked instead until the next signal.
    pub(super) fn turn_away(&mut self) {
        if let Some(running) = self.running() {
            running.is_read = false;
        }
    }

    /// Takes the next step to end it and all its group. False if there is nobody left to wait for, or
    /// nothing left to be done.
    pub(super) fn urge(&mut self) -> bool {
        self.turn_away();
        self.end_input();
        self.running().is_some_and(Running::urge)
    }

    /// Whether it has ended, and others of its group have not.
    pub(super) fn has_left_others(&self) -> bool {
        matches!(self, Program::Running(Running { end: Some(End { left_others: true, .. }), .. }))
    }

    /// How it has ended, if it has and that is known.
    pub(super) fn exit_status(&self) -> Option<ExitStatus> {
        match self {
            Program::Running(Running { end: Some(end), .. }) => end.status,
            _ => None,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    group: Pid,
    /// Readable once it has ended.
    exit: Option<OwnedFd>,
    input: Option<Input>,
    output: PipeReader,
    /// More may come of its output, and somebody is interested in it.
    is_read: bool,
    /// The last signal that it was sent.
    urged: Option<Signal>,
    end: Option<End>,
}

/// What it reads from. We hold the reading end as well: who writes to a pipe that nobody reads from is
/// sent SIGPIPE, which would end a host that leaves it at its default, and pipes have no MSG_NOSIGNAL.
#[derive(Debug)]
struct Input {
    writer: PipeWriter,
    _reader: PipeReader,
}

#[derive(Debug, Clone, Copy)]
struct End {
    /// None if somebody else has waited for it, such as a host that ignores SIGCHLD.
    status: Option<ExitStatus>,
    /// Others of its group have not ended. They were sent SIGTERM.
    left_others: bool,
    /// So many bytes of its output are still to be read. What comes behind them others say.
    unread: usize,
}

impl Running {
    fn start(launch: &Launch) -> io::Result<Running> {
        let (stdin, writer) = io::pipe()?;
        let (output, stdout) = io::pipe()?;
        // Only our ends: the program expects its own to block.
        rustix::io::ioctl_fionbio(&writer, true)?;
        rustix::io::ioctl_fionbio(&output, true)?;
        let input = Input { writer, _reader: stdin.try_clone()? };
        let passed_on = PASSED_ON.iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
        let child = Command::new("/bin/sh")
            .args(["-c", &launch.script()])
            .env_clear()
            .envs(passed_on)
            .env("PYTHONUNBUFFERED", "1")
            .envs(launch.environment.iter().map(|(name, value)| (name, value)))
            .process_group(0)
            .stdin(stdin)
            .stdout(stdout)
            .spawn()?;
        let group = Pid::from_child(&child);
        Ok(Running {
            child,
            group,
            exit: announced_exit(group),
            input: Some(input),
            output,
            is_read: true,
            urged: None,
            end: None,
        })
    }

    fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        let watch = |fd: BorrowedFd<'_>, what| {
            registry.register(&mut SourceFd(&fd.as_raw_fd()), token, what)
        };
        watch(self.output.as_fd(), Interest::READABLE)?;
        let mut input = self.input.iter();
        input.try_for_each(|input| watch(input.writer.as_fd(), Interest::WRITABLE))?;
        self.exit.iter().try_for_each(|exit| watch(exit.as_fd(), Interest::READABLE))
    }

    fn read(&mut self, buf: &mut [u8]) -> io::Result<Received> {
        // Asked before each read: others may fill its output without a pause once it has ended.
        self.has_ended();
        let most = self.end.map_or(buf.len(), |end| end.unread.min(buf.len()));
        let ends_now = match self.read_output(buf.get_mut(..most).unwrap_or_default()) {
            Ok(0) => true,
            Ok(count) => {
                if let Some(end) = &mut self.end {
                    end.unread = end.unread.saturating_sub(count);
                }
                // Its end may have been announced already: so it is read until that is reached.
                return Ok(Received::Bytes { count, more: true });
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            Err(error) => return Err(error),
        };
        if self.end.is_some() || (ends_now && self.exit.is_none() && self.ends_soon()) {
            return Ok(Received::End);
        }
        if ends_now {
            self.is_read = false;
            return Ok(Received::HalfEnd);
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn read_output(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if !self.is_read {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(rustix::io::read(&self.output, buf)?)
    }

    fn write(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let input = self.input.as_ref().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(rustix::io::writev(&input.writer, parts)?)
    }

    /// Whether it has ended. What is left of its group is sent SIGTERM then.
    fn has_ended(&mut self) -> bool {
        if self.end.is_some() {
            return true;
        }
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        match waitid(WaitId::Pid(self.group), options) {
            Ok(None) => return false,
            // As long as it is not waited for, its number is given to nobody else, nor is its group's.
            Ok(Some(_)) => self.signal(Signal::TERM),
            // Somebody else has waited for it.
            Err(_) => {}
        }
        let status = self.child.try_wait().unwrap_or_default();
        let left_others = status.is_some() && test_kill_process_group(self.group).is_ok();
        let unread = rustix::io::ioctl_fionread(&self.output).unwrap_or_default();
        let unread = usize::try_from(unread).unwrap_or(usize::MAX);
        self.end = Some(End { status, left_others, unread });
        true
    }

    /// The same where nothing announces it.
    fn ends_soon(&mut self) -> bool {
        (0..TRIES).any(|_| {
            std::thread::yield_now();
            self.has_ended()
        })
    }

    /// Whether its number is another's, now that it was waited for: of its group nobody has that number
    /// himself, and as long as anybody is in there, nobody else is given it.
    fn is_given_anew(&self) -> bool {
        test_kill_process(self.group) != Err(Errno::SRCH)
    }

    fn signal(&mut self, signal: Signal) {
        self.urged = Some(signal);
        // An error means that nobody is there any more.
        let _ = kill_process_group(self.group, signal);
    }

    fn urge(&mut self) -> bool {
        if let Some(end) = &mut self.end {
            if std::mem::take(&mut end.left_others) && !self.is_given_anew() {
                self.signal(Signal::KILL);
            }
            return false;
        }
        if self.has_ended() {
            return self.end.is_some_and(|end| end.left_others);
        }
        let next = match self.urged {
            None => Signal::TERM,
            Some(Signal::TERM) => Signal::KILL,
            // The kernel does not let go of it.
            Some(_) => return false,
        };
        self.signal(next);
        true
    }
}

/// The server goes, or gives up.
impl Drop for Running {
    fn drop(&mut self) {
        if self.has_ended() {
            self.urge();
            return;
        }
        self.signal(Signal::KILL);
        let step = Duration::from_millis(1);
        let mut waited = Duration::ZERO;
        while !self.has_ended() && waited < LAST_WAIT {
            std::thread::sleep(step);
            waited = waited.saturating_add(step);
        }
    }
}

/// A descriptor that is readable once this process has ended, where the system has such.
fn announced_exit(process: Pid) -> Option<OwnedFd> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    return rustix::process::pidfd_open(process, rustix::process::PidfdFlags::empty()).ok();
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        let _ = process;
        None
    }
}

#[cfg(all(test, target_os = "linux", not(miri)))]
mod tests {
    //! A child has the sockets of its parent for a moment, until it becomes another program: so no other
    //! test may run beside these.

    use super::*;

    fn run(script: &str) -> Running {
        let crate::source::Target::Program(launch) = crate::Source::program(script).target else {
            panic!("no program")
        };
        Running::start(&launch).unwrap()
    }

    /// What it says, and what the last read brings.
    fn said(running: &mut Running) -> (Vec<u8>, Received) {
        let (mut all, mut buf) = (Vec::new(), [0; 100]);
        loop {
            match running.read(&mut buf) {
                Ok(Received::Bytes { count, more: true }) => all.extend_from_slice(&buf[..count]),
                Ok(last) => return (all, last),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        }
    }

    #[test]
    #[ignore = "other tests would meet the children: .ci/run has them alone"]
    fn an_end_is_noticed_though_nothing_announces_it() {
        let mut running = run("printf hello; exit 3");
        running.exit = None;
        assert_eq!(said(&mut running), (b"hello".to_vec(), Received::End));
        let status = running.end.and_then(|end| end.status);
        assert_eq!(status.and_then(|status| status.code()), Some(3));
        // One that ends its output alone is not taken for ended.
        let mut running = run("printf hello; exec >&-; exec sleep 1000");
        running.exit = None;
        assert_eq!(said(&mut running), (b"hello".to_vec(), Received::HalfEnd));
    }

    #[test]
    #[ignore = "other tests would meet the children: .ci/run has them alone"]
    fn an_end_is_noticed_though_one_left_behind_goes_on_to_speak() {
        let mut running = run("trap '' TERM; yes & read -r line; exit 3");
        let mut buf = [0; 100];
        while running.read(&mut buf).is_err() {}
        running.input = None;
        let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(running.group), ended).unwrap();
        // The one that it leaves behind keeps the pipe full, and what lies there by now is read.
        assert!(matches!(running.read(&mut buf), Ok(Received::Bytes { .. })));
        let end = running.end.unwrap();
        assert_eq!((end.status.unwrap().code(), end.left_others), (Some(3), true));
        let unread = end.unread;
        let (said, last) = said(&mut running);
        assert_eq!((said.len(), last), (unread, Received::End));
        assert!(!running.urge());
    }

    #[test]
    #[ignore = "other tests would meet the children: .ci/run has them alone"]
    fn who_is_given_the_number_of_one_that_has_ended_is_not_signalled() {
        let mut running = run("trap '' TERM; sleep 1000 & exit 0");
        assert_eq!(said(&mut running).1, Received::End);
        let mut other = run("read -r line; echo \"$line\"");
        let group = std::mem::replace(&mut running.group, other.group);
        assert!(running.end.unwrap().left_others);
        assert!(!running.urge());
        other.write(&[IoSlice::new(b"alive\n")]).unwrap();
        assert_eq!(said(&mut other).0, b"alive\n");
        // Those who are left are.
        running.group = group;
        running.end.as_mut().unwrap().left_others = true;
        assert!(!running.urge());
        assert_eq!(running.urged, Some(Signal::KILL));
    }

    #[test]
    #[ignore = "other tests would meet the children: .ci/run has them alone"]
    fn one_that_somebody_else_has_waited_for_has_ended_too() {
        let mut running = run("exit 3");
        rustix::process::waitpid(Some(running.group), rustix::process::WaitOptions::empty())
            .unwrap();
        assert_eq!(said(&mut running), (Vec::new(), Received::End));
        assert!(running.end.is_some_and(|end| end.status.is_none() && !end.left_others));
    }

    #[test]
    #[ignore = "other tests would meet the children: .ci/run has them alone"]
    fn it_is_urged_step_by_step_and_then_given_up() {
        let mut program =
            Program::Running(run("trap '' TERM; echo ready; while :; do sleep 1000; done"));
        let mut buf = [0; 100];
        while program.read(&mut buf).is_err() {}
        for signal in [Signal::TERM, Signal::KILL] {
            assert!(program.urge());
            assert_eq!(program.running().unwrap().urged, Some(signal));
            if signal == Signal::TERM {
                // As if the kernel did not let go of it afterwards.
                program.running().unwrap().urged = Some(Signal::KILL);
                assert!(!program.urge());
                program.running().unwrap().urged = Some(signal);
            }
        }
        // Nothing is written to it any more, and nothing read.
        assert_eq!(program.write(&[]).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    #[ignore = "other tests would meet the children: .ci/run has them alone"]
    fn one_that_was_not_started_is_neither_read_nor_urged() {
        let launch = crate::Source::program("true").target;
        let crate::source::Target::Program(launch) = launch else { panic!("no program") };
        let mut program = Program::Waiting(launch);
        assert_eq!(program.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(program.write(&[]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert!(!program.urge() && !program.has_left_others() && program.exit_status().is_none());
    }
}
