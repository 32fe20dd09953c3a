//! What each proxy has to let pass and to refuse, looked at before anything is measured.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};

use crate::{proxy::Proxy, site::Site};

/// The upstream is found healthy by then.
const READY_WITHIN: Duration = Duration::from_secs(10);
const LOOKS_EVERY: Duration = Duration::from_millis(50);

/// Fails unless a good token is let in, and every bad one is not.
pub(crate) fn check(proxy: &Proxy, site: &Site) -> anyhow::Result<()> {
    let good = site.signer.good()?;
    let begun = Instant::now();
    loop {
        match status(proxy, Some(&good))? {
            200 => break,
            told => ensure!(begun.elapsed() < READY_WITHIN, "a good token is answered {told}"),
        }
        sleep(LOOKS_EVERY);
    }
    if !proxy.kind.has_policy() {
        return Ok(());
    }
    for (what, token) in site.signer.bad()? {
        let told = status(proxy, Some(&token))?;
        ensure!(matches!(told, 401 | 403), "{what} is answered {told}");
    }
    let told = status(proxy, None)?;
    ensure!(told == 401, "no token is answered {told}");
    Ok(())
}

fn status(proxy: &Proxy, token: Option<&str>) -> anyhow::Result<u16> {
    let mut proxied = TcpStream::connect(("127.0.0.1", proxy.port))?;
    let token = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let head = format!(
        "GET /api/patients/tiny HTTP/1.1\r\nHost: localhost\r\n{token}Connection: close\r\n\r\n"
    );
    proxied.write_all(head.as_bytes())?;
    let mut answer = String::new();
    proxied.read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.with_context(|| format!("no answer but {answer:?}"))
}
