//! Fills a store with invented patients, for measurements: rows and search terms as a registration
//! leaves them, with an account, and without an event, so that nobody else hears of them.

use jiff::{Timestamp, ToSpan as _, civil::date};
use kit::db::{Db, DbConfig};
use uuid::Uuid;

use crate::{
    domain::{Billing, Input, Patient},
    error::Error,
    store::{migrations, patients},
};

/// This many are committed at once.
const AT_ONCE: u64 = 2000;
/// Their ids follow one another.
const FIRST_ID: u128 = 0x0192_0000_0000_7000_8000_0000_0000_0000;
const BEGAN: Timestamp = Timestamp::constant(1_700_000_000, 0);
/// People of two names: 1,000 pairs, so that a thousandth of all have the same.
const GIVEN: [&str; 40] = [
    "Ada", "Bela", "Chiara", "Dmitri", "Elif", "Femi", "Greta", "Hugo", "Ines", "Jonas", "Kaede",
    "Lucia", "Marek", "Noor", "Oskar", "Priya", "Quentin", "Rosa", "Stefan", "Tara", "Umberto",
    "Vera", "Wanda", "Xenia", "Yusuf", "Zoe", "Anton", "Birgit", "Carlos", "Dina", "Emil",
    "Fatima", "Goran", "Hilda", "Igor", "Judit", "Karim", "Lena", "Mario", "Nadia",
];
const FAMILY: [&str; 25] = [
    "Almeida", "Bauer", "Castell", "Dubois", "Eriksen", "Farkas", "Greco", "Haddad", "Ivanov",
    "Jansen", "Kovac", "Larsen", "Moreau", "Novak", "Okafor", "Petrov", "Quist", "Rossi",
    "Svensson", "Tanaka", "Ueda", "Varga", "Weber", "Xu", "Zeman",
];

/// The id of one of them, counted from 0.
pub fn id(number: u64) -> Uuid {
    Uuid::from_u128(FIRST_ID + u128::from(number))
}

/// The email of one of them: a search for it finds that one alone.
pub fn email(number: u64) -> String {
    format!("person-{number}@scale.example")
}

/// Adds those of these numbers, which must not be there.
///
/// # Errors
/// When the store cannot be written.
pub async fn fill(database: &DbConfig, numbers: std::ops::Range<u64>) -> Result<(), Error> {
    let db = Db::open(database, migrations()).await?;
    let mut begin = numbers.start;
    while begin < numbers.end {
        let end = numbers.end.min(begin + AT_ONCE);
        let patients = (begin..end).map(person).collect::<Result<Vec<_>, _>>()?;
        db.write(move |tx| {
            Box::pin(async move {
                for patient in &patients {
                    patients::insert(tx, patient).await?;
                }
                let sql = "update patient set billing_account = id where billing_account is null";
                tx.execute(sql, &[]).await?;
                Ok::<_, Error>(())
            })
        })
        .await?;
        begin = end;
    }
    Ok(())
}

fn person(number: u64) -> Result<Patient, Error> {
    let at = |all: &[&'static str], number: u64| all[(number % all.len() as u64) as usize];
    let (given, family) = (at(&GIVEN, number), at(&FAMILY, number / GIVEN.len() as u64));
    let text = |text: String| Some(text);
    let born = date(1930, 1, 1) + i64::try_from(number % 32_000).unwrap_or(0).days();
    let input = Input {
        name: text(format!("{given} {family}")),
        email: text(email(number)),
        address: text(format!("{} Scale Street", number % 1000)),
        date_of_birth: text(born.to_string()),
        registered_date: None,
        refused: Vec::new(),
    };
    let (details, registered_date) = input.register(date(2024, 1, 1))?;
    let created_at = BEGAN + i64::try_from(number).unwrap_or(0).milliseconds();
    Ok(Patient {
        id: id(number),
        details,
        registered_date,
        version: 1,
        created_at,
        updated_at: created_at,
        billing: Billing::Pending,
    })
}
