//! Pages of patients: sorted by an index, searched by an index.
//!
//! A search takes one of two ways. Few matches are fetched by their trigrams and sorted. Many would
//! be too many to sort: then the sort's own index is walked and every row compared, which finds a
//! page soon, just because there are many. So are words of one or two characters, which have no
//! trigram.

use jiff::{Timestamp, civil::Date};
use kit::db::{DbError, Engine, Tx, Value};
use uuid::Uuid;

use super::{
    patients,
    search::{Search, Word},
};
use crate::domain::Patient;

/// More matches than this are many.
pub(super) const FEW_MATCHES: i64 = 2000;

/// A page to be.
#[derive(Clone)]
pub(crate) struct List {
    pub(crate) sort: Sort,
    pub(crate) order: Order,
    pub(crate) search: Option<Search>,
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
    Name(Vec<u8>),
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
            Self::Name => "sort_key",
            Self::RegisteredDate => "registered_date",
            Self::CreatedAt => "created_at",
        }
    }
}

// === impl After ===

impl From<After> for Value {
    fn from(after: After) -> Self {
        match after {
            After::Name(key) => Self::Bytes(key),
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

    /// The text that is searched matches all of these words.
    fn push_words<'w>(&mut self, words: impl IntoIterator<Item = &'w Word>) {
        for word in words {
            let mut before = " and (";
            for pattern in word.patterns() {
                self.push(before);
                self.push("search like ");
                self.bind(pattern);
                self.push(r" escape '\'");
                before = " or ";
            }
            self.push(")");
        }
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

/// Whether so many patients at most match what the index knows of the search.
async fn matches_at_most(tx: &mut Tx<'_>, search: &Search, few: i64) -> Result<bool, DbError> {
    if search.indexed().next().is_none() {
        return Ok(false);
    }
    let mut statement = Statement { sql: "select count(*) from (".to_owned(), params: Vec::new() };
    match tx.engine() {
        Engine::Sqlite => {
            statement.push("select 1 from patient_search where patient_search match ");
            statement.bind(search.fts());
        }
        Engine::Postgres => {
            statement.push("select 1 from patient where true");
            statement.push_words(search.indexed());
        }
    }
    statement.push(" limit ");
    statement.bind(few + 1);
    statement.push(") few");
    let count: i64 = tx.query_one(&statement.sql, &statement.params).await?.get(0)?;
    Ok(count <= few)
}

fn statement(engine: Engine, list: List, few: bool) -> Statement {
    let column = list.sort.column();
    let (direction, beyond) = match list.order {
        Order::Asc => ("asc", ">"),
        Order::Desc => ("desc", "<"),
    };
    let columns = patients::COLUMNS;
    let mut statement = Statement { sql: String::new(), params: Vec::new() };
    match (list.search, engine) {
        (None, _) => statement.push(&format!("select {columns} from patient where true")),
        // Fetched first: the planner would else walk the sort's index for as few.
        (Some(search), Engine::Postgres) if few => {
            statement.push("with few as materialized (select * from patient where true");
            statement.push_words(search.words());
            statement.push(&format!(") select {columns} from few where true"));
        }
        (Some(search), engine) => {
            statement.push(&format!("select {columns} from patient where true"));
            if few && engine == Engine::Sqlite {
                statement.push(" and seq in (select rowid from patient_search");
                statement.push(" where patient_search match ");
                statement.bind(search.fts());
                statement.push(")");
            }
            statement.push_words(search.words());
        }
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
            (Sort::Name, After::Name(b"m".to_vec())),
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
        let search = Search::parse("roe");
        let (sort, order) = (Sort::Name, Order::Asc);
        let list = List { sort, order, search, after: None, count: 20 };
        let plan = plan(&connection, statement(Engine::Sqlite, list, true));
        assert!(plan.contains("SEARCH patient USING INTEGER PRIMARY KEY"), "{plan}");
        assert!(plan.contains("patient_search VIRTUAL TABLE"), "{plan}");
    }

    /// The same of PostgreSQL, with so many patients that its planner takes them seriously.
    #[tokio::test]
    async fn on_postgres_no_page_and_no_search_scans() {
        for engine in engines().into_iter().filter(|engine| *engine == Engine::Postgres) {
            let store = TestStore::on(engine).await;
            fill::fill(store.config(), 0..20_000).await.unwrap();
            let db = store.open(migrations()).await;
            let list = |sort, search: Option<&str>| {
                let (order, search) = (Order::Desc, search.and_then(Search::parse));
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
            assert!(plan.contains("Bitmap Index Scan on patient_by_search"), "{plan}");
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
