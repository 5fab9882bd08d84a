//! The data folder, the master key and the admin token: given by the operator, else made on
//! first start, readable by this user alone.

use crate::settings::Settings;
use anyhow::{Context, Result, anyhow, bail};
use portunus_store::vault::KeyRing;
use portunus_store::{Store, UnlockError, Unlocked, api_key};
use secrecy::{ExposeSecret, SecretString};
use std::fs::{DirBuilder, File, OpenOptions, Permissions, set_permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Name of the master key's file in the data folder.
pub const MASTER_KEY_FILE: &str = "master-key";
/// Name of the admin token's file in the data folder.
pub const ADMIN_TOKEN_FILE: &str = "admin-token";
/// Shortest admin token that an operator may choose.
const ADMIN_TOKEN_MIN_BYTES: usize = 16;

/// Largest secret file that is read while the gateway works.
const SECRET_MAX_BYTES: u64 = 64 << 10;

/// Looks up environment variables; a function so that tests need no real environment.
pub type Environment<'a> = &'a (dyn Fn(&str) -> Option<String> + Sync);

/// A secret, and whether this start made it.
#[derive(Debug)]
pub struct Found {
    /// The secret.
    pub secret: SecretString,
    /// The file that was made for it just now.
    pub made: Option<PathBuf>,
}

/// Makes the data folder with mode 0700 when it is missing.
///
/// # Errors
/// When it cannot be made, or others may write to it.
pub fn data_dir(path: &Path) -> Result<()> {
    match DirBuilder::new().recursive(true).mode(0o700).create(path) {
        Ok(()) => {}
        Err(error) => bail!("cannot make the data folder {}: {error}", path.display()),
    }
    let mode = std::fs::metadata(path)?.permissions().mode();
    if mode & 0o022 != 0 {
        bail!(
            "others may write to the data folder {0}: chmod 700 {0}",
            path.display()
        );
    }
    if mode & 0o077 != 0 {
        let _best_effort = set_permissions(path, Permissions::from_mode(0o700));
    }
    Ok(())
}

/// The admin token: `PORTUNUS_ADMIN_TOKEN_FILE`, else `PORTUNUS_ADMIN_TOKEN`, else the data
/// folder's, which is made when it is missing.
///
/// # Errors
/// When a file cannot be read or made, or the token is shorter than 16 characters.
pub fn admin_token(data_dir: &Path, environment: Environment<'_>) -> Result<Found> {
    let found = match given("PORTUNUS_ADMIN_TOKEN", environment)? {
        Some(secret) => Found { secret, made: None },
        None => kept(&data_dir.join(ADMIN_TOKEN_FILE), new_token)?,
    };
    if found.secret.expose_secret().len() < ADMIN_TOKEN_MIN_BYTES {
        bail!(
            "the admin token is shorter than {ADMIN_TOKEN_MIN_BYTES} characters: choose a longer one"
        );
    }
    Ok(found)
}

/// The admin token for a client on this machine: as [`admin_token`], but none is made.
///
/// # Errors
/// When a file that is there cannot be read.
pub fn existing_admin_token(
    data_dir: &Path,
    environment: Environment<'_>,
) -> Result<Option<SecretString>> {
    match given("PORTUNUS_ADMIN_TOKEN", environment)? {
        Some(secret) => Ok(Some(secret)),
        None => read(&data_dir.join(ADMIN_TOKEN_FILE)),
    }
}

/// The master keys: `PORTUNUS_MASTER_KEY_FILE`, else `PORTUNUS_MASTER_KEY`, else the data
/// folder's, which is made when it is missing and `sealed` is false.
///
/// # Errors
/// When a file cannot be read or made, when the text is no key, and when the database holds
/// sealed values but no key is given.
pub fn master_key(
    data_dir: &Path,
    environment: Environment<'_>,
    sealed: bool,
) -> Result<(KeyRing, Found)> {
    let file = data_dir.join(MASTER_KEY_FILE);
    let found = match given("PORTUNUS_MASTER_KEY", environment)? {
        Some(secret) => Found { secret, made: None },
        None if sealed && !file.exists() => bail!(
            "the database holds sealed keys, but there is no master key: put {} back, or set \
             PORTUNUS_MASTER_KEY_FILE to the key that this database was made with",
            file.display()
        ),
        None => kept(&file, || KeyRing::generate().to_text())?,
    };
    let ring = KeyRing::parse(&found.secret).context("the master key cannot be used")?;
    Ok((ring, found))
}

/// The master keys that are there already; none is made.
///
/// # Errors
/// When a file cannot be read, and when the text is no key.
pub fn existing_master_key(
    data_dir: &Path,
    environment: Environment<'_>,
) -> Result<Option<KeyRing>> {
    let secret = match given("PORTUNUS_MASTER_KEY", environment)? {
        Some(secret) => Some(secret),
        None => read(&data_dir.join(MASTER_KEY_FILE))?,
    };
    let ring = secret.map(|secret| KeyRing::parse(&secret)).transpose();
    ring.context("the master key cannot be used")
}

/// The files of master key and admin token in the data folder that others can read, each with
/// what to do about it.
#[must_use]
pub fn open_secrets(data_dir: &Path) -> Vec<String> {
    let wide = |path: &PathBuf| {
        let found = std::fs::metadata(path);
        found.is_ok_and(|file| file.permissions().mode() & 0o077 != 0)
    };
    let files = [MASTER_KEY_FILE, ADMIN_TOKEN_FILE].map(|name| data_dir.join(name));
    let warning = |path: PathBuf| {
        format!(
            "warning: others may read {0}: chmod 600 {0}",
            path.display()
        )
    };
    files.into_iter().filter(wide).map(warning).collect()
}

/// Brings the database and its master keys together.
///
/// # Errors
/// When the database fails, and when no key fits it: then it says what to do.
pub async fn unlock(settings: &Settings, store: &dyn Store, ring: KeyRing) -> Result<Unlocked> {
    portunus_store::unlock(store, ring)
        .await
        .map_err(|error| match error {
            UnlockError::WrongKey(cause) => anyhow!(
                "the master key does not fit the database {} ({cause}): set \
                 PORTUNUS_MASTER_KEY_FILE to the key that it was made with, or start on an empty \
                 --data-dir",
                portunus_store::shown(&settings.database_url())
            ),
            other => other.into(),
        })
}

/// The file that [`master_key`] reads; `None` when the key is in `PORTUNUS_MASTER_KEY`.
#[must_use]
pub fn master_key_file(data_dir: &Path, environment: Environment<'_>) -> Option<PathBuf> {
    let named = environment("PORTUNUS_MASTER_KEY_FILE").filter(|path| !path.is_empty());
    match (named, environment("PORTUNUS_MASTER_KEY")) {
        (Some(path), _) => Some(path.into()),
        (None, Some(_)) => None,
        (None, None) => Some(data_dir.join(MASTER_KEY_FILE)),
    }
}

/// Puts another secret into a file, in one step that leaves the old or the new one.
///
/// # Errors
/// When a file cannot be made beside it, or not be put in its place.
pub fn replace(path: &Path, secret: &SecretString) -> Result<()> {
    let cannot = || format!("cannot change {}", path.display());
    // A link (a mounted secret, say) keeps its place; what it points to is replaced.
    let path = std::fs::canonicalize(path).with_context(cannot)?;
    let mut name = path.clone().into_os_string();
    name.push(".new");
    let beside = PathBuf::from(name);
    // Left by a process that was killed here.
    let _usually_none = std::fs::remove_file(&beside);
    write_new(&beside, secret).with_context(cannot)?;
    std::fs::rename(&beside, &path).with_context(cannot)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    // The rename is on disk when the folder is.
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .with_context(cannot)
}

/// A secret from `NAME_FILE`, else from `NAME`.
fn given(name: &str, environment: Environment<'_>) -> Result<Option<SecretString>> {
    let file_variable = format!("{name}_FILE");
    if let Some(path) = environment(&file_variable).filter(|path| !path.is_empty()) {
        let secret = read(Path::new(&path))?
            .with_context(|| format!("{file_variable}: there is no file {path}"))?;
        return Ok(Some(secret));
    }
    match environment(name) {
        Some(text) if text.trim().is_empty() => {
            bail!("{name} is set but empty: unset it or give it a value")
        }
        Some(text) => Ok(Some(SecretString::from(text.trim().to_owned()))),
        None => Ok(None),
    }
}

/// The secret in a file; `None` when there is no such file.
///
/// # Errors
/// When it cannot be read or is empty.
pub fn read(path: &Path) -> Result<Option<SecretString>> {
    match std::fs::read_to_string(path) {
        Ok(text) if text.trim().is_empty() => bail!("{} is empty", path.display()),
        Ok(text) => Ok(Some(SecretString::from(text.trim().to_owned()))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => bail!("cannot read {}: {error}", path.display()),
    }
}

/// As [`read`], for a file that is read while the gateway works: one that never ends, or that
/// waits for a writer, would stop it.
///
/// # Errors
/// Also when it is no regular file, or a large one.
pub fn read_at_work(path: &Path) -> Result<Option<SecretString>> {
    let odd = |about: std::fs::Metadata| !about.is_file() || about.len() > SECRET_MAX_BYTES;
    if std::fs::metadata(path).is_ok_and(odd) {
        bail!(
            "{} is no regular file of at most {SECRET_MAX_BYTES} bytes",
            path.display()
        );
    }
    read(path)
}

/// The secret in the file; makes both when the file is missing.
fn kept(path: &Path, make: impl FnOnce() -> SecretString) -> Result<Found> {
    if let Some(secret) = read(path)? {
        return Ok(Found { secret, made: None });
    }
    let secret = make();
    write_new(path, &secret).with_context(|| format!("cannot make {}", path.display()))?;
    Ok(Found {
        secret,
        made: Some(path.to_owned()),
    })
}

/// A file that only this user reads, on disk on return.
fn write_new(path: &Path, secret: &SecretString) -> std::io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(secret.expose_secret().as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}

/// 49 random base62 characters behind a prefix by which a scanner knows it.
fn new_token() -> SecretString {
    let minted = api_key::mint(&[0; 32]);
    let random = minted
        .secret
        .expose_secret()
        .rsplit('-')
        .next()
        .unwrap_or_default();
    SecretString::from(format!("pt-admin-{random}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing(_: &str) -> Option<String> {
        None
    }

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_file_that_never_ends_is_not_read_at_work() {
        assert!(read_at_work(Path::new("/dev/zero")).is_err());
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("key");
        assert!(read_at_work(&file).unwrap().is_none());
        std::fs::write(&file, " sk-1\n").unwrap();
        assert_eq!(
            read_at_work(&file).unwrap().unwrap().expose_secret(),
            "sk-1"
        );
        std::fs::write(&file, "x".repeat(70_000)).unwrap();
        assert!(read_at_work(&file).is_err());
    }

    #[test]
    fn first_start_makes_private_files_and_the_second_reads_them() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("a/b");
        data_dir(&dir).unwrap();
        assert_eq!(mode(&dir), 0o700);
        let token = admin_token(&dir, &nothing).unwrap();
        assert_eq!(mode(&token.made.unwrap()), 0o600);
        assert_eq!(token.secret.expose_secret().len(), "pt-admin-".len() + 49);
        let (_, key) = master_key(&dir, &nothing, false).unwrap();
        assert_eq!(mode(&key.made.unwrap()), 0o600);
        let again = admin_token(&dir, &nothing).unwrap();
        assert!(again.made.is_none());
        assert_eq!(again.secret.expose_secret(), token.secret.expose_secret());
        assert!(master_key(&dir, &nothing, true).unwrap().1.made.is_none());
    }

    #[test]
    fn a_secret_that_others_may_read_is_named() {
        let dir = tempfile::tempdir().unwrap();
        write_new(&dir.path().join(MASTER_KEY_FILE), &"one".into()).unwrap();
        let token = dir.path().join(ADMIN_TOKEN_FILE);
        write_new(&token, &"two".into()).unwrap();
        assert!(open_secrets(dir.path()).is_empty());
        set_permissions(&token, Permissions::from_mode(0o640)).unwrap();
        let [warning] = open_secrets(dir.path()).try_into().unwrap();
        assert!(warning.contains("admin-token: chmod 600"), "{warning}");
    }

    #[test]
    fn a_secret_is_replaced_in_one_step_and_stays_private() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("key"), dir.path().join("link"));
        write_new(&file, &"one".into()).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        // What a killed process has left does not disturb.
        std::fs::write(dir.path().join("key.new"), "half").unwrap();
        replace(&link, &"two".into()).unwrap();
        assert_eq!(read(&file).unwrap().unwrap().expose_secret(), "two");
        assert!(link.is_symlink());
        assert_eq!(mode(&file), 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
        assert!(replace(&dir.path().join("none"), &"x".into()).is_err());
    }

    #[test]
    fn a_lost_master_key_is_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let error = master_key(dir.path(), &nothing, true)
            .unwrap_err()
            .to_string();
        assert!(error.contains("PORTUNUS_MASTER_KEY_FILE"), "{error}");
        assert!(!dir.path().join(MASTER_KEY_FILE).exists());
    }

    #[test]
    fn given_ones_are_checked() {
        let dir = tempfile::tempdir().unwrap();
        let check = |name: &'static str, value: &'static str| {
            admin_token(dir.path(), &move |asked| {
                (asked == name).then(|| value.to_owned())
            })
            .unwrap_err()
            .to_string()
        };
        assert!(check("PORTUNUS_ADMIN_TOKEN", "").contains("empty"));
        assert!(check("PORTUNUS_ADMIN_TOKEN", "short").contains("shorter"));
        assert!(check("PORTUNUS_ADMIN_TOKEN_FILE", "/nowhere/x").contains("/nowhere/x"));
        assert!(!dir.path().join(ADMIN_TOKEN_FILE).exists());
    }

    #[test]
    fn a_folder_that_others_write_to_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        set_permissions(dir.path(), Permissions::from_mode(0o777)).unwrap();
        assert!(data_dir(dir.path()).is_err());
    }
}
