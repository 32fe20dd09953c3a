//! Many numbers or ids as one parameter, so that one statement is about all of them.
//!
//! The parameter is a JSON array: a text that both engines take apart. PostgreSQL compares with an
//! array, so that each is found by an index: joined with a list, a table that was small when the
//! plan was made would be read whole ever after.

use uuid::Uuid;

use super::{Engine, Tx, Value};

/// Numbers as one parameter: for [`Tx::among_numbers`].
pub fn numbers(all: impl IntoIterator<Item = i64>) -> Value {
    let all: Vec<i64> = all.into_iter().collect();
    Value::Text(serde_json::to_string(&all).expect("numbers are JSON"))
}

/// Ids as one parameter: for [`Tx::among_ids`].
pub fn ids(all: impl IntoIterator<Item = Uuid>) -> Value {
    let all: Vec<String> = all.into_iter().map(|id| id.to_string()).collect();
    Value::Text(serde_json::to_string(&all).expect("texts are JSON"))
}

impl Tx<'_> {
    /// That a column is one of the numbers of a parameter, to be written after the column.
    pub fn among_numbers(&self, parameter: &str) -> String {
        among(self.engine(), parameter, "bigint")
    }

    /// That a column is one of the ids of a parameter, to be written after the column.
    pub fn among_ids(&self, parameter: &str) -> String {
        among(self.engine(), parameter, "uuid")
    }
}

fn among(engine: Engine, parameter: &str, kind: &str) -> String {
    match engine {
        Engine::Sqlite => format!("in (select value from json_each({parameter}))"),
        // A JSON array of numbers or ids is an array's text but for the brackets and quotes.
        Engine::Postgres => {
            format!("= any(cast(translate(cast({parameter} as text), '[]\"', '{{}}') as {kind}[]))")
        }
    }
}
