use portunus_store::{
    CONFIG_VERSIONS, ConfigRow, DEFAULT_WORKSPACE_ID, Page, STATUS_ACTIVE, STATUS_INACTIVE, Store,
    StoreError,
};

use crate::rows::other_workspace;

crate::conformance! {
    a_config_is_read_as_it_was_written
    every_update_makes_a_version
    an_update_needs_the_next_version
    another_workspace_sees_nothing
    every_change_is_counted
    old_versions_make_room
}

fn row(workspace_id: &str, slug: &str) -> ConfigRow {
    ConfigRow {
        id: format!("config-{workspace_id}-{slug}"),
        workspace_id: workspace_id.to_owned(),
        slug: slug.to_owned(),
        name: "Main".to_owned(),
        is_default: true,
        status: STATUS_ACTIVE.to_owned(),
        version: 1,
        version_id: format!("version-1-{slug}"),
        owner_id: "admin".to_owned(),
        updated_by: "key-1".to_owned(),
        created_at_ms: 1_000,
        updated_at_ms: 2_000,
        config: r#"{"virtual_key": "a"}"#.to_owned(),
    }
}

fn next(row: &ConfigRow) -> ConfigRow {
    let version = row.version + 1;
    ConfigRow {
        version,
        version_id: format!("version-{version}-{}", row.slug),
        name: format!("Main {version}"),
        status: STATUS_INACTIVE.to_owned(),
        updated_by: "key-2".to_owned(),
        updated_at_ms: 3_000,
        config: format!(r#"{{"weight": {version}}}"#),
        ..row.clone()
    }
}

async fn versions(store: &dyn Store, row: &ConfigRow, page: Page) -> (Vec<ConfigRow>, i64) {
    let versions = store.config_versions(&row.workspace_id, &row.id, page);
    let versions = versions.await.unwrap();
    (versions.rows, versions.total)
}

async fn a_config_is_read_as_it_was_written(store: &dyn Store) {
    let row = row(DEFAULT_WORKSPACE_ID, "pc-a");
    store.insert_config(&row).await.unwrap();
    let by_slug = store.config_by_slug(DEFAULT_WORKSPACE_ID, "pc-a").await;
    assert_eq!(by_slug.unwrap().as_ref(), Some(&row));
    let by_id = store.config(DEFAULT_WORKSPACE_ID, &row.id).await.unwrap();
    assert_eq!(by_id.as_ref(), Some(&row));
    let listed = store.list_configs(DEFAULT_WORKSPACE_ID, Page::default());
    let listed = listed.await.unwrap();
    assert_eq!((listed.rows, listed.total), (vec![row.clone()], 1));
    let twin = ConfigRow {
        id: "config-twin".to_owned(),
        ..row
    };
    let error = store.insert_config(&twin).await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict("config")), "{error}");
}

async fn every_update_makes_a_version(store: &dyn Store) {
    let first = row(DEFAULT_WORKSPACE_ID, "pc-a");
    store.insert_config(&first).await.unwrap();
    let second = next(&first);
    assert!(store.update_config(&second).await.unwrap());
    let found = store.config(DEFAULT_WORKSPACE_ID, &first.id).await;
    assert_eq!(found.unwrap().as_ref(), Some(&second));
    let all = versions(store, &first, Page::default()).await;
    assert_eq!(all, (vec![second.clone(), first.clone()], 2));
    let page = Page {
        limit: 1,
        offset: 1,
    };
    let rest = versions(store, &first, page).await;
    assert_eq!(rest, (vec![first.clone()], 2));
    let gone = store.delete_config(DEFAULT_WORKSPACE_ID, &first.id).await;
    assert!(gone.unwrap());
    assert!(!store.update_config(&next(&second)).await.unwrap());
    let none = versions(store, &first, Page::default()).await;
    assert_eq!(none, (Vec::new(), 0));
}

async fn an_update_needs_the_next_version(store: &dyn Store) {
    let first = row(DEFAULT_WORKSPACE_ID, "pc-a");
    store.insert_config(&first).await.unwrap();
    let second = next(&first);
    assert!(store.update_config(&second).await.unwrap());
    for stale in [&second, &next(&next(&second))] {
        let error = store.update_config(stale).await.unwrap_err();
        assert!(matches!(error, StoreError::Conflict("config")), "{error}");
    }
    let (rows, _) = versions(store, &first, Page::default()).await;
    assert_eq!(rows, [second, first]);
}

async fn another_workspace_sees_nothing(store: &dyn Store) {
    let ours = row(DEFAULT_WORKSPACE_ID, "pc-a");
    store.insert_config(&ours).await.unwrap();
    let other = other_workspace(store).await;
    let theirs = store.config_by_slug(&other, "pc-a").await.unwrap();
    assert_eq!(theirs, None);
    assert_eq!(store.config(&other, &ours.id).await.unwrap(), None);
    let foreign = ConfigRow {
        workspace_id: other.clone(),
        ..next(&ours)
    };
    assert!(!store.update_config(&foreign).await.unwrap());
    assert!(!store.delete_config(&other, &ours.id).await.unwrap());
    let none = versions(store, &foreign, Page::default()).await;
    assert_eq!(none, (Vec::new(), 0));
    let listed = store.list_configs(&other, Page::default()).await.unwrap();
    assert_eq!((listed.rows, listed.total), (Vec::new(), 0));
    let kept = store.config(DEFAULT_WORKSPACE_ID, &ours.id).await;
    assert_eq!(kept.unwrap().as_ref(), Some(&ours));
    // The same slug in another workspace is another config.
    store.insert_config(&row(&other, "pc-a")).await.unwrap();
}

async fn every_change_is_counted(store: &dyn Store) {
    let first = row(DEFAULT_WORKSPACE_ID, "pc-a");
    let mut seen = store.config_changes();
    let mut grew = || {
        let now = store.config_changes();
        std::mem::replace(&mut seen, now) < now
    };
    store.insert_config(&first).await.unwrap();
    assert!(grew());
    store.update_config(&next(&first)).await.unwrap();
    assert!(grew());
    let id = &first.id;
    store.delete_config(DEFAULT_WORKSPACE_ID, id).await.unwrap();
    assert!(grew());
    store.config(DEFAULT_WORKSPACE_ID, id).await.unwrap();
    assert!(!grew());
}

async fn old_versions_make_room(store: &dyn Store) {
    let first = row(DEFAULT_WORKSPACE_ID, "pc-a");
    store.insert_config(&first).await.unwrap();
    let mut last = first.clone();
    for _ in 0..CONFIG_VERSIONS {
        last = next(&last);
        store.update_config(&last).await.unwrap();
    }
    let page = Page {
        limit: 1_000,
        offset: 0,
    };
    let (rows, total) = versions(store, &first, page).await;
    assert_eq!(total, CONFIG_VERSIONS);
    let numbers: Vec<_> = rows.iter().map(|row| row.version).collect();
    let expected: Vec<_> = (2..=last.version).rev().collect();
    assert_eq!(numbers, expected);
}
