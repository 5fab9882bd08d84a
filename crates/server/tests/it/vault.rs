//! Rotating the master key: through the command, with the process killed at every stage.

use portunus_store::api_key::Minted;
use portunus_store::vault::{KeyRing, Vault};
use portunus_store::{DEFAULT_WORKSPACE_ID, Page, Store, VirtualKeyRow, api_key, reseal, unlock};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;
use tempfile::TempDir;

const SLUGS: [&str; 3] = ["a", "b", "c"];

/// A data folder with three virtual keys; the hash of an API key hangs on its pepper.
struct House {
    folder: TempDir,
    old: KeyRing,
    minted: Minted,
}

impl House {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let old = KeyRing::generate();
        let store = store_in(&folder).await;
        let unlocked = unlock(&*store, old.clone()).await.unwrap();
        for slug in SLUGS {
            let secret = format!("secret of {slug}").into();
            let row = sealed(&unlocked.vault, row(slug), &secret);
            store.insert_virtual_key(&row).await.unwrap();
        }
        store.close().await;
        let minted = api_key::mint(&unlocked.pepper);
        let house = Self {
            folder,
            old,
            minted,
        };
        house.write("master-key", &house.old);
        house
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, ring: &KeyRing) {
        std::fs::write(self.file(name), ring.to_text().expose_secret()).unwrap();
    }

    fn kept(&self) -> KeyRing {
        let text = std::fs::read_to_string(self.file("master-key")).unwrap();
        KeyRing::parse(&text.into()).unwrap()
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portunus"));
        command
            .env_clear()
            .current_dir(self.folder.path())
            .arg("vault")
            .args(words)
            .args(["-o", "json", "--data-dir"])
            .arg(self.folder.path());
        command
    }

    fn vault(&self, words: &[&str]) -> Value {
        let output = self.command(words).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Everything opens with the one key of the file, and nothing with the old one.
    async fn check(&self) {
        let kept = self.kept();
        assert_eq!(kept.ids().count(), 1);
        assert_ne!(kept.check_value(), self.old.check_value());
        let store = store_in(&self.folder).await;
        assert!(unlock(&*store, self.old.clone()).await.is_err());
        let unlocked = unlock(&*store, kept).await.unwrap();
        let page = Page::default();
        let listed = store.list_virtual_keys(DEFAULT_WORKSPACE_ID, page).await;
        let rows = listed.unwrap().rows;
        assert_eq!(rows.len(), SLUGS.len());
        for row in rows {
            let secret = open(&unlocked.vault, &row);
            assert_eq!(secret.expose_secret(), format!("secret of {}", row.slug));
        }
        let parsed = api_key::parse(self.minted.secret.expose_secret()).unwrap();
        assert!(api_key::verify(
            &unlocked.pepper,
            &parsed,
            &self.minted.hash
        ));
        store.close().await;
    }
}

async fn store_in(folder: &TempDir) -> Arc<dyn Store> {
    let path = folder.path().join("portunus.db");
    let url = format!("sqlite://{}", path.display());
    portunus_store::open(&url).await.unwrap()
}

fn row(slug: &str) -> VirtualKeyRow {
    VirtualKeyRow {
        id: format!("vk-{slug}"),
        workspace_id: DEFAULT_WORKSPACE_ID.to_owned(),
        slug: slug.to_owned(),
        name: slug.to_owned(),
        provider: "groq".to_owned(),
        custom_host: None,
        note: String::new(),
        status: portunus_store::STATUS_ACTIVE.to_owned(),
        sealed: Vec::new(),
        key_id: String::new(),
        version: 1,
        masked: String::new(),
        settings: json!({}),
        created_at: portunus_store::now(),
        updated_at: portunus_store::now(),
        expires_at: None,
    }
}

fn sealed(vault: &Vault, mut row: VirtualKeyRow, secret: &SecretString) -> VirtualKeyRow {
    let sealed = vault.seal(row.binding(), secret).unwrap();
    (row.key_id, row.sealed) = (sealed.key_id, sealed.bytes);
    row
}

fn open(vault: &Vault, row: &VirtualKeyRow) -> SecretString {
    let sealed = row.credential().unwrap();
    vault.open(row.binding(), &sealed).unwrap()
}

#[tokio::test]
async fn a_rotation_leaves_one_new_key_that_opens_everything() {
    let house = House::new().await;
    let before = house.vault(&["status"]);
    assert_eq!(before["keys"][0]["sealed"], 4);
    assert_eq!(before["behind"], 0);
    let rehearsed = house.vault(&["rotate", "--dry-run"]);
    assert_eq!(rehearsed["to_reseal"], 4);
    assert_eq!(house.kept().check_value(), house.old.check_value());

    let done = house.vault(&["rotate"]);
    assert_eq!((&done["resealed"], &done["behind"]), (&json!(4), &json!(0)));
    assert_eq!(done["keys"].as_array().unwrap().len(), 1);
    house.check().await;

    let own = KeyRing::generate();
    house.write("own", &own);
    let words = ["rotate", "--new-key-file", "own"];
    assert_eq!(house.vault(&words)["resealed"], 4);
    assert_eq!(house.kept().check_value(), own.check_value());
    house.check().await;
    assert_eq!(house.vault(&words)["resealed"], 0);
}

#[tokio::test]
async fn a_rotation_that_was_killed_goes_on_where_it_stopped() {
    // Killed after the key's file was written, after two rows more, before the old key left.
    for done_rows in [0, 2, 4] {
        let house = House::new().await;
        let both = house.old.with_current(&KeyRing::generate()).unwrap();
        house.write("master-key", &both);
        let store = store_in(&house.folder).await;
        let vault = unlock(&*store, both.clone()).await.unwrap().vault;
        for slug in SLUGS.iter().take(done_rows) {
            let found = store.virtual_key_by_slug(DEFAULT_WORKSPACE_ID, slug).await;
            let mut row = found.unwrap().unwrap();
            let secret = open(&vault, &row);
            row.version += 1;
            let row = sealed(&vault, row, &secret);
            assert!(store.update_virtual_key(&row).await.unwrap());
        }
        if done_rows == 4 {
            reseal(&*store, &vault).await.unwrap();
        }
        store.close().await;
        let status = house.vault(&["status"]);
        assert_eq!(status["behind"], 4 - done_rows, "{status}");
        assert_eq!(status["keys"][1]["state"], "older");

        let done = house.vault(&["rotate"]);
        assert_eq!(done["resealed"], 4 - done_rows);
        assert_eq!(
            house.kept().to_text().expose_secret(),
            both.current_only().to_text().expose_secret()
        );
        house.check().await;
    }
}

#[tokio::test]
async fn what_does_not_open_keeps_the_old_key() {
    let house = House::new().await;
    let store = store_in(&house.folder).await;
    let mut odd = row("odd");
    house.old.ids().next().unwrap().clone_into(&mut odd.key_id);
    odd.sealed = vec![1; 60];
    store.insert_virtual_key(&odd).await.unwrap();
    store.close().await;
    let output = house.command(&["rotate"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let done: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(done["failed"][0].as_str().unwrap().contains("vk-odd"));
    assert_eq!((&done["resealed"], &done["behind"]), (&json!(4), &json!(1)));
    assert_eq!(house.kept().ids().count(), 2);

    // Once the row is gone, so is the need.
    let store = store_in(&house.folder).await;
    let gone = store.delete_virtual_key(DEFAULT_WORKSPACE_ID, "vk-odd");
    assert!(gone.await.unwrap());
    store.close().await;
    assert_eq!(house.vault(&["rotate"])["resealed"], 0);
    house.check().await;
}

fn refused(output: &Output, part: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(part), "{said}");
}

#[tokio::test]
async fn a_rotation_wants_the_folder_alone_and_a_key_that_it_can_change() {
    let house = House::new().await;
    let hold = portunus::in_use::shared(house.folder.path()).unwrap();
    refused(
        &house.command(&["rotate"]).output().unwrap(),
        "stop it first",
    );
    drop(hold);

    let with = |ring: &KeyRing| {
        let text = ring.to_text();
        let mut command = house.command(&["rotate"]);
        command.env("PORTUNUS_MASTER_KEY", text.expose_secret());
        command.output().unwrap()
    };
    refused(&with(&house.old), "new:BASE64,old:BASE64");
    refused(&with(&KeyRing::generate()), "does not fit");
    let both = house.old.with_current(&KeyRing::generate()).unwrap();
    let done: Value = serde_json::from_slice(&with(&both).stdout).unwrap();
    assert_eq!((&done["resealed"], &done["behind"]), (&json!(4), &json!(0)));
    // The variable is the operator's to change; the file in the folder was not looked at.
    assert_eq!(house.kept().check_value(), house.old.check_value());
    house.write("master-key", &both.current_only());
    house.check().await;
}
