//! The program with TLS: its files, when they are read, and what is said of them.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use crate::certificate::*;
use crate::common::*;
use crate::program::Program;
use rustix::process::Signal;

impl Certificate {
    /// Writes both files into a folder.
    fn put(&self, folder: &Scratch) -> [String; 2] {
        let path = |name: &str| folder.join(name).to_str().unwrap().to_string();
        let paths = [path("cert.pem"), path("key.pem")];
        fs::write(&paths[0], &self.cert).unwrap();
        fs::write(&paths[1], &self.key).unwrap();
        paths
    }
}

#[test]
fn a_hangup_has_the_files_read_again() {
    let folder = Scratch::new();
    let old = certificate();
    let [cert, key] = old.put(&folder);
    let program = Program::start(&["--tls-cert", &cert, "--tls-key", &key]);
    assert!(program.listening[0].starts_with("wss://"));
    let mut early = old.connect(program.addr());
    open(&mut early);

    fs::write(&cert, "nothing").unwrap();
    program.signal(Signal::HUP);
    program.logged("the certificate stays as it is");
    open(&mut old.connect(program.addr()));

    let new = certificate();
    new.put(&folder);
    program.signal(Signal::HUP);
    program.logged("the certificate was read anew");
    open(&mut new.connect(program.addr()));
    early.write_all(&masked(0x81, b"hi")).unwrap();
    expect(&mut early, b"\x81\x02hi");
}

#[test]
fn a_key_that_everybody_may_read_is_warned_of() {
    let folder = Scratch::new();
    let [cert, key] = certificate().put(&folder);
    for (mode, warned) in [(0o644, true), (0o640, false)] {
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
        let mut program = Program::start(&["--tls-cert", &cert, "--tls-key", &key]);
        program.signal(Signal::TERM);
        program.wait();
        let logged = program.all_logged();
        let about_it = |line: &&String| line.contains("everybody may read this private key");
        assert_eq!(logged.iter().filter(about_it).count(), usize::from(warned), "{logged:?}");
    }
}

#[test]
fn a_certificate_that_cannot_be_used_is_named() {
    let folder = Scratch::new();
    let (one, other) = (certificate(), certificate());
    let [cert, key] = one.put(&folder);
    let refused = |cert: &str, key: &str, said: &str| {
        let outcome = Program::run(&["--tls-cert", cert, "--tls-key", key]);
        assert_eq!(outcome.code, Some(1));
        assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
        assert!(outcome.stderr.contains(said), "{}", outcome.stderr);
        assert!(outcome.stderr.starts_with("wsloop: --tls-cert, --tls-key: "));
    };
    refused("/nowhere.pem", &key, "/nowhere.pem: No such file");
    refused(&key, &key, &format!("{key}: no certificate in it"));
    refused(&cert, &cert, &format!("{cert}: no private key in it"));
    fs::write(&key, &other.key).unwrap();
    refused(&cert, &key, &format!("{key}: "));
    let outcome = Program::run(&["--tls-cert", &cert]);
    assert_eq!(outcome.code, Some(2));
    assert!(outcome.stderr.contains("--tls-cert needs --tls-key"), "{}", outcome.stderr);
}

/// Handshakes that fail, and such as are left in the midst, give back what they took.
#[cfg(target_os = "linux")]
#[test]
fn handshakes_that_come_to_nothing_leave_no_memory_taken() {
    let folder = Scratch::new();
    let (known, unknown) = (certificate(), certificate());
    let [cert, key] = known.put(&folder);
    let program = Program::start(&["--tls-cert", &cert, "--tls-key", &key, "--quiet"]);
    // The first record of a hello that would have 64 KiB, the most that is taken in of one.
    let long = [b"\x16\x03\x01\x40\0\x01\0\xff\xfb".to_vec(), vec![3; 0x4000 - 4]].concat();
    crate::memory::is_given_back(&program, || {
        // This one does not trust the certificate, and says so.
        let mut stranger = unknown.connect(program.addr());
        assert!(stranger.conn.complete_io(&mut stranger.sock).is_err());
        let mut halfway = Client::connect(program.addr());
        halfway.send(&long);
        // It has been read when this one is served.
        open(&mut known.connect(program.addr()));
        halfway
    });
}
