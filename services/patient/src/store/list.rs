//! Pages of patients: sorted by an index, searched by an index.
//!
//! A search takes one of two ways. Few matches are fetched by their terms and sorted. Many would be
//! too many to sort: then the sort's own index is walked and every row compared, which finds a page
//! soon, just because there are many.

use jiff::{Timestamp, civil::Date};
use kit::{
    db::{DbError, Engine, Tx, Value},
    params,
};
use uuid::Uuid;

use super::{grams, patients};
use crate::domain::Patient;

/// More matches than this are many.
pub(super) const FEW_MATCHES: i64 = 2000;

/// A page to be.
#[derive(Clone)]
pub(crate) struct List {
    pub(crate) sort: Sort,
    pub(crate) order: Order,
    /// In lower case, not empty: a part of the name or of the email.
    pub(crate) search: Option<String>,
    /// The row that the page before ended with.
    pub(crate) after: Option<(After, Uuid)>,
    pub(crate) count: u32,
}

/// What patients are sorted by, and then by id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    Name,
    RegisteredDate,
    CreatedAt,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Asc,
    Desc,
}

/// A row's sort key: it may be a name, and is not printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum After {
    Name(String),
    RegisteredDate(Date),
    CreatedAt(Timestamp),
}

/// A statement in the making: `$1, $2, …` in the order of first use.
struct Statement {
    sql: String,
    params: Vec<Value>,
}

// === impl Sort ===

impl Sort {
    const fn column(self) -> &'static str {
        match self {
            Self::Name => "name_key",
            Self::RegisteredDate => "registered_date",
            Self::CreatedAt => "created_at",
        }
    }
}

// === impl After ===

impl After {
    /// A patient's sort key.
    pub(crate) fn of(patient: &Patient, sort: Sort) -> Self {
        match sort {
            Sort::Name => Self::Name(patient.details.name.key()),
            Sort::RegisteredDate => Self::RegisteredDate(patient.registered_date),
            Sort::CreatedAt => Self::CreatedAt(patient.created_at),
        }
    }
}

impl From<After> for Value {
    fn from(after: After) -> Self {
        match after {
            After::Name(key) => Self::Text(key),
            After::RegisteredDate(date) => Self::Date(date),
            After::CreatedAt(time) => Self::Time(time),
        }
    }
}

// === impl Statement ===

impl Statement {
    fn push(&mut self, sql: &str) {
        self.sql.push_str(sql);
    }

    fn bind(&mut self, value: impl Into<Value>) {
        self.params.push(value.into());
        self.sql.push_str(&format!("${}", self.params.len()));
    }
}

/// The page.
pub(super) async fn list(
    tx: &mut Tx<'_>,
    list: List,
    few_matches: i64,
) -> Result<Vec<Patient>, DbError> {
    let few = match &list.search {
        Some(search) => matches_at_most(tx, search, few_matches).await?,
        None => false,
    };
    let Statement { sql, params } = statement(tx.engine(), list, few);
    tx.query(&sql, &params).await?.iter().map(patients::patient).collect()
}

/// Whether so many patients at most have all the terms of the search.
async fn matches_at_most(tx: &mut Tx<'_>, search: &str, few: i64) -> Result<bool, DbError> {
    let sql = match tx.engine() {
        Engine::Sqlite => {
            "select count(*) from
             (select 1 from patient_gram where patient_gram match $1 limit $2)"
        }
        Engine::Postgres => {
            "select count(*) from
             (select 1 from patient where grams @> string_to_array($1, ' ') limit $2) few"
        }
    };
    let count: i64 = tx.query_one(sql, params![terms(search), few + 1]).await?.get(0)?;
    Ok(count <= few)
}

fn statement(engine: Engine, list: List, few: bool) -> Statement {
    let column = list.sort.column();
    let (direction, beyond) = match list.order {
        Order::Asc => ("asc", ">"),
        Order::Desc => ("desc", "<"),
    };
    let sql = format!("select {} from patient where true", patients::COLUMNS);
    let mut statement = Statement { sql, params: Vec::new() };
    if let Some(search) = list.search {
        if few {
            let (before, after) = match engine {
                Engine::Sqlite => {
                    (" and seq in (select rowid from patient_gram where patient_gram match ", ")")
                }
                Engine::Postgres => (" and grams @> string_to_array(", ", ' ')"),
            };
            statement.push(before);
            statement.bind(terms(&search));
            statement.push(after);
        }
        statement.push(" and (name_key like ");
        statement.bind(pattern(&search));
        statement.push(r" escape '\' or email_key like ");
        statement.bind(pattern(&search));
        statement.push(r" escape '\')");
    }
    if let Some((after, id)) = list.after {
        statement.push(&format!(" and ({column}, id) {beyond} ("));
        statement.bind(after);
        statement.push(", ");
        statement.bind(id);
        statement.push(")");
    }
    statement.push(&format!(" order by {column} {direction}, id {direction} limit "));
    statement.bind(list.count);
    statement
}

fn terms(search: &str) -> String {
    grams::of_query(search).into_iter().collect::<Vec<_>>().join(" ")
}

/// Anything that contains the text, taken literally.
fn pattern(search: &str) -> String {
    let mut pattern = String::from("%");
    for char in search.chars() {
        if matches!(char, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(char);
    }
    pattern.push('%');
    pattern
}

#[cfg(test)]
mod tests {
    use kit::{
        db::Db,
        testing::{TestStore, engines},
    };

    use super::*;
    use crate::{fill, store::migrations};

    /// Every sort, with and without a cursor, is answered in the order of an index: nothing is
    /// sorted and nothing is scanned.
    #[test]
    fn no_page_scans_or_sorts() {
        let mut connection = rusqlite::Connection::open_in_memory().unwrap();
        super::super::sqlite::migrations::runner().run(&mut connection).unwrap();
        let cases = [
            (Sort::Name, After::Name("m".to_owned())),
            (Sort::RegisteredDate, After::RegisteredDate(Date::MIN)),
            (Sort::CreatedAt, After::CreatedAt(Timestamp::UNIX_EPOCH)),
        ];
        for (sort, after) in cases {
            for order in [Order::Asc, Order::Desc] {
                for after in [None, Some((after.clone(), Uuid::nil()))] {
                    let list = List { sort, order, search: None, after, count: 20 };
                    let plan = plan(&connection, statement(Engine::Sqlite, list, false));
                    assert!(plan.contains("USING INDEX patient_by_"), "{plan}");
                    assert!(!plan.contains("TEMP B-TREE"), "{plan}");
                }
            }
        }
    }

    #[test]
    fn a_search_with_few_matches_goes_by_the_terms() {
        let mut connection = rusqlite::Connection::open_in_memory().unwrap();
        super::super::sqlite::migrations::runner().run(&mut connection).unwrap();
        let search = Some("roe".to_owned());
        let (sort, order) = (Sort::Name, Order::Asc);
        let list = List { sort, order, search, after: None, count: 20 };
        let plan = plan(&connection, statement(Engine::Sqlite, list, true));
        assert!(plan.contains("SEARCH patient USING INTEGER PRIMARY KEY"), "{plan}");
        assert!(plan.contains("patient_gram VIRTUAL TABLE"), "{plan}");
    }

    /// The same of PostgreSQL, with so many patients that its planner takes them seriously.
    #[tokio::test]
    async fn on_postgres_no_page_and_no_search_scans() {
        for engine in engines().into_iter().filter(|engine| *engine == Engine::Postgres) {
            let store = TestStore::on(engine).await;
            fill::fill(store.config(), 0..20_000).await.unwrap();
            let db = store.open(migrations()).await;
            let list = |sort, search: Option<&str>| {
                let (order, search) = (Order::Desc, search.map(str::to_owned));
                List { sort, order, search, after: None, count: 20 }
            };
            for sort in [Sort::Name, Sort::RegisteredDate, Sort::CreatedAt] {
                let page = statement(Engine::Postgres, list(sort, None), false);
                let plan = postgres_plan(&db, page).await;
                assert!(plan.contains("using patient_by_"), "{plan}");
                assert!(!plan.contains("Sort"), "{plan}");
            }
            let email = fill::email(14_321);
            let search = statement(Engine::Postgres, list(Sort::Name, Some(&email)), true);
            let plan = postgres_plan(&db, search).await;
            assert!(plan.contains("Bitmap Index Scan on patient_by_gram"), "{plan}");
            let sql = format!("select {} from patient where id = $1", patients::COLUMNS);
            let params = vec![fill::id(7).into()];
            let plan = postgres_plan(&db, Statement { sql, params }).await;
            assert!(plan.contains("Index Scan using patient_pkey"), "{plan}");
        }
    }

    async fn postgres_plan(db: &Db, statement: Statement) -> String {
        let rows = db
            .write(|tx| {
                Box::pin(async move {
                    tx.execute("analyze patient", &[]).await?;
                    let sql = format!("explain {}", statement.sql);
                    tx.query(&sql, &statement.params).await
                })
            })
            .await;
        let rows = rows.map_err(|error: DbError| error).unwrap();
        let lines: Vec<String> = rows.iter().map(|row| row.get(0).unwrap()).collect();
        let plan = lines.join("\n");
        assert!(!plan.contains("Seq Scan"), "{plan}");
        plan
    }

    fn plan(connection: &rusqlite::Connection, statement: Statement) -> String {
        let sql = format!("explain query plan {}", statement.sql);
        let mut explained = connection.prepare(&sql).unwrap();
        let params = rusqlite::params_from_iter(&statement.params);
        let steps = explained.query_map(params, |row| row.get::<_, String>(3)).unwrap();
        steps.map(Result::unwrap).collect::<Vec<_>>().join("\n")
    }
}
