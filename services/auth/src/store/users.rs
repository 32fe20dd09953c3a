//! Users: rows, pages, changes.

use jiff::Timestamp;
use kit::{
    audit::{self, AuditNote},
    db::{DbError, Row, Tx, Value},
    params,
};
use shared_middleware::identity::Role;
use uuid::Uuid;

use super::{Demo, Store, known_sources, sessions::end_sessions_of, take_turn};
use crate::{
    domain::{Change, Changed, Email, User},
    error::Error,
};

const COLUMNS: &str = "id, email, role, disabled, created_at, password_hash";
/// What the unique constraint on emails is called.
const EMAIL_UNIQUE: &str = "users_email_key";

/// A user with what a password is compared to.
pub(crate) struct StoredUser {
    pub(crate) user: User,
    pub(crate) password_hash: String,
}

/// A user's place in the list: when it was added, then its id.
pub(crate) type Place = (Timestamp, Uuid);

// === impl Store ===

impl Store {
    /// The user with this email, in any case.
    pub(crate) async fn user_by_email(&self, email: &Email) -> Result<Option<StoredUser>, DbError> {
        let key = email.key().to_owned();
        let sql = format!("select {COLUMNS} from users where email_key = $1{}", self.1.and());
        let read = self.0.read(move |tx| Box::pin(async move { one(tx, &sql, key).await }));
        read.await
    }

    pub(crate) async fn user(&self, id: Uuid) -> Result<Option<StoredUser>, DbError> {
        let demo = self.1;
        self.0.read(move |tx| Box::pin(async move { by_id(tx, id, demo).await })).await
    }

    /// Users after this place, in the order in which they were added.
    pub(crate) async fn users(
        &self,
        after: Option<Place>,
        limit: u32,
    ) -> Result<Vec<User>, DbError> {
        let order = "order by created_at, id limit";
        let from = format!("select {COLUMNS} from users where 0 = 0{}", self.1.and());
        self.0
            .read(move |tx| {
                Box::pin(async move {
                    let rows = match after {
                        None => tx.query(&format!("{from} {order} $1"), params![limit]).await?,
                        Some((at, id)) => {
                            let sql = format!("{from} and (created_at, id) > ($1, $2) {order} $3");
                            tx.query(&sql, params![at, id, limit]).await?
                        }
                    };
                    rows.iter().map(|row| Ok(stored(row)?.user)).collect()
                })
            })
            .await
    }

    /// Adds a user.
    pub(crate) async fn add_user(&self, user: User, password_hash: String) -> Result<(), Error> {
        let added = self
            .0
            .write(move |tx| {
                Box::pin(async move {
                    insert(tx, &user, password_hash, false).await?;
                    audit::note(tx, added(user.id, user.role))
                })
            })
            .await;
        added.map_err(|error| match error {
            DbError::Unique(name) if name == EMAIL_UNIQUE => Error::EmailTaken,
            error => error.into(),
        })
    }

    /// Adds those of the demo's users whose email is not there yet; returns how many.
    pub(crate) async fn add_missing_demo_users(
        &self,
        mut users: Vec<(User, String)>,
    ) -> Result<u64, DbError> {
        // Replicas that start together add the same ones: in one order, none waits for the other.
        users.sort_by(|(a, _), (b, _)| a.email.key().cmp(b.email.key()));
        self.0
            .write(move |tx| {
                Box::pin(async move {
                    let mut new = Vec::new();
                    for (user, password_hash) in users {
                        if insert(tx, &user, password_hash, true).await? == 1 {
                            new.push((user.id, user.role));
                        }
                    }
                    for (id, role) in &new {
                        audit::note(tx, added(*id, *role))?;
                    }
                    Ok(new.len() as u64)
                })
            })
            .await
    }

    /// Changes a user; ends the sign-ins that are not true any more.
    pub(crate) async fn change_user(
        &self,
        id: Uuid,
        change: Change,
        password_hash: Option<String>,
        until_s: i64,
    ) -> Result<Changed, Error> {
        let demo = self.1;
        self.0
            .write(move |tx| {
                Box::pin(async move {
                    take_turn(tx).await?;
                    let stored = by_id(tx, id, demo).await?.ok_or(Error::UserNotFound)?;
                    let changed = stored.user.changed(&change);
                    if changed.leaves_admins {
                        another_admin(tx, id, demo).await?;
                    }
                    // A null keeps the hash, which a login may have renewed since it was read.
                    tx.execute(
                        "update users set role = $1, disabled = $2,
                         password_hash = coalesce($3, password_hash) where id = $4",
                        params![
                            changed.user.role.as_str(),
                            i64::from(changed.user.disabled),
                            password_hash.clone(),
                            id
                        ],
                    )
                    .await?;
                    if changed.ends_sessions {
                        end_sessions_of(tx, id, until_s).await?;
                    }
                    if password_hash.is_some() {
                        known_sources::forget(tx, id).await?;
                    }
                    audit::note(tx, AuditNote::of(id).setting(changed.fields.clone()))?;
                    Ok(changed)
                })
            })
            .await
    }

    /// Gives a user who is enabled another password for this one, and ends the user's sign-ins;
    /// false when it is this one no longer.
    pub(crate) async fn replace_password(
        &self,
        id: Uuid,
        old_hash: String,
        new_hash: String,
        until_s: i64,
    ) -> Result<bool, DbError> {
        self.0
            .write(move |tx| {
                Box::pin(async move {
                    take_turn(tx).await?;
                    let replaced = tx
                        .execute(
                            "update users set password_hash = $1
                             where id = $2 and disabled = 0 and password_hash = $3",
                            params![new_hash, id, old_hash],
                        )
                        .await?;
                    if replaced == 1 {
                        end_sessions_of(tx, id, until_s).await?;
                        known_sources::forget(tx, id).await?;
                        let changed = vec!["password".to_owned()];
                        audit::note(tx, AuditNote::of(id).setting(changed))?;
                    }
                    Ok(replaced == 1)
                })
            })
            .await
    }

    /// Deletes a user, and ends the user's sign-ins.
    pub(crate) async fn delete_user(&self, id: Uuid, until_s: i64) -> Result<(), Error> {
        let demo = self.1;
        self.0
            .write(move |tx| {
                Box::pin(async move {
                    take_turn(tx).await?;
                    // From here on nobody signs in as this user.
                    let found = tx
                        .execute("update users set disabled = disabled where id = $1", params![id])
                        .await?;
                    let stored = by_id(tx, id, demo).await?.filter(|_| found == 1);
                    if stored.ok_or(Error::UserNotFound)?.user.is_enabled_admin() {
                        another_admin(tx, id, demo).await?;
                    }
                    end_sessions_of(tx, id, until_s).await?;
                    tx.execute("delete from users where id = $1", params![id]).await?;
                    Ok(audit::note(tx, AuditNote::of(id))?)
                })
            })
            .await
    }
}

impl Store {
    /// Whether one of the demo's users may sign in while the demo is on.
    pub(crate) async fn has_demo_users(&self) -> Result<bool, DbError> {
        let sql = "select id from users where demo = 1 and disabled = 0 limit 1";
        let read = self.0.read(move |tx| Box::pin(async move { tx.query_opt(sql, &[]).await }));
        Ok(read.await?.is_some())
    }

    /// Ends the sign-ins of the demo's users: their tokens are refused everywhere.
    pub(crate) async fn end_demo_sessions(&self, until_s: i64) -> Result<u64, DbError> {
        self.0
            .write(move |tx| {
                Box::pin(async move {
                    take_turn(tx).await?;
                    let ids = demo_users(tx, "and id in (select user_id from sessions)").await?;
                    for id in &ids {
                        end_sessions_of(tx, *id, until_s).await?;
                    }
                    Ok(ids.len() as u64)
                })
            })
            .await
    }

    /// Deletes the demo's users, and ends their sign-ins; returns how many there were.
    pub(crate) async fn delete_demo_users(&self, until_s: i64) -> Result<u64, DbError> {
        self.0
            .write(move |tx| {
                Box::pin(async move {
                    take_turn(tx).await?;
                    let ids = demo_users(tx, "").await?;
                    for id in &ids {
                        end_sessions_of(tx, *id, until_s).await?;
                        tx.execute("delete from users where id = $1", params![*id]).await?;
                        audit::note(tx, AuditNote::of(id))?;
                    }
                    Ok(ids.len() as u64)
                })
            })
            .await
    }
}

/// A user was added, who has this role.
fn added(id: Uuid, role: Role) -> AuditNote {
    AuditNote::of(id).setting(vec![format!("role={role}")])
}

/// The demo's users, held until the transaction ends.
async fn demo_users(tx: &mut Tx<'_>, and: &str) -> Result<Vec<Uuid>, DbError> {
    let sql = format!("update users set disabled = disabled where demo = 1 {and} returning id");
    tx.query(&sql, &[]).await?.iter().map(|row| row.get(0)).collect()
}

/// Somebody else must be able to manage users.
async fn another_admin(tx: &mut Tx<'_>, id: Uuid, demo: Demo) -> Result<(), Error> {
    let sql = format!(
        "select count(*) from users where role = 'ADMIN' and disabled = 0 and id <> $1{}",
        demo.and()
    );
    let others: i64 = tx.query_one(&sql, params![id]).await?.get(0)?;
    if others == 0 { Err(Error::LastAdmin) } else { Ok(()) }
}

async fn insert(
    tx: &mut Tx<'_>,
    user: &User,
    password_hash: String,
    of_demo: bool,
) -> Result<u64, DbError> {
    let (demo, or) = if of_demo { (1, "on conflict (email_key) do nothing") } else { (0, "") };
    let sql = format!(
        "insert into users (id, email, email_key, password_hash, role, disabled, created_at, demo)
         values ($1, $2, $3, $4, $5, $6, $7, {demo}) {or}"
    );
    let (email, role) = (&user.email, user.role.as_str());
    let disabled = i64::from(user.disabled);
    let values = params![
        user.id,
        email.as_str(),
        email.key(),
        password_hash,
        role,
        disabled,
        user.created_at
    ];
    tx.execute(&sql, values).await
}

async fn by_id(tx: &mut Tx<'_>, id: Uuid, demo: Demo) -> Result<Option<StoredUser>, DbError> {
    one(tx, &format!("select {COLUMNS} from users where id = $1{}", demo.and()), id).await
}

async fn one(
    tx: &mut Tx<'_>,
    sql: &str,
    key: impl Into<Value> + Send,
) -> Result<Option<StoredUser>, DbError> {
    tx.query_opt(sql, &[key.into()]).await?.as_ref().map(stored).transpose()
}

fn stored(row: &Row) -> Result<StoredUser, DbError> {
    let email = Email::parse(&row.get::<String>(1)?);
    let user = User {
        id: row.get(0)?,
        email: email.map_err(|_| DbError::Corrupt("an email that is none"))?,
        role: parse_role(&row.get::<String>(2)?)?,
        disabled: row.get::<i64>(3)? != 0,
        created_at: row.get(4)?,
    };
    Ok(StoredUser { user, password_hash: row.get(5)? })
}

/// A role as a table kept it.
pub(super) fn parse_role(name: &str) -> Result<Role, DbError> {
    name.parse().map_err(|_| DbError::Corrupt("a role that is none"))
}
