//! `medisync user`: users, from the shell.

use std::io::{BufRead as _, IsTerminal as _};

use anyhow::{Context as _, bail};
use auth::App;
use secrecy::SecretString;
use shared_middleware::{
    audit::AuditContext,
    clock::{Clock, Ids},
    identity::{Part, Role},
};

use crate::{
    commands::events::expect_store, context::Context, ops::audit_key, runtime::build_services,
};
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Create a user; the password is asked for, or read from standard input
    Add {
        /// What the user signs in with
        email: String,
        /// ADMIN, CLINICIAN, RECEPTIONIST, BILLING or AUDITOR
        #[arg(long)]
        role: Role,
    },
    /// Set a user's password; it is asked for, or read from standard input
    Passwd {
        /// Whose
        email: String,
    },
    /// Disable a user: signed out everywhere within a second, and cannot sign in again
    Disable {
        /// Whom
        email: String,
    },
    /// List the users
    List,
}

pub(crate) fn command(context: &Context, command: &UserCommand) -> anyhow::Result<()> {
    // The first user of an installation is added before anything else is there.
    let config = match command {
        UserCommand::Add { .. } => context.usable(&[], false)?,
        _ => context.of_what_is_there()?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // Anyone who has the shell sees everybody, also users of a demo that is off.
        let settings = auth::Config { demo: true, ..build_services::auth_config(&config) };
        if config.stores_must_exist {
            expect_store(&config, Part::Auth)?;
        }
        let key = audit_key::ensure(&config.audit_key)?;
        let opened = auth::open_app(settings, &key, &Clock::system().into(), Ids::system()).await;
        let app = opened.with_context(|| {
            format!("cannot open {:?} (auth.database)", config.database(Part::Auth).url)
        })?;
        execute(&app, command).await
    })
}

async fn execute(app: &App, command: &UserCommand) -> anyhow::Result<()> {
    match command {
        UserCommand::Add { email, role } => {
            let added = app.add_user(email, password()?, *role);
            AuditContext::by_shell("user.create").scope(added).await.map_err(told)?;
            say!("added {email} as {role}")?;
        }
        UserCommand::Passwd { email } => {
            let set = app.set_password(email, password()?);
            AuditContext::by_shell("user.update").scope(set).await.map_err(told)?;
            say!("set the password of {email}; signed out everywhere")?;
        }
        UserCommand::Disable { email } => {
            if app.is_disabled(email).await.map_err(told)? {
                bail!("{email} is disabled already");
            }
            let disabled = app.disable_user(email);
            AuditContext::by_shell("user.update").scope(disabled).await.map_err(told)?;
            say!("disabled {email}")?;
        }
        UserCommand::List => {
            say!("{:<40} {:<13} {:<9} CREATED", "EMAIL", "ROLE", "STATE")?;
            for user in app.list_users().await? {
                let state = if user.disabled { "disabled" } else { "enabled" };
                say!(
                    "{:<40} {:<13} {state:<9} {}",
                    user.email.as_str(),
                    user.role,
                    user.created_at
                )?;
            }
        }
    }
    Ok(())
}

/// Which fields were wrong, if that is what it was.
fn told(error: auth::Error) -> anyhow::Error {
    use shared_middleware::error::ServiceError as _;
    let fields = error.fields();
    if fields.is_empty() {
        return error.into();
    }
    let fields: Vec<_> = fields.iter().map(|f| format!("{} {}", f.field, f.message)).collect();
    anyhow::anyhow!("{}", fields.join("; "))
}

/// A line as it was meant: some shells begin what they pipe with a byte order mark.
fn piped(line: &str) -> &str {
    line.strip_prefix('\u{feff}').unwrap_or(line).trim_end_matches(['\n', '\r'])
}

/// Asked for without showing it; a line of standard input when that is no terminal.
fn password() -> anyhow::Result<SecretString> {
    if !std::io::stdin().is_terminal() {
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line).context("cannot read standard input")?;
        return Ok(piped(&line).into());
    }
    let first = rpassword::prompt_password("Password: ")?;
    if first != rpassword::prompt_password("Once more: ")? {
        bail!("the two are not the same");
    }
    Ok(first.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_order_mark_before_a_piped_password_is_no_part_of_it() {
        for line in ["\u{feff}violet tram 19\r\n", "violet tram 19\n", "violet tram 19"] {
            assert_eq!(piped(line), "violet tram 19");
        }
        assert_eq!(piped("\u{feff}\u{feff} a \n"), "\u{feff} a ");
    }
}
