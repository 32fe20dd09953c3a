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

/// More matches than this are many: as many as can be fetched and sorted in some 50 ms.
pub(super) const FEW_MATCHES: i64 = 30_000;

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

impl Order {
    /// How rows are ordered, and how those that come later compare.
    const fn sql(self) -> (&'static str, &'static str) {
        match self {
            Self::Asc => ("asc", ">"),
            Self::Desc => ("desc", "<"),
        }
    }
}

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

    /// The text that is searched matches all of these words; for each what an index is asked for
    /// first, if that is less.
    fn push_words<'w>(&mut self, words: impl IntoIterator<Item = &'w Word>, by_index: bool) {
        for word in words {
            let narrower = word.narrower().filter(|_| by_index);
            // No index is asked for an expression.
            let text = if narrower.is_some() { "(search || '')" } else { "search" };
            if let Some(pattern) = narrower {
                self.push(" and search like ");
                self.bind(pattern);
                self.push(r" escape '\'");
            }
            let mut before = " and (";
            for pattern in word.patterns() {
                self.push(&format!("{before}{text} like "));
                self.bind(pattern);
                self.push(r" escape '\'");
                before = " or ";
            }
            self.push(")");
        }
    }

    /// The page is after this row.
    fn push_after(&mut self, list: &List) {
        let Some((after, id)) = &list.after else { return };
        let (column, (_, beyond)) = (list.sort.column(), list.order.sql());
        self.push(&format!(" and ({column}, id) {beyond} ("));
        self.bind(after.clone());
        self.push(", ");
        self.bind(*id);
        self.push(")");
    }

    fn push_order(&mut self, list: &List) {
        let (column, (direction, _)) = (list.sort.column(), list.order.sql());
        self.push(&format!(" order by {column} {direction}, id {direction} limit "));
        self.bind(list.count);
    }
}

/// The page.
pub(super) async fn list(
    tx: &mut Tx<'_>,
    list: List,
    few_matches: i64,
) -> Result<Vec<Patient>, DbError> {
    if let Some(search) = list.search.as_ref().filter(|search| search.indexed().next().is_some()) {
        let Statement { sql, params } = among_few(tx.engine(), &list, search, few_matches);
        let rows = tx.query(&sql, &params).await?;
        let matches = rows.first().map_or(Ok(0), |row| row.get::<i64>(patients::COLUMN_COUNT))?;
        if matches <= few_matches {
            // Where nobody is left there is one row, with nobody in it.
            let found = rows.iter().filter(|row| row.get::<Uuid>(0).is_ok());
            return found.map(patients::patient).collect();
        }
    }
    let Statement { sql, params } = among_all(&list);
    tx.query(&sql, &params).await?.iter().map(patients::patient).collect()
}

/// The page of those whom the index finds, and how many they are: one more than few when they are
/// many.
fn among_few(engine: Engine, list: &List, search: &Search, few_matches: i64) -> Statement {
    let (column, (direction, _)) = (list.sort.column(), list.order.sql());
    let mut statement = Statement { sql: String::new(), params: Vec::new() };
    statement
        .push(&format!("with few as materialized (select id, {column} from patient where true"));
    if engine == Engine::Sqlite {
        statement.push(" and seq in (select rowid from patient_search");
        statement.push(" where patient_search match ");
        statement.bind(search.fts());
        statement.push(")");
    }
    statement.push_words(search.words(), true);
    statement.push(" limit ");
    statement.bind(few_matches + 1);
    let columns = patients::COLUMNS.split(',').map(|name| format!("p.{}", name.trim()));
    let columns = columns.collect::<Vec<_>>().join(", ");
    statement.push(&format!(
        ") select {columns}, counted.matches from (select count(*) as matches from few) counted
         left join (select id, {column} from few where true"
    ));
    statement.push_after(list);
    statement.push_order(list);
    statement.push(&format!(
        ") page on true left join patient p on p.id = page.id
         order by page.{column} {direction}, page.id {direction}"
    ));
    statement
}

/// The page of all, compared row by row where something is searched.
fn among_all(list: &List) -> Statement {
    let sql = format!("select {} from patient where true", patients::COLUMNS);
    let mut statement = Statement { sql, params: Vec::new() };
    if let Some(search) = &list.search {
        statement.push_words(search.words(), false);
    }
    statement.push_after(list);
    statement.push_order(list);
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
                    let plan = plan(&connection, among_all(&list));
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
        let search = Search::parse("roe").unwrap();
        let (sort, order) = (Sort::Name, Order::Asc);
        let list = List { sort, order, search: None, after: None, count: 20 };
        let plan = plan(&connection, among_few(Engine::Sqlite, &list, &search, 2000));
        assert!(plan.contains("SEARCH patient USING INTEGER PRIMARY KEY"), "{plan}");
        assert!(plan.contains("patient_search VIRTUAL TABLE"), "{plan}");
    }

    /// The same of PostgreSQL, with this many patients that its planner takes them seriously.
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
                let page = among_all(&list(sort, None));
                let plan = postgres_plan(&db, page).await;
                assert!(plan.contains("using patient_by_"), "{plan}");
                assert!(!plan.contains("Sort"), "{plan}");
            }
            let email = fill::email(14_321);
            let search = Search::parse(&email).unwrap();
            let page = list(Sort::Name, None);
            let search = among_few(Engine::Postgres, &page, &search, FEW_MATCHES);
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
