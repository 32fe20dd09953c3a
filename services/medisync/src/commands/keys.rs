//! `medisync keys`: the keys that sign users' tokens.

use anyhow::Context as _;

use crate::context::Context;
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Sign with a new key from now on; tokens of the old one stay valid until they expire
    Rotate,
}

pub(crate) fn command(context: &Context, command: &KeysCommand) -> anyhow::Result<()> {
    let config = context.of_what_is_there()?;
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
