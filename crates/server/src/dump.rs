//! Core dumps: a dump of this process holds keys in clear, so there is none unless asked for.

/// Tells the system to write no core dump of this process (and to let no other process of the
/// same user read its memory).
pub fn forbid() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
            tracing::warn!(%error, "cannot forbid core dumps");
        }
    }
}
