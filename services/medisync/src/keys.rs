//! `medisync keys`: the keys that sign users' tokens.

use crate::cli::{Cli, KeysCommand};

pub(crate) fn command(cli: &Cli, command: &KeysCommand) -> anyhow::Result<()> {
    let config = cli.configuration(&[], false)?;
    match command {
        KeysCommand::Rotate => {
            let kid = auth::keys::rotate(&config.auth.keys_dir)?;
            say!("made signing key {kid}; a running auth signs with it within seconds")?;
        }
    }
    Ok(())
}
