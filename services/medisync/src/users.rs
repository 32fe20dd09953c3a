//! `medisync user`: users, from the shell.

use std::io::{BufRead as _, IsTerminal as _};

use anyhow::{Context as _, bail};
use auth::App;
use secrecy::SecretString;
use shared_middleware::{
    clock::{Clock, Ids},
    identity::Part,
};

use crate::{
    cli::{Cli, UserCommand},
    launch,
};

pub(crate) fn command(cli: &Cli, command: &UserCommand) -> anyhow::Result<()> {
    let config = cli.configuration(&[], false)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let settings = launch::auth_config(&config);
        let app =
            auth::open_app(settings, Clock::system(), Ids::system()).await.with_context(|| {
                format!("cannot open {:?} (auth.database)", config.database(Part::Auth).url)
            })?;
        execute(&app, command).await
    })
}

async fn execute(app: &App, command: &UserCommand) -> anyhow::Result<()> {
    match command {
        UserCommand::Add { email, role } => {
            app.add_user(email, password()?, *role).await.map_err(told)?;
            say!("added {email} as {role}")?;
        }
        UserCommand::Passwd { email } => {
            app.set_password(email, password()?).await.map_err(told)?;
            say!("set the password of {email}; signed out everywhere")?;
        }
        UserCommand::Disable { email } => {
            app.disable_user(email).await.map_err(told)?;
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

/// Asked for without showing it; a line of standard input when that is no terminal.
fn password() -> anyhow::Result<SecretString> {
    if !std::io::stdin().is_terminal() {
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line).context("cannot read standard input")?;
        return Ok(line.trim_end_matches(['\n', '\r']).into());
    }
    let first = rpassword::prompt_password("Password: ")?;
    if first != rpassword::prompt_password("Once more: ")? {
        bail!("the two are not the same");
    }
    Ok(first.into())
}
