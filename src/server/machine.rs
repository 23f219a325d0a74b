//! What the machine, and the system on it, lets this process have.

/// How many descriptors this process may open.
pub(super) fn descriptors() -> usize {
    // Miri knows no such limit.
    if cfg!(miri) {
        return usize::MAX;
    }
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX)
}

/// Bytes of memory that the machine has, or the control group that this process is in, if that is
/// less; 1 GiB where the system does not tell.
pub(super) fn memory() -> usize {
    // Nor what the machine has.
    if cfg!(miri) {
        return usize::MAX;
    }
    const UNKNOWN: u64 = 1 << 30;
    let least = [machine(), control_group(), address_space()].into_iter().flatten().min();
    usize::try_from(least.unwrap_or(UNKNOWN)).unwrap_or(usize::MAX)
}

/// The limit of what this process may address (`ulimit -v`).
fn address_space() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::As).current
}

/// From the first line of `/proc/meminfo`, which only Linux has: `MemTotal:  24683704 kB`.
fn machine() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    kilobytes(text.lines().next()?)
}

fn kilobytes(line: &str) -> Option<u64> {
    let number = line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?.trim();
    number.parse::<u64>().ok()?.checked_mul(1024)
}

/// The tightest limit of the control group and of those that it is in: version 2, or version 1.
fn control_group() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let limits = groups.lines().flat_map(limit_files);
    limits.filter_map(|file| std::fs::read_to_string(file).ok()?.trim().parse().ok()).min()
}

/// The files with the limits that a line of `/proc/self/cgroup` names: `0::/a/b`, or
/// `4:memory:/a/b`.
fn limit_files(line: &str) -> Vec<String> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (folder, file) = match parts.next() {
        Some("") => ("/sys/fs/cgroup", "memory.max"),
        Some(kinds) if kinds.split(',').any(|kind| kind == "memory") => {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
        }
        _ => return Vec::new(),
    };
    let path = std::path::Path::new(parts.next().unwrap_or("/"));
    let path = path.ancestors().filter_map(|path| path.to_str());
    path.map(|path| format!("{folder}{}/{file}", path.trim_end_matches('/'))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_the_kernel_writes_them() {
        assert_eq!(kilobytes("MemTotal:       24683704 kB"), Some(24_683_704 * 1024));
        assert_eq!(kilobytes("MemFree:        24683704 kB"), None);
        assert_eq!(
            limit_files("0::/system.slice/wsloop.service"),
            [
                "/sys/fs/cgroup/system.slice/wsloop.service/memory.max",
                "/sys/fs/cgroup/system.slice/memory.max",
                "/sys/fs/cgroup/memory.max"
            ]
        );
        assert_eq!(
            limit_files("9:cpu,memory:/a"),
            [
                "/sys/fs/cgroup/memory/a/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes"
            ]
        );
        assert_eq!(limit_files("3:cpuset:/a"), [""; 0]);
    }

    #[test]
    fn there_is_some_memory() {
        assert!(memory() > 1 << 20);
    }
}
