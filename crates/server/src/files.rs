//! File descriptors: as many as the system gives, and never all of them for callers.

/// What is kept for the database's files, the probes, the commands of this machine and the odd
/// file that is read.
#[cfg(target_os = "linux")]
const RESERVE: u64 = 32;
/// Descriptors of one connection: its own, and one to a provider or an MCP server.
#[cfg(target_os = "linux")]
const EACH: u64 = 2;

/// Raises the process's limit as far as the system lets it.
pub fn raise() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let found = getrlimit(Resource::Nofile);
        let highest = Rlimit {
            current: found.maximum,
            maximum: found.maximum,
        };
        if let Err(error) = setrlimit(Resource::Nofile, highest) {
            tracing::debug!(%error, "the limit of file descriptors stays");
        }
    }
}

/// How many connections of callers may be open: what is wanted, or what the limit leaves room for.
/// Beyond that they wait to be accepted, so that what has been accepted finds the descriptors that
/// its answer needs, and the probes answer too.
#[must_use]
pub fn connections(wanted: usize) -> usize {
    #[cfg(target_os = "linux")]
    if let Some(limit) = rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
        let room = usize::try_from(room(limit, open())).unwrap_or(usize::MAX);
        if room < wanted {
            tracing::warn!(
                limit,
                connections = room,
                "the limit of file descriptors (ulimit -n) leaves no room for limits.connections"
            );
            return room;
        }
    }
    wanted
}

/// Connections that fit beside `open` descriptors; one in any case.
#[cfg(target_os = "linux")]
fn room(limit: u64, open: u64) -> u64 {
    (limit.saturating_sub(open + RESERVE) / EACH).max(1)
}

#[cfg(target_os = "linux")]
fn open() -> u64 {
    std::fs::read_dir("/proc/self/fd").map_or(RESERVE, |found| found.count() as u64)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_the_rest() {
        for (limit, open, expected) in [(20_000, 30, 9_969), (64, 20, 6), (64, 60, 1), (10, 50, 1)]
        {
            assert_eq!(room(limit, open), expected, "{limit} {open}");
        }
    }
}
