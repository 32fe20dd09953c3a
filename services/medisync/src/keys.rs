//! `medisync keys`: the keys that sign users' tokens.

use anyhow::Context as _;

use crate::cli::{Cli, KeysCommand};

pub(crate) fn command(cli: &Cli, command: &KeysCommand) -> anyhow::Result<()> {
    let config = cli.of_what_is_there()?;
    match command {
        KeysCommand::Rotate => {
            let kid = auth::keys::rotate(&config.auth.keys_dir).context(
                "nothing to rotate: auth makes the first key when it starts (--data-dir or \
                 auth.keys_dir says where to look)",
            )?;
            say!("made signing key {kid}; a running auth signs with it within seconds")?;
        }
    }
    Ok(())
}
