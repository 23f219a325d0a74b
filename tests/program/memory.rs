//! The program's memory, with many clients and without them.

use crate::common::Client;
use crate::program::Program;

/// Lets a hundred of these clients come and go again, a few times. While they are there each may take
/// 80 KiB; when they have gone nothing of it may be left.
pub fn is_given_back(program: &Program, come: impl Fn() -> Client) {
    const COUNT: usize = 100;
    let round = || {
        let clients: Vec<Client> = (0..COUNT).map(|_| come()).collect();
        let with_them = program.resident();
        for mut client in clients {
            client.end();
            client.wait_for_the_end();
        }
        with_them
    };
    // What is kept for the next ones is taken here.
    round();
    let before = program.resident();
    for _ in 0..3 {
        let with_them = round();
        assert!(with_them < before + COUNT * 80, "{before} KiB before, {with_them} KiB with them");
    }
    let after = program.resident();
    assert!(after < before + 2 * 1024, "{before} KiB before, {after} KiB after");
}
