//! Known shortcuts: those that lie in watched folders.

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use super::sql::{Sql, lists};
use super::{Error, Store};
use crate::model::FileId;

/// A shortcut in a watched folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortcut {
    /// Its own id.
    pub id: FileId,
    /// What it points at.
    pub target: FileId,
    /// The key that what it points at asks for.
    pub target_key: Option<String>,
    /// The folder it lies in.
    pub parent: FileId,
    /// Its name, which may differ from the target's.
    pub name: String,
}

impl Store {
    /// Whether there is a known shortcut.
    pub async fn has_shortcuts(&self) -> Result<bool, Error> {
        let row = sqlx::query("select 1 from shortcut limit 1").fetch_optional(&self.pool).await?;
        Ok(row.is_some())
    }

    /// Those of these that are known shortcuts, and the shortcuts that point at any of these.
    pub async fn shortcuts(&self, ids: &[FileId]) -> Result<Vec<Shortcut>, Error> {
        let mut known = Vec::new();
        for ids in lists(ids) {
            let sql = Sql::new("select * from shortcut where id in ").list(ids.iter().copied());
            let sql = sql.text(" or target_id in ").list(ids).text(" order by id");
            for row in sql.query().fetch_all(&self.pool).await? {
                known.push(shortcut(&row)?);
            }
        }
        Ok(known)
    }
}

/// Writes a shortcut down, or where it lies now.
pub(super) async fn keep(connection: &mut AnyConnection, shortcut: &Shortcut) -> Result<(), Error> {
    sqlx::query(
        "insert into shortcut (id, target_id, target_key, parent_id, name) values ($1, $2, $3, $4, $5) \
         on conflict (id) do update set target_id = excluded.target_id, target_key = excluded.target_key, \
         parent_id = excluded.parent_id, name = excluded.name",
    )
    .bind(shortcut.id.as_str())
    .bind(shortcut.target.as_str())
    .bind(shortcut.target_key.as_deref())
    .bind(shortcut.parent.as_str())
    .bind(shortcut.name.as_str())
    .execute(connection)
    .await?;
    Ok(())
}

/// Forgets a shortcut.
pub(super) async fn cut(connection: &mut AnyConnection, id: &FileId) -> Result<(), Error> {
    sqlx::query("delete from shortcut where id = $1").bind(id.as_str()).execute(connection).await?;
    Ok(())
}

/// Forgets the shortcuts in folders that are not known any more.
pub(super) async fn cut_orphans(connection: &mut AnyConnection) -> Result<(), Error> {
    sqlx::query("delete from shortcut where parent_id not in (select id from folder)")
        .execute(connection)
        .await?;
    Ok(())
}

fn shortcut(row: &AnyRow) -> Result<Shortcut, Error> {
    Ok(Shortcut {
        id: FileId::new(row.try_get::<String, _>("id")?),
        target: FileId::new(row.try_get::<String, _>("target_id")?),
        target_key: row.try_get("target_key")?,
        parent: FileId::new(row.try_get::<String, _>("parent_id")?),
        name: row.try_get("name")?,
    })
}
