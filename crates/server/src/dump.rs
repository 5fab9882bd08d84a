//! Core dumps: a dump of this process holds keys in clear, so there is none unless asked for.

/// Tells the system to write no core dump of this process (and to let no other process of the
/// same user read its memory). Two ways: a size of zero, which `/proc/PID/limits` shows, and a
/// mark that also holds where dumps go to a program.
pub fn forbid() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, Resource, Rlimit};
        use rustix::process::{set_dumpable_behavior, setrlimit};
        let none = Rlimit {
            current: Some(0),
            maximum: Some(0),
        };
        let size = setrlimit(Resource::Core, none);
        if let Err(error) = size.and(set_dumpable_behavior(DumpableBehavior::NotDumpable)) {
            tracing::warn!(%error, "cannot forbid core dumps");
        }
    }
}
