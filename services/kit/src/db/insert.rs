//! Many rows by few statements: alone, each would be a round trip.

use std::fmt::Write as _;

use super::{DbError, Engine, Tx, Value, tx::Rows};

/// This many rows are inserted at once, as long as there are that many: few statements to keep
/// prepared.
const ROWS_AT_ONCE: [usize; 4] = [64, 16, 4, 1];

impl Tx<'_> {
    /// Inserts rows, whose values follow one another in the order of these columns (`a, b, …`);
    /// returns how many were. What follows the rows in the statement, such as `on conflict do
    /// nothing`, may leave some out.
    pub async fn insert_all(
        &mut self,
        table: &str,
        columns: &str,
        values: &[Value],
        or: &str,
    ) -> Result<u64, DbError> {
        self.execute_all(&statements(table, columns, values, or)).await
    }

    /// The same as the last of a transaction: PostgreSQL gets it with the commit, and fails that
    /// where it fails.
    pub(crate) async fn insert_at_commit(
        &mut self,
        table: &'static str,
        columns: &'static str,
        values: Vec<Value>,
    ) -> Result<(), DbError> {
        match self.engine() {
            Engine::Sqlite => self.insert_all(table, columns, &values, "").await.map(drop),
            Engine::Postgres => {
                self.send_at_commit(Rows { table, columns, values });
                Ok(())
            }
        }
    }
}

/// Few statements for all of them, each with its rows.
pub(super) fn statements<'v>(
    table: &str,
    columns: &str,
    values: &'v [Value],
    or: &str,
) -> Vec<(String, &'v [Value])> {
    let count = columns.split(',').count();
    let (mut statements, mut rest) = (Vec::new(), values);
    for at_once in ROWS_AT_ONCE {
        let pieces = rest.chunks_exact(at_once * count);
        rest = pieces.remainder();
        if pieces.len() > 0 {
            let sql = statement(table, columns, at_once, or);
            statements.extend(pieces.map(|rows| (sql.clone(), rows)));
        }
    }
    statements
}

/// `insert into table (a, b) values ($1, $2), ($3, $4)`
fn statement(table: &str, columns: &str, rows: usize, or: &str) -> String {
    let mut sql = format!("insert into {table} ({columns}) values ");
    let count = columns.split(',').count();
    for place in 0..rows * count {
        let before = match (place, place % count) {
            (0, _) => "(",
            (_, 0) => "), (",
            _ => ", ",
        };
        let _ = write!(sql, "{before}${}", place + 1);
    }
    sql.push_str(") ");
    sql.push_str(or);
    sql
}

#[cfg(test)]
mod tests {
    use super::statement;

    #[test]
    fn places_are_numbered_through_all_rows() {
        let sql = statement("pair", "a, b", 2, "on conflict do nothing");
        let wanted = "insert into pair (a, b) values ($1, $2), ($3, $4) on conflict do nothing";
        assert_eq!(sql, wanted);
        assert_eq!(statement("one", "a", 2, ""), "insert into one (a) values ($1), ($2) ");
    }
}
