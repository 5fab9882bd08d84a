use portunus_store::{DEFAULT_WORKSPACE_ID, Page, Store, StoreError, VirtualKeyRow};

use crate::rows::{at, other_workspace, virtual_key};

crate::conformance! {
    a_virtual_key_is_read_as_it_was_written
    a_slug_is_unique_in_its_workspace
    an_update_needs_the_right_version
    another_workspace_sees_nothing
    every_change_is_counted
}

async fn a_virtual_key_is_read_as_it_was_written(store: &dyn Store) {
    let full = virtual_key(DEFAULT_WORKSPACE_ID, "full");
    let bare = VirtualKeyRow {
        custom_host: None,
        expires_at: None,
        sealed: Vec::new(),
        key_id: String::new(),
        created_at: at(5),
        ..virtual_key(DEFAULT_WORKSPACE_ID, "bare")
    };
    for row in [&full, &bare] {
        store.insert_virtual_key(row).await.unwrap();
        let by_slug = store
            .virtual_key_by_slug(DEFAULT_WORKSPACE_ID, &row.slug)
            .await
            .unwrap();
        assert_eq!(by_slug.as_ref(), Some(row));
        let by_id = store
            .virtual_key(DEFAULT_WORKSPACE_ID, &row.id)
            .await
            .unwrap();
        assert_eq!(by_id.as_ref(), Some(row));
    }
    assert!(full.credential().is_some());
    assert!(bare.credential().is_none());
    let listed = store
        .list_virtual_keys(DEFAULT_WORKSPACE_ID, Page::default())
        .await
        .unwrap();
    assert_eq!((listed.rows, listed.total), (vec![full.clone(), bare], 2));
    assert!(
        store
            .delete_virtual_key(DEFAULT_WORKSPACE_ID, &full.id)
            .await
            .unwrap()
    );
    assert!(
        !store
            .delete_virtual_key(DEFAULT_WORKSPACE_ID, &full.id)
            .await
            .unwrap()
    );
    assert_eq!(
        store
            .virtual_key_by_slug(DEFAULT_WORKSPACE_ID, "full")
            .await
            .unwrap(),
        None
    );
}

async fn a_slug_is_unique_in_its_workspace(store: &dyn Store) {
    let row = virtual_key(DEFAULT_WORKSPACE_ID, "openai");
    store.insert_virtual_key(&row).await.unwrap();
    let other = other_workspace(store).await;
    let theirs = virtual_key(&other, "openai");
    store.insert_virtual_key(&theirs).await.unwrap();
    let twin = VirtualKeyRow {
        id: "vk-2".to_owned(),
        ..row.clone()
    };
    let error = store.insert_virtual_key(&twin).await.unwrap_err();
    assert!(
        matches!(error, StoreError::Conflict("virtual key")),
        "{error}"
    );
    let second = virtual_key(DEFAULT_WORKSPACE_ID, "second");
    store.insert_virtual_key(&second).await.unwrap();
    let renamed = VirtualKeyRow {
        slug: "openai".to_owned(),
        ..second
    };
    let error = store.update_virtual_key(&renamed).await.unwrap_err();
    assert!(
        matches!(error, StoreError::Conflict("virtual key")),
        "{error}"
    );
    assert_eq!(
        store.virtual_key_by_slug(&other, "openai").await.unwrap(),
        Some(theirs)
    );
}

async fn an_update_needs_the_right_version(store: &dyn Store) {
    let row = virtual_key(DEFAULT_WORKSPACE_ID, "a");
    store.insert_virtual_key(&row).await.unwrap();
    let renamed = VirtualKeyRow {
        name: "New".to_owned(),
        updated_at: at(7),
        expires_at: None,
        ..row.clone()
    };
    assert!(store.update_virtual_key(&renamed).await.unwrap());
    let fresh = VirtualKeyRow {
        sealed: vec![7],
        version: 2,
        ..renamed.clone()
    };
    assert!(store.update_virtual_key(&fresh).await.unwrap());
    let conflicting = [
        // Read before the credential changed.
        renamed.clone(),
        // A second writer of version 2, and one who forgot to raise it.
        VirtualKeyRow {
            sealed: vec![8],
            version: 2,
            ..renamed
        },
        VirtualKeyRow {
            version: 4,
            ..fresh.clone()
        },
    ];
    for row in &conflicting {
        let error = store.update_virtual_key(row).await.unwrap_err();
        assert!(
            matches!(error, StoreError::Conflict("virtual key")),
            "{error}"
        );
    }
    let found = store
        .virtual_key(DEFAULT_WORKSPACE_ID, &row.id)
        .await
        .unwrap();
    assert_eq!(found, Some(fresh));
    let missing = virtual_key(DEFAULT_WORKSPACE_ID, "missing");
    assert!(!store.update_virtual_key(&missing).await.unwrap());
}

async fn another_workspace_sees_nothing(store: &dyn Store) {
    let row = virtual_key(DEFAULT_WORKSPACE_ID, "a");
    store.insert_virtual_key(&row).await.unwrap();
    let other = other_workspace(store).await;
    let stolen = VirtualKeyRow {
        workspace_id: other.clone(),
        ..row.clone()
    };
    assert_eq!(store.virtual_key(&other, &row.id).await.unwrap(), None);
    assert_eq!(store.virtual_key_by_slug(&other, "a").await.unwrap(), None);
    assert_eq!(
        store
            .list_virtual_keys(&other, Page::default())
            .await
            .unwrap()
            .total,
        0
    );
    assert!(!store.update_virtual_key(&stolen).await.unwrap());
    assert!(!store.delete_virtual_key(&other, &row.id).await.unwrap());
    let found = store
        .virtual_key(DEFAULT_WORKSPACE_ID, &row.id)
        .await
        .unwrap();
    assert_eq!(found, Some(row));
}

async fn every_change_is_counted(store: &dyn Store) {
    let mut row = virtual_key(DEFAULT_WORKSPACE_ID, "a");
    let start = store.virtual_key_changes();
    store.insert_virtual_key(&row).await.unwrap();
    let inserted = store.virtual_key_changes();
    row.note = "changed".to_owned();
    assert!(store.update_virtual_key(&row).await.unwrap());
    let updated = store.virtual_key_changes();
    let read = store.virtual_key_by_slug(DEFAULT_WORKSPACE_ID, "a").await;
    assert_eq!(read.unwrap(), Some(row.clone()));
    assert_eq!(store.virtual_key_changes(), updated);
    let id = &row.id;
    assert!(
        store
            .delete_virtual_key(DEFAULT_WORKSPACE_ID, id)
            .await
            .unwrap()
    );
    let deleted = store.virtual_key_changes();
    assert!(start < inserted && inserted < updated && updated < deleted);
}
