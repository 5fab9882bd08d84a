use portunus_store::{ApiKeyRow, DEFAULT_WORKSPACE_ID, NewWorkspace, Page, Store, StoreError};

use crate::rows::{api_key, at, other_workspace};

crate::conformance! {
    there_is_a_default_workspace_and_more_can_be_made
    an_api_key_is_read_as_it_was_written
    an_update_replaces_all_but_owner_and_times
    lists_are_paged_in_order_of_making
    names_that_must_be_unique_are
    another_workspace_sees_nothing
    a_deleted_key_is_gone
}

async fn there_is_a_default_workspace_and_more_can_be_made(store: &dyn Store) {
    store.ping().await.unwrap();
    let first = store
        .workspace(DEFAULT_WORKSPACE_ID)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(first.slug, "default");
    let new = NewWorkspace {
        name: "Two".to_owned(),
        slug: "two".to_owned(),
    };
    let second = store.create_workspace(new.clone()).await.unwrap();
    assert!(second.id.starts_with("ws-"));
    assert_eq!(store.workspace(&second.id).await.unwrap().unwrap(), second);
    assert_eq!(store.list_workspaces().await.unwrap(), [first, second]);
    assert_eq!(store.workspace("ws-none").await.unwrap(), None);
    let again = store.create_workspace(new).await.unwrap_err();
    assert!(
        matches!(again, StoreError::Conflict("workspace")),
        "{again}"
    );
}

async fn an_api_key_is_read_as_it_was_written(store: &dyn Store) {
    let full = api_key(DEFAULT_WORKSPACE_ID, "full");
    let full = ApiKeyRow {
        rotated: full.rotated.map(|one| portunus_store::Rotated {
            grace_until: at(70),
            ..one
        }),
        ..full
    };
    let bare = ApiKeyRow {
        expires_at: None,
        last_used_at: None,
        rotated: None,
        created_at: at(1),
        ..api_key(DEFAULT_WORKSPACE_ID, "bare")
    };
    for row in [&full, &bare] {
        store.insert_api_key(row).await.unwrap();
        let by_id = store.api_key(DEFAULT_WORKSPACE_ID, &row.id).await.unwrap();
        assert_eq!(by_id.as_ref(), Some(row));
        assert_eq!(
            store.api_key_by_lookup(&row.lookup).await.unwrap().as_ref(),
            Some(row)
        );
    }
    let former = store.api_key_by_lookup("former-full").await.unwrap();
    assert_eq!(former, Some(full));
    assert_eq!(store.api_key_by_lookup("former-bare").await.unwrap(), None);
    assert_eq!(store.api_key_by_lookup("").await.unwrap(), None);
}

async fn an_update_replaces_all_but_owner_and_times(store: &dyn Store) {
    let row = api_key(DEFAULT_WORKSPACE_ID, "a");
    store.insert_api_key(&row).await.unwrap();
    assert!(
        store
            .touch_api_key(DEFAULT_WORKSPACE_ID, &row.id, at(60))
            .await
            .unwrap()
    );
    let changed = ApiKeyRow {
        id: row.id.clone(),
        status: "revoked".to_owned(),
        expires_at: None,
        rotated: None,
        created_at: at(900),
        last_used_at: None,
        ..api_key(DEFAULT_WORKSPACE_ID, "b")
    };
    assert!(store.update_api_key(&changed).await.unwrap());
    let found = store
        .api_key(DEFAULT_WORKSPACE_ID, &row.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        found,
        ApiKeyRow {
            created_at: at(0),
            last_used_at: Some(at(60)),
            ..changed
        }
    );
    assert_eq!(store.api_key_by_lookup("lookup-a").await.unwrap(), None);
    let missing = api_key(DEFAULT_WORKSPACE_ID, "missing");
    assert!(!store.update_api_key(&missing).await.unwrap());
}

async fn lists_are_paged_in_order_of_making(store: &dyn Store) {
    for (name, seconds) in [("b", 2), ("a", 1), ("c", 3)] {
        let row = ApiKeyRow {
            created_at: at(seconds),
            ..api_key(DEFAULT_WORKSPACE_ID, name)
        };
        store.insert_api_key(&row).await.unwrap();
    }
    let page = |limit, offset| store.list_api_keys(DEFAULT_WORKSPACE_ID, Page { limit, offset });
    for (limit, offset, expected) in [
        (2, 0, vec!["a", "b"]),
        (2, 2, vec!["c"]),
        (2, 4, vec![]),
        (0, 0, vec![]),
    ] {
        let listed = page(limit, offset).await.unwrap();
        let names: Vec<_> = listed.rows.iter().map(|row| row.name.as_str()).collect();
        assert_eq!((names, listed.total), (expected, 3));
    }
}

async fn names_that_must_be_unique_are(store: &dyn Store) {
    let row = api_key(DEFAULT_WORKSPACE_ID, "a");
    store.insert_api_key(&row).await.unwrap();
    let other = other_workspace(store).await;
    let same_lookup = ApiKeyRow {
        lookup: row.lookup.clone(),
        ..api_key(&other, "b")
    };
    for twin in [&row, &same_lookup] {
        let error = store.insert_api_key(twin).await.unwrap_err();
        assert!(matches!(error, StoreError::Conflict("API key")), "{error}");
    }
    let orphan = api_key("ws-none", "c");
    let error = store.insert_api_key(&orphan).await.unwrap_err();
    assert!(matches!(error, StoreError::NoParent("API key")), "{error}");
}

async fn another_workspace_sees_nothing(store: &dyn Store) {
    let row = api_key(DEFAULT_WORKSPACE_ID, "a");
    store.insert_api_key(&row).await.unwrap();
    let other = other_workspace(store).await;
    let stolen = ApiKeyRow {
        workspace_id: other.clone(),
        name: "mine".to_owned(),
        ..row.clone()
    };
    assert_eq!(store.api_key(&other, &row.id).await.unwrap(), None);
    assert_eq!(
        store
            .list_api_keys(&other, Page::default())
            .await
            .unwrap()
            .total,
        0
    );
    assert!(!store.update_api_key(&stolen).await.unwrap());
    assert!(!store.touch_api_key(&other, &row.id, at(5)).await.unwrap());
    assert!(!store.delete_api_key(&other, &row.id).await.unwrap());
    let found = store.api_key(DEFAULT_WORKSPACE_ID, &row.id).await.unwrap();
    assert_eq!(found, Some(row));
}

async fn a_deleted_key_is_gone(store: &dyn Store) {
    let row = api_key(DEFAULT_WORKSPACE_ID, "a");
    store.insert_api_key(&row).await.unwrap();
    assert!(
        store
            .delete_api_key(DEFAULT_WORKSPACE_ID, &row.id)
            .await
            .unwrap()
    );
    assert!(
        !store
            .delete_api_key(DEFAULT_WORKSPACE_ID, &row.id)
            .await
            .unwrap()
    );
    assert_eq!(store.api_key_by_lookup(&row.lookup).await.unwrap(), None);
}
