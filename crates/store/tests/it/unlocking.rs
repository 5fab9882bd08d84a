use portunus_store::vault::{KeyRing, OpenError};
use portunus_store::{
    DEFAULT_WORKSPACE_ID, Store, UnlockError, VirtualKeyRow, api_key, reseal, sealed_by, unlock,
};
use secrecy::ExposeSecret;

use crate::TempDatabase;
use crate::rows::{other_workspace, virtual_key};

crate::conformance! {
    the_first_key_is_the_key_of_the_database
    rotation_reseals_everything_and_api_keys_survive
    a_damaged_row_does_not_stop_a_rotation
}

fn pair(first: &KeyRing, second: &KeyRing) -> KeyRing {
    let (first, second) = (first.to_text(), second.to_text());
    let text = format!("{},{}", first.expose_secret(), second.expose_secret());
    KeyRing::parse(&text.into()).unwrap()
}

fn renamed(ring: &KeyRing, id: &str) -> KeyRing {
    let text = ring.to_text();
    let (_, key) = text.expose_secret().split_once(':').unwrap();
    KeyRing::parse(&format!("{id}:{key}").into()).unwrap()
}

async fn the_first_key_is_the_key_of_the_database(store: &dyn Store) {
    let ring = renamed(&KeyRing::generate(), "main");
    let pepper = unlock(store, ring.clone()).await.unwrap().pepper;
    assert_eq!(*unlock(store, ring).await.unwrap().pepper, *pepper);

    let unknown = unlock(store, renamed(&KeyRing::generate(), "other"))
        .await
        .unwrap_err();
    assert!(matches!(
        unknown,
        UnlockError::WrongKey(OpenError::UnknownKey { .. })
    ));
    let wrong = unlock(store, renamed(&KeyRing::generate(), "main"))
        .await
        .unwrap_err();
    assert!(matches!(
        wrong,
        UnlockError::WrongKey(OpenError::Damaged { .. })
    ));
    for error in [unknown, wrong] {
        let text = error.to_string();
        assert!(
            text.contains("'main'") && text.contains("start with the key"),
            "{text}"
        );
    }
}

/// A virtual key, sealed with the current key of `vault`.
async fn add(
    store: &dyn Store,
    vault: &portunus_store::vault::Vault,
    workspace_id: &str,
    slug: &str,
) -> VirtualKeyRow {
    let mut row = virtual_key(workspace_id, slug);
    let sealed = vault
        .seal(row.binding(), &format!("secret of {slug}").into())
        .unwrap();
    (row.key_id, row.sealed) = (sealed.key_id, sealed.bytes);
    store.insert_virtual_key(&row).await.unwrap();
    row
}

async fn rotation_reseals_everything_and_api_keys_survive(store: &dyn Store) {
    let (old, new) = (KeyRing::generate(), KeyRing::generate());
    let before = unlock(store, old.clone()).await.unwrap();
    let minted = api_key::mint(&before.pepper);
    let other = other_workspace(store).await;
    for (workspace_id, slug) in [(DEFAULT_WORKSPACE_ID, "a"), (&other, "a"), (&other, "b")] {
        add(store, &before.vault, workspace_id, slug).await;
    }
    let mut bare = virtual_key(DEFAULT_WORKSPACE_ID, "bare");
    (bare.key_id, bare.sealed) = Default::default();
    store.insert_virtual_key(&bare).await.unwrap();

    let both = unlock(store, pair(&new, &old)).await.unwrap();
    let report = reseal(store, &both.vault).await.unwrap();
    assert_eq!(
        (report.resealed, report.kept, report.failed.len()),
        (4, 1, 0)
    );
    let again = reseal(store, &both.vault).await.unwrap();
    assert_eq!((again.resealed, again.kept), (0, 5));

    let after = unlock(store, new).await.unwrap();
    let row = store
        .virtual_key_by_slug(&other, "b")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (row.version, row.key_id.as_str()),
        (2, after.vault.current_key_id())
    );
    let secret = after
        .vault
        .open(row.binding(), &row.credential().unwrap())
        .unwrap();
    assert_eq!(secret.expose_secret(), "secret of b");
    let parsed = api_key::parse(minted.secret.expose_secret()).unwrap();
    assert!(api_key::verify(&after.pepper, &parsed, &minted.hash));
    assert!(unlock(store, old).await.is_err());
}

async fn a_damaged_row_does_not_stop_a_rotation(store: &dyn Store) {
    let (old, new) = (KeyRing::generate(), KeyRing::generate());
    let before = unlock(store, old.clone()).await.unwrap();
    add(store, &before.vault, DEFAULT_WORKSPACE_ID, "a").await;
    let mut damaged = virtual_key(DEFAULT_WORKSPACE_ID, "damaged");
    damaged.key_id = before.vault.current_key_id().to_owned();
    store.insert_virtual_key(&damaged).await.unwrap();
    let both = unlock(store, pair(&new, &old)).await.unwrap();
    let report = reseal(store, &both.vault).await.unwrap();
    assert_eq!((report.resealed, report.failed.len()), (2, 1));
    assert!(report.failed[0].to_string().contains(&damaged.id));
}

/// Ids of the keys and how many values each has sealed.
async fn counts(store: &dyn Store, rings: [&KeyRing; 2]) -> [u64; 2] {
    let counts = sealed_by(store).await.unwrap();
    rings.map(|ring| {
        let id = ring.ids().next().unwrap();
        counts.get(id).copied().unwrap_or_default()
    })
}

#[tokio::test]
async fn a_rotation_that_broke_off_between_two_rows_goes_on() {
    let database = TempDatabase::new();
    let store = database.open().await;
    let (old, new) = (KeyRing::generate(), KeyRing::generate());
    let before = unlock(&*store, old.clone()).await.unwrap();
    for slug in ["a", "b", "c"] {
        add(&*store, &before.vault, DEFAULT_WORKSPACE_ID, slug).await;
    }
    // As if the process had died: the second row cannot be written.
    let raw = database.raw().await;
    let trigger = "CREATE TRIGGER stop BEFORE UPDATE ON virtual_keys WHEN NEW.slug = 'b' \
                   BEGIN SELECT RAISE(ABORT, 'stopped'); END";
    sqlx::query(trigger).execute(&raw).await.unwrap();
    let both = old.with_current(&new).unwrap();
    let vault = unlock(&*store, both.clone()).await.unwrap().vault;
    assert!(reseal(&*store, &vault).await.is_err());
    assert_eq!(counts(&*store, [&old, &new]).await, [3, 1]);

    // Meanwhile everything opens.
    let row = store.virtual_key_by_slug(DEFAULT_WORKSPACE_ID, "a").await;
    let row = row.unwrap().unwrap();
    assert!(
        vault
            .open(row.binding(), &row.credential().unwrap())
            .is_ok()
    );

    sqlx::query("DROP TRIGGER stop")
        .execute(&raw)
        .await
        .unwrap();
    let vault = unlock(&*store, both).await.unwrap().vault;
    let report = reseal(&*store, &vault).await.unwrap();
    assert_eq!((report.resealed, report.kept), (3, 1));
    assert_eq!(counts(&*store, [&old, &new]).await, [0, 4]);
    let after = unlock(&*store, new).await.unwrap();
    assert_eq!(*after.pepper, *before.pepper);
    for slug in ["a", "b", "c"] {
        let row = store.virtual_key_by_slug(DEFAULT_WORKSPACE_ID, slug).await;
        let row = row.unwrap().unwrap();
        let secret = after.vault.open(row.binding(), &row.credential().unwrap());
        assert_eq!(secret.unwrap().expose_secret(), format!("secret of {slug}"));
    }
}

#[tokio::test]
async fn processes_that_start_at_once_agree_on_one_pepper() {
    let database = TempDatabase::new();
    let ring = KeyRing::generate();
    let mut starts = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let (url, ring) = (database.url(), ring.clone());
        starts.spawn(async move {
            let store = portunus_store::open(&url).await.unwrap();
            *unlock(&*store, ring).await.unwrap().pepper
        });
    }
    let mut peppers = starts.join_all().await;
    peppers.dedup();
    assert_eq!(peppers.len(), 1);
}
