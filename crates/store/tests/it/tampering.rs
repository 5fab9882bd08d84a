//! Somebody with write access to the database file.

use portunus_store::vault::{KeyRing, OpenError, Vault};
use portunus_store::{DEFAULT_WORKSPACE_ID, Store, VirtualKeyRow};
use secrecy::{ExposeSecret, SecretString};
use sqlx::SqlitePool;

use crate::TempDatabase;
use crate::rows::virtual_key;

/// Stores the keys `a` to `d`, each with the secret `secret of <slug>`.
async fn fill(store: &dyn Store, vault: &Vault) {
    for slug in ["a", "b", "c", "d"] {
        let mut row = virtual_key(DEFAULT_WORKSPACE_ID, slug);
        let sealed = vault
            .seal(row.binding(), &format!("secret of {slug}").into())
            .unwrap();
        (row.key_id, row.sealed) = (sealed.key_id, sealed.bytes);
        store.insert_virtual_key(&row).await.unwrap();
    }
}

async fn row(store: &dyn Store, slug: &str) -> VirtualKeyRow {
    store
        .virtual_key_by_slug(DEFAULT_WORKSPACE_ID, slug)
        .await
        .unwrap()
        .unwrap()
}

async fn open(store: &dyn Store, vault: &Vault, slug: &str) -> Result<SecretString, OpenError> {
    let row = row(store, slug).await;
    vault.open(row.binding(), &row.credential().unwrap())
}

async fn run(raw: &SqlitePool, sql: &'static str) {
    let done = sqlx::query(sql).execute(raw).await.unwrap();
    assert!(done.rows_affected() > 0, "{sql}");
}

#[tokio::test]
async fn changed_rows_fail_by_name_and_the_others_keep_working() {
    let database = TempDatabase::new();
    let store = database.open().await;
    let ring = KeyRing::generate();
    let vault = Vault::new(ring);
    fill(&*store, &vault).await;
    let old_version = row(&*store, "c").await;

    let raw = database.raw().await;
    // Row a gets b's ciphertext; c is rolled back below; in d the last byte is cut off.
    run(
        &raw,
        "UPDATE virtual_keys SET sealed = (SELECT sealed FROM virtual_keys WHERE slug = 'b') \
         WHERE slug = 'a'",
    )
    .await;
    run(
        &raw,
        "UPDATE virtual_keys SET sealed = substr(sealed, 1, length(sealed) - 1) WHERE slug = 'd'",
    )
    .await;
    let mut fresh = old_version.clone();
    fresh.version += 1;
    fresh.sealed = vault
        .seal(fresh.binding(), &"new secret".into())
        .unwrap()
        .bytes;
    assert!(store.update_virtual_key(&fresh).await.unwrap());
    sqlx::query("UPDATE virtual_keys SET sealed = $1 WHERE slug = 'c'")
        .bind(&old_version.sealed)
        .execute(&raw)
        .await
        .unwrap();

    for slug in ["a", "c", "d"] {
        let error = open(&*store, &vault, slug).await.unwrap_err();
        assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(vault.current_key_id()), "{text}");
        assert!(text.contains(&row(&*store, slug).await.id), "{text}");
    }
    assert_eq!(
        open(&*store, &vault, "b").await.unwrap().expose_secret(),
        "secret of b"
    );
}

#[tokio::test]
async fn a_credential_that_was_emptied_is_damaged_and_not_absent() {
    let database = TempDatabase::new();
    let store = database.open().await;
    let vault = Vault::new(KeyRing::generate());
    fill(&*store, &vault).await;
    run(
        &database.raw().await,
        "UPDATE virtual_keys SET sealed = x'' WHERE slug = 'a'",
    )
    .await;
    assert!(open(&*store, &vault, "a").await.is_err());
}

#[tokio::test]
async fn no_secret_is_in_any_file_of_the_database() {
    let database = TempDatabase::new();
    let store = database.open().await;
    let ring = KeyRing::generate();
    let key = ring.to_text();
    let unlocked = portunus_store::unlock(&*store, ring).await.unwrap();
    fill(&*store, &unlocked.vault).await;
    let minted = portunus_store::api_key::mint(&unlocked.pepper);
    let mut api_key = crate::rows::api_key(DEFAULT_WORKSPACE_ID, "a");
    (api_key.lookup, api_key.hash) = (minted.lookup.clone(), minted.hash);
    store.insert_api_key(&api_key).await.unwrap();

    let mut found_lookup = false;
    for entry in std::fs::read_dir(database.path().parent().unwrap()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        let has = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
        let secret = minted.secret.expose_secret();
        assert!(!has(b"secret of"));
        assert!(!has(&secret.as_bytes()[16..]));
        assert!(!has(key
            .expose_secret()
            .split_once(':')
            .unwrap()
            .1
            .as_bytes()));
        assert!(!has(&unlocked.pepper[..]));
        let digits: String = unlocked
            .pepper
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert!(!has(digits.as_bytes()));
        found_lookup |= has(minted.lookup.as_bytes());
    }
    assert!(found_lookup, "the search must find what is there");
}

#[tokio::test]
async fn a_value_that_cannot_be_read_is_an_error_of_its_row_only() {
    let database = TempDatabase::new();
    let store = database.open().await;
    for slug in ["a", "b"] {
        store
            .insert_virtual_key(&virtual_key(DEFAULT_WORKSPACE_ID, slug))
            .await
            .unwrap();
    }
    run(
        &database.raw().await,
        "UPDATE virtual_keys SET settings = '{' WHERE slug = 'a'",
    )
    .await;
    let error = store
        .virtual_key_by_slug(DEFAULT_WORKSPACE_ID, "a")
        .await
        .unwrap_err();
    assert!(error.to_string().contains("settings"), "{error}");
    row(&*store, "b").await;
}
