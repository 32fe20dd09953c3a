//! `medisync keys`: the keys that sign users' tokens.

use crate::cli::{Cli, KeysCommand};

#[expect(clippy::print_stdout, reason = "what the command is for")]
pub(crate) fn command(cli: &Cli, command: &KeysCommand) -> anyhow::Result<()> {
    let config = cli.configuration(&[], false)?;
    match command {
        KeysCommand::Rotate => {
            let kid = auth::keys::rotate(&config.auth.keys_dir)?;
            println!("made signing key {kid}; a running auth uses it within a second");
        }
    }
    Ok(())
}
