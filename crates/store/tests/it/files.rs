use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use portunus_store::log_writer::{LogSettings, LogWriter};
use portunus_store::{DEFAULT_WORKSPACE_ID, LogFilter, StoreError, open};
use tokio_util::task::TaskTracker;

use crate::TempDatabase;
use crate::rows::{api_key, at, full_log, small_log, virtual_key};

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn the_files_are_for_their_owner_only() {
    let database = TempDatabase::new();
    let store = database.open().await;
    store
        .insert_logs(vec![full_log(DEFAULT_WORKSPACE_ID, "log-1")])
        .await
        .unwrap();
    let folder = database.path();
    let files: Vec<_> = std::fs::read_dir(folder.parent().unwrap())
        .unwrap()
        .collect();
    assert!(files.len() >= 2, "database and write-ahead log");
    for file in files {
        let path = file.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    store.close().await;
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o644)).unwrap();
    database.open().await;
    assert_eq!(mode(&folder), 0o600);
}

#[tokio::test]
async fn everything_is_there_after_reopening() {
    let database = TempDatabase::new();
    let key = api_key(DEFAULT_WORKSPACE_ID, "a");
    let virtual_key = virtual_key(DEFAULT_WORKSPACE_ID, "a");
    let log = full_log(DEFAULT_WORKSPACE_ID, "log-1");
    {
        let store = database.open().await;
        store.insert_api_key(&key).await.unwrap();
        store.insert_virtual_key(&virtual_key).await.unwrap();
        store.insert_logs(vec![log.clone()]).await.unwrap();
        store.close().await;
    }
    let store = database.open().await;
    assert_eq!(
        store.api_key(DEFAULT_WORKSPACE_ID, &key.id).await.unwrap(),
        Some(key)
    );
    let found = store
        .virtual_key_by_slug(DEFAULT_WORKSPACE_ID, "a")
        .await
        .unwrap();
    assert_eq!(found, Some(virtual_key));
    assert_eq!(
        store.log(DEFAULT_WORKSPACE_ID, "log-1").await.unwrap(),
        Some(log)
    );
    assert_eq!(store.list_workspaces().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_log_of_the_first_schema_is_kept() {
    let database = TempDatabase::new();
    std::fs::write(database.path(), "").unwrap();
    let raw = database.raw().await;
    for text in [
        include_str!("../../migrations/sqlite/0001_init.sql"),
        include_str!("first_schema.sql"),
    ] {
        sqlx::raw_sql(text).execute(&raw).await.unwrap();
    }
    raw.close().await;
    let store = database.open().await;
    let found = store.log(DEFAULT_WORKSPACE_ID, "log-1").await.unwrap();
    let log = found.unwrap();
    assert_eq!((log.request.created_at_ms, log.request.attempts), (7, 2));
    assert_eq!(log.request.notes, ["n"]);
    let codes: Vec<_> = log.attempts.iter().map(|row| row.status_code).collect();
    assert_eq!(codes, [Some(429), Some(200)]);
    assert_eq!(log.turns[0].input_tokens, Some(5));
    assert!(log.tool_lists[0].cached);
    assert_eq!(log.tool_lists[0].warnings, ["w"]);
    assert_eq!(
        log.tool_calls[0].arguments.as_deref(),
        Some(r#"{"quote":"\""}"#)
    );
    for (server, tool, expected) in [
        (Some("files"), Some("read"), 1),
        (Some("files"), None, 1),
        (None, Some("read"), 1),
        (Some("other"), Some("read"), 0),
    ] {
        let filter = LogFilter {
            mcp_server: server.map(str::to_owned),
            mcp_tool: tool.map(str::to_owned),
            ..LogFilter::default()
        };
        let listed = store
            .list_logs(DEFAULT_WORKSPACE_ID, &filter, 10, None)
            .await;
        let (listed, _) = listed.unwrap();
        assert_eq!(listed.len(), expected, "{server:?} {tool:?}");
        assert!(listed.iter().all(|row| row.tool_lists == 1));
    }
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let database = TempDatabase::new();
    let store = database.open().await;
    store.close().await;
    let error = store.ping().await.unwrap_err();
    assert!(error.is_transient(), "{error}");
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let database = TempDatabase::new();
    database.open().await.close().await;
    sqlx::query("PRAGMA user_version = 99")
        .execute(&database.raw().await)
        .await
        .unwrap();
    let Err(error) = open(&database.url()).await else {
        panic!("it opened")
    };
    assert!(matches!(error, StoreError::NewerSchema { found: 99, .. }));
    let text = error.to_string();
    assert!(
        text.contains("99") && text.contains("newer Portunus"),
        "{text}"
    );
}

#[tokio::test]
async fn what_cannot_be_opened_is_named() {
    let database = TempDatabase::new();
    let missing = database.path().join("no/such/folder.db");
    for (url, expected) in [
        (format!("sqlite://{}", missing.display()), "folder.db"),
        ("postgres://127.0.0.1:1/x".to_owned(), "not available"),
        (
            "postgres://127.0.0.1:x/x".to_owned(),
            "postgres://user@host/name",
        ),
        ("mysql://localhost/x".to_owned(), "expected sqlite://"),
        ("portunus.db".to_owned(), "expected sqlite://"),
        (String::new(), "expected sqlite://"),
    ] {
        let Err(error) = open(&url).await else {
            panic!("{url} opened")
        };
        assert!(error.to_string().contains(expected), "{error}");
    }
    std::fs::write(database.path(), "this is no database, but a longer text").unwrap();
    assert!(open(&database.url()).await.is_err());
    assert_eq!(std::fs::read(database.path()).unwrap()[..7], *b"this is");
}

#[tokio::test]
async fn two_memory_databases_have_nothing_in_common() {
    let one = open("sqlite::memory:").await.unwrap();
    let two = open("sqlite::memory:").await.unwrap();
    one.insert_api_key(&api_key(DEFAULT_WORKSPACE_ID, "a"))
        .await
        .unwrap();
    assert!(two.api_key_by_lookup("lookup-a").await.unwrap().is_none());
    assert!(one.api_key_by_lookup("lookup-a").await.unwrap().is_some());
}

#[tokio::test]
async fn while_another_process_writes_reading_goes_on_and_writing_fails_loudly() {
    let database = TempDatabase::new();
    let store = database.open().await;
    let key = api_key(DEFAULT_WORKSPACE_ID, "a");
    store.insert_api_key(&key).await.unwrap();
    let raw = database.raw().await;
    let lock = raw.begin_with("BEGIN EXCLUSIVE").await.unwrap();
    let found = store.api_key_by_lookup(&key.lookup).await.unwrap();
    assert_eq!(found.as_ref(), Some(&key));
    let refused = store
        .insert_virtual_key(&virtual_key(DEFAULT_WORKSPACE_ID, "a"))
        .await;
    assert!(
        refused.as_ref().is_err_and(StoreError::is_transient),
        "{refused:?}"
    );
    lock.rollback().await.unwrap();
    store
        .insert_virtual_key(&virtual_key(DEFAULT_WORKSPACE_ID, "a"))
        .await
        .unwrap();
}

#[tokio::test]
async fn writers_of_keys_and_logs_do_not_disturb_each_other() {
    let database = TempDatabase::new();
    let store = database.open().await;
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..8 {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            for number in 0..20 {
                let name = format!("{task}-{number}");
                store
                    .insert_api_key(&api_key(DEFAULT_WORKSPACE_ID, &name))
                    .await
                    .unwrap();
                let log = small_log(DEFAULT_WORKSPACE_ID, &format!("log-{name}"), number);
                store.insert_logs(vec![log]).await.unwrap();
                let id = format!("key-{name}");
                let touched = store
                    .touch_api_key(DEFAULT_WORKSPACE_ID, &id, at(number))
                    .await;
                assert!(touched.unwrap());
            }
        });
    }
    tasks.join_all().await;
    let count = store
        .count_logs(DEFAULT_WORKSPACE_ID, &LogFilter::default())
        .await
        .unwrap();
    assert_eq!(count, 160);
}

#[tokio::test]
async fn the_log_writer_and_a_real_store_agree_on_the_counts() {
    let database = TempDatabase::new();
    let store = database.open().await;
    let tracker = TaskTracker::new();
    let writer = LogWriter::start(Arc::clone(&store), LogSettings::default(), &tracker);
    let mut news = writer.subscribe();
    for number in 0..500 {
        // Every tenth id comes twice and is refused the second time.
        let id = format!("log-{}", if number % 10 == 9 { number - 1 } else { number });
        writer.submit(full_log(DEFAULT_WORKSPACE_ID, &id));
    }
    writer.flush().await;
    let counts = writer.counts();
    assert_eq!(
        (counts.sent, counts.stored, counts.dropped, counts.queued),
        (500, 450, 50, 0)
    );
    let stored = store
        .count_logs(DEFAULT_WORKSPACE_ID, &LogFilter::default())
        .await
        .unwrap();
    assert_eq!(stored, 450);
    // More news than a slow subscriber can keep: it is told so and then goes on.
    let lagged = news.recv().await.unwrap_err();
    assert!(matches!(
        lagged,
        tokio::sync::broadcast::error::RecvError::Lagged(_)
    ));
    assert_eq!(
        news.recv().await.unwrap().request.workspace_id,
        DEFAULT_WORKSPACE_ID
    );
    writer.close().await;
    tracker.close();
    tracker.wait().await;
}
