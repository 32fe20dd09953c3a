//! Many numbers or ids as one parameter, so that one statement is about all of them.
//!
//! The parameter is a JSON array: a text that both engines take apart.

use uuid::Uuid;

use super::{Engine, Tx, Value};

/// What may be in such a list.
#[derive(Clone, Copy, Debug)]
enum Of {
    Numbers,
    Ids,
}

/// Numbers as one parameter: for [`Tx::numbers_in`].
pub fn numbers(all: impl IntoIterator<Item = i64>) -> Value {
    let all: Vec<i64> = all.into_iter().collect();
    Value::Text(serde_json::to_string(&all).expect("numbers are JSON"))
}

/// Ids as one parameter: for [`Tx::ids_in`].
pub fn ids(all: impl IntoIterator<Item = Uuid>) -> Value {
    let all: Vec<String> = all.into_iter().map(|id| id.to_string()).collect();
    Value::Text(serde_json::to_string(&all).expect("texts are JSON"))
}

impl Tx<'_> {
    /// The numbers of a parameter, to be written after `in`.
    pub fn numbers_in(&self, parameter: &str) -> String {
        list(self.engine(), parameter, Of::Numbers)
    }

    /// The ids of a parameter, to be written after `in`.
    pub fn ids_in(&self, parameter: &str) -> String {
        list(self.engine(), parameter, Of::Ids)
    }
}

fn list(engine: Engine, parameter: &str, of: Of) -> String {
    match (engine, of) {
        (Engine::Sqlite, _) => format!("(select value from json_each({parameter}))"),
        (Engine::Postgres, of) => {
            let kind = match of {
                Of::Numbers => "bigint",
                Of::Ids => "uuid",
            };
            format!(
                "(select cast(value as {kind})
                  from json_array_elements_text(cast(cast({parameter} as text) as json)))"
            )
        }
    }
}
