//! Statements whose text depends on the number of their values. Every list in a statement is written here, as
//! `($1, $2, …)`: that is what SQLite and PostgreSQL both understand. (sqlx's own builder writes `?`.)

use std::fmt::Write as _;

use sqlx::any::AnyArguments;
use sqlx::query::Query;
use sqlx::{Any, AssertSqlSafe};

use crate::model::{DeliveryId, FileId, Stage};

/// A statement that is put together piece by piece: text, which is always our own, and values, which are bound.
#[derive(Debug, Default)]
pub(super) struct Sql {
    text: String,
    values: Vec<Value>,
}

/// A value that can be bound.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(Option<String>),
    Number(Option<i64>),
}

impl Sql {
    /// Begins with this text.
    pub(super) fn new(text: &'static str) -> Self {
        Self { text: text.to_owned(), values: Vec::new() }
    }

    /// Adds text.
    pub(super) fn text(mut self, text: &'static str) -> Self {
        self.text.push_str(text);
        self
    }

    /// Adds a value.
    pub(super) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.push(value.into());
        self
    }

    /// Adds `($1, $2, …)`. An empty list becomes `(null)`, so that the statement is valid: no value is in it.
    pub(super) fn list(mut self, values: impl IntoIterator<Item = impl Into<Value>>) -> Self {
        let before = self.values.len();
        self.text.push('(');
        for value in values {
            if self.values.len() > before {
                self.text.push_str(", ");
            }
            self.push(value.into());
        }
        self.text.push_str(if self.values.len() > before { ")" } else { "null)" });
        self
    }

    /// Adds `values ($1, cast($2 as bigint)), …`. There must be a row. The types of values in a list of their own are
    /// said in the text: PostgreSQL takes those that it cannot guess for text.
    pub(super) fn rows<R: IntoIterator<Item = Value>>(mut self, rows: impl IntoIterator<Item = R>) -> Self {
        for (row, values) in rows.into_iter().enumerate() {
            self.text.push_str(if row > 0 { ", (" } else { "values (" });
            for (column, value) in values.into_iter().enumerate() {
                if column > 0 {
                    self.text.push_str(", ");
                }
                let is_number = matches!(value, Value::Number(_));
                self.text.push_str(if is_number { "cast(" } else { "" });
                self.push(value);
                self.text.push_str(if is_number { " as bigint)" } else { "" });
            }
            self.text.push(')');
        }
        self
    }

    /// The statement, ready to be run.
    pub(super) fn query(self) -> Query<'static, Any, AnyArguments> {
        let query = sqlx::query(AssertSqlSafe(self.text));
        self.values.into_iter().fold(query, |query, value| match value {
            Value::Text(text) => query.bind(text),
            Value::Number(number) => query.bind(number),
        })
    }

    /// How the database would run it.
    #[cfg(test)]
    pub(super) fn explained(mut self) -> Query<'static, Any, AnyArguments> {
        self.text.insert_str(0, "explain query plan ");
        self.query()
    }

    fn push(&mut self, value: Value) {
        self.values.push(value);
        let number = self.values.len();
        // Writing to a string does not fail.
        let _ = write!(self.text, "${number}");
    }
}

/// Values per statement. A few sizes only, so that each statement is prepared once; the largest takes some milliseconds in a
/// ledger of a million files, and others wait for it.
pub(super) const SIZES: [usize; 5] = [1, 4, 16, 64, 256];

/// Splits values into lists of these sizes. The last list is filled up with a value that it already contains.
pub(super) fn lists<T>(values: &[T]) -> impl Iterator<Item = Vec<&T>> {
    values.chunks(SIZES[SIZES.len() - 1]).map(|values| {
        let size = SIZES.into_iter().find(|size| *size >= values.len()).unwrap_or(values.len());
        values.iter().chain(values.last().into_iter().cycle()).take(size).collect()
    })
}

impl From<&FileId> for Value {
    fn from(id: &FileId) -> Self {
        Self::Text(Some(id.as_str().to_owned()))
    }
}

impl From<&DeliveryId> for Value {
    fn from(id: &DeliveryId) -> Self {
        Self::Text(Some(id.as_str().to_owned()))
    }
}

impl From<Stage> for Value {
    fn from(stage: Stage) -> Self {
        Self::from(stage.as_str())
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(Some(text.to_owned()))
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Some(text))
    }
}

impl From<Option<String>> for Value {
    fn from(text: Option<String>) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(Some(number))
    }
}

impl From<Option<i64>> for Value {
    fn from(number: Option<i64>) -> Self {
        Self::Number(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_numbered_in_the_order_in_which_they_are_bound() {
        let sql = Sql::new("update t set a = ").bind(7).text(" where b in ").list(["x", "y"]);
        assert_eq!(sql.text, "update t set a = $1 where b in ($2, $3)");
        let sql = sql.text(" and c > ").bind(Some(8)).text(" and d not in ").list([0_i64; 0]);
        assert_eq!(
            sql.text, "update t set a = $1 where b in ($2, $3) and c > $4 and d not in (null)",
            "an empty list is valid SQL"
        );
        let pairs = [[Value::from(1), Value::from("a")], [Value::from(2), Value::from("b")]];
        let sql = Sql::new("with t (a, b) as (").rows(pairs).text(")");
        assert_eq!(sql.text, "with t (a, b) as (values (cast($1 as bigint), $2), (cast($3 as bigint), $4))");
        assert_eq!(sql.values.len(), 4);
    }

    #[test]
    fn lists_have_a_few_sizes_only_and_contain_every_value() {
        for count in [0, 1, 2, 5, 64, 65, 256, 257, 1100] {
            let values: Vec<usize> = (0..count).collect();
            let mut seen = Vec::new();
            for list in lists(&values) {
                assert!(SIZES.contains(&list.len()), "{count}: {}", list.len());
                seen.extend(list.into_iter().copied());
            }
            seen.dedup();
            assert_eq!(seen, values);
        }
    }
}
