//! Who works on a data folder: any number of gateways and commands, or one that changes its keys
//! and must be alone. The system forgets the lock of a process that dies.

use anyhow::{Context, Result, bail};
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Name of the file whose lock the one gateway of a data folder holds.
pub const SERVING_FILE: &str = "serving.lock";
/// Name of the lock's file in the data folder.
pub const LOCK_FILE: &str = "lock";

/// A hold on a data folder, until it is dropped.
#[derive(Debug)]
pub struct InUse {
    _file: File,
}

/// Works on the folder beside others.
///
/// # Errors
/// When somebody needs it alone, or the lock's file cannot be made.
pub fn shared(data_dir: &Path) -> Result<InUse> {
    let file = open(data_dir)?;
    match file.try_lock_shared() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => bail!(
            "`portunus vault rotate` is at work on {}: wait for its end",
            data_dir.display()
        ),
        // A file system without locks: only a rotation needs them, and it is refused there.
        Err(TryLockError::Error(error)) => tracing::debug!(%error, "no lock on the data folder"),
    }
    Ok(InUse { _file: file })
}

/// Works on the folder alone.
///
/// # Errors
/// When a gateway or a command works on it, or the file system has no locks.
pub fn alone(data_dir: &Path) -> Result<InUse> {
    let file = open(data_dir)?;
    match file.try_lock() {
        Ok(()) => Ok(InUse { _file: file }),
        Err(TryLockError::WouldBlock) => bail!(
            "a gateway (or another command) works on {}: stop it first",
            data_dir.display()
        ),
        Err(TryLockError::Error(error)) => Err(error)
            .with_context(|| format!("cannot lock {}", data_dir.join(LOCK_FILE).display())),
    }
}

/// Serves the folder as its only gateway: two would mark each other's calls as lost, and each
/// would keep what the other has changed in memory.
///
/// # Errors
/// When another gateway serves it, or the lock's file cannot be made.
pub fn serving(data_dir: &Path) -> Result<InUse> {
    let file = open_file(&data_dir.join(SERVING_FILE))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => bail!(
            "another gateway already serves the data folder {}: stop it first, or give this one \
             a folder of its own with --data-dir",
            data_dir.display()
        ),
        Err(TryLockError::Error(error)) => tracing::warn!(%error, "no lock on the data folder"),
    }
    Ok(InUse { _file: file })
}

fn open(data_dir: &Path) -> Result<File> {
    open_file(&data_dir.join(LOCK_FILE))
}

fn open_file(path: &Path) -> Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot open {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_gateway_beside_many_commands() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let (_command, first) = (shared(path).unwrap(), serving(path).unwrap());
        let error = serving(path).unwrap_err().to_string();
        assert!(error.contains(&path.display().to_string()), "{error}");
        drop(first);
        assert!(serving(path).is_ok());
    }

    #[test]
    fn many_or_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let (one, two) = (shared(path).unwrap(), shared(path).unwrap());
        assert!(alone(path).unwrap_err().to_string().contains("stop it"));
        drop((one, two));
        let single = alone(path).unwrap();
        assert!(shared(path).unwrap_err().to_string().contains("rotate"));
        drop(single);
        assert!(shared(path).is_ok());
    }
}
