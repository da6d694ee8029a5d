//! Tests of databases that older programs have written.

use std::path::Path;
use std::str::FromStr;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions, install_default_drivers};
use sqlx::{Executor, Row};

use super::{Access, Config, Counts, MIGRATIONS, Store, contents, escaped, time};
use crate::model::delivery::Cause;
use crate::model::{FileId, Stage};

/// A database as the program made it before contents were told apart by their order.
async fn older(path: &Path) {
    let options = AnyConnectOptions::from_str(&format!("sqlite:{}?mode=rwc", escaped(path))).unwrap();
    install_default_drivers();
    let pool = AnyPoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
    pool.execute("create table schema_version (version integer not null) strict").await.unwrap();
    for (index, migration) in MIGRATIONS[..5].iter().enumerate() {
        pool.execute(*migration).await.unwrap();
        let known = sqlx::query("insert into schema_version values ($1)").bind(index as i64 + 1);
        known.execute(&pool).await.unwrap();
    }
    for (seq, revision, stage, reason) in [
        (3, "1", "done", None),
        (7, "2", "skipped", Some("a new content of a delivered file, and `on_update` is \"ignore\"")),
        (9, "only", "skipped", Some("its owner does not allow downloads")),
        (12, "late", "skipped", Some("download: Drive answers 403: No. (cannotDownloadFile)")),
    ] {
        let row = sqlx::query(
            "insert into delivery (id, seq, file_id, revision, log, watched_id, name, mime_type, destination, wanted, \
             on_update, stage, reason, run_at, seen_at, moved_at) values ('d' || $2, $1, 'f' || ($1 / 8), $2, 'user', \
             'w', 'n', 'video/mp4', '/videos', 'n', 'ignore', $3, $4, 5, 6, 7)",
        );
        row.bind(seq).bind(revision).bind(stage).bind(reason).execute(&pool).await.unwrap();
    }
    pool.close().await;
}

#[tokio::test]
async fn an_older_database_keeps_all_that_it_knows() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("state.db");
    older(&path).await;
    let store =
        Store::open(&Config { url: format!("sqlite:{}", path.display()) }, Access::Exclusive).await.unwrap();
    assert_eq!(store.counts().await.unwrap(), Counts::from([("done", 1), ("skipped", 3)]));
    let [twice, once] = ["f0", "f1"].map(FileId::new);
    let known = store.ledger(&[twice.clone(), once.clone()]).await.unwrap();
    let causes = |id: &FileId| known[id].iter().map(|row| (row.stage, row.cause)).collect::<Vec<_>>();
    assert_eq!(causes(&twice), [(Stage::Done, None), (Stage::Skipped, Some(Cause::Setting))]);
    let refused = [Cause::Permission, Cause::Refused].map(|cause| (Stage::Skipped, Some(cause)));
    assert_eq!(causes(&once), refused);
    assert_eq!(store.next_asked().await.unwrap(), Some(time(7)), "Drive is asked about what was forbidden");
    let overtaken =
        sqlx::query("select id from delivery where overtaken = 1 order by id").fetch_all(&store.pool);
    let ids: Vec<String> = overtaken.await.unwrap().iter().map(|row| row.try_get(0).unwrap()).collect();
    assert_eq!(ids, ["d1", "donly"]);
    let mut connection = store.pool.acquire().await.unwrap();
    assert_eq!(contents::arrivals(&mut connection, 2).await.unwrap(), 12, "numbers go on");
    assert_eq!(contents::arrivals(&mut connection, 1).await.unwrap(), 14);
}
