//! Messages by SMTP (RFC 5321), at least once: an answer that is lost makes a second message with
//! the same Message-ID.
//!
//! What the server says is not logged, since it likes to quote the address: its code is.

use std::time::Duration;

use lettre::{
    AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor,
    transport::smtp::{AsyncSmtpTransportBuilder, Error},
};
use shared_middleware::error::causes;
use tokio::time::timeout;

use crate::{domain::Refusal, message::Rendered};

/// The end of a URL that asks for a connection without TLS, whatever the server offers.
const PLAIN: &str = "tls=none";
const STARTTLS_IF_OFFERED: &str = "tls=opportunistic";
const STARTTLS_ALWAYS: &str = "tls=required";

/// Codes that blame our own credentials (RFC 4954, 6) and not the recipient: until somebody puts
/// them right no message can be sent, and none may be given up.
const CODES_OF_CREDENTIALS: [u16; 5] = [432, 530, 534, 535, 538];

/// An SMTP server.
pub(crate) struct SmtpChannel {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    connections_max: u32,
    timeout: Duration,
}

/// Whether a URL names an SMTP server.
///
/// | URL | port, if not given | TLS |
/// |---|---|---|
/// | `smtp://user:pass@host:port` | 587 | STARTTLS, if the server offers it |
/// | `smtp://…?tls=required` | 587 | STARTTLS, or nothing is sent |
/// | `smtp://…?tls=none` | 25 | none, and the password goes in the clear: for a local relay |
/// | `smtps://user:pass@host:port` | 465 | from the first byte |
///
/// The server's certificate must be of an authority that the system trusts. User and password may
/// be missing, together; what is special in URLs is percent-encoded in them.
///
/// # Errors
/// What is wrong with it, to be read after its name. No part of it is quoted.
pub fn check_smtp_url(url: &str) -> Result<(), String> {
    builder(url).map(drop)
}

fn builder(url: &str) -> Result<AsyncSmtpTransportBuilder, String> {
    let (address, query) = url.split_once('?').unwrap_or((url, ""));
    let form = || "must be of the form smtp://user:password@host:port or smtps://…".to_owned();
    let (scheme, rest) = address.split_once("://").ok_or_else(form)?;
    let asked = match (scheme, query) {
        ("smtp", "") => format!("{address}?{STARTTLS_IF_OFFERED}"),
        ("smtp", STARTTLS_IF_OFFERED | STARTTLS_ALWAYS) => url.to_owned(),
        ("smtp", PLAIN) | ("smtps", "") => address.to_owned(),
        ("smtp", _) => return Err("may end in ?tls=required, opportunistic or none".to_owned()),
        _ => return Err(form()),
    };
    // Without a password the user would be left out silently.
    let authority = rest.split('/').next().unwrap_or_default();
    if let Some((user, _)) = authority.rsplit_once('@')
        && !user.split_once(':').is_some_and(|(user, pass)| !user.is_empty() && !pass.is_empty())
    {
        return Err("must have a user and a password, or neither".to_owned());
    }
    AsyncSmtpTransport::<Tokio1Executor>::from_url(&asked).map_err(|_| form())
}

// === impl SmtpChannel ===

impl SmtpChannel {
    pub(crate) fn new(url: &str, connections_max: u32, timeout: Duration) -> Result<Self, String> {
        let transport = builder(url)?.timeout(Some(timeout)).build();
        Ok(Self { transport, connections_max: connections_max.max(1), timeout })
    }

    pub(super) const fn connections_max(&self) -> u32 {
        self.connections_max
    }

    pub(super) const fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(super) async fn deliver(&self, message: &Rendered) -> Result<(), Refusal> {
        let send = self.transport.send_raw(&message.envelope, &message.bytes);
        match timeout(self.timeout, send).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(refusal(&error, message)),
            Err(_) => Err(Refusal::Passing("the SMTP server did not answer in time".to_owned())),
        }
    }
}

fn refusal(error: &Error, message: &Rendered) -> Refusal {
    if let Some(code) = error.status() {
        let code = u16::from(code);
        let text = format!("the SMTP server answered {code}");
        let permanent = error.is_permanent() && !CODES_OF_CREDENTIALS.contains(&code);
        return if permanent { Refusal::Permanent(text) } else { Refusal::Passing(text) };
    }
    // The one thing that the client itself refuses because of the recipient.
    let ascii = message.envelope.to().iter().all(|to| AsRef::<str>::as_ref(to).is_ascii());
    if error.is_client() && !ascii {
        let text = "the SMTP server does not take addresses beyond ASCII".to_owned();
        return Refusal::Permanent(text);
    }
    if error.is_response() {
        return Refusal::Passing("the SMTP server's answer cannot be read".to_owned());
    }
    Refusal::Passing(causes(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_smtp_servers_are_accepted() {
        for url in [
            "smtp://localhost",
            "smtp://localhost:2525",
            "smtp://user:p%40ss@mail.example.com:587",
            "smtp://user:pass@mail.example.com?tls=required",
            "smtp://127.0.0.1:25?tls=none",
            "smtps://user:pass@mail.example.com",
        ] {
            assert_eq!(check_smtp_url(url), Ok(()), "{url}");
        }
    }

    #[test]
    fn other_urls_are_refused_and_no_password_is_quoted() {
        for url in [
            "",
            "mail.example.com",
            "http://user:s3cret@host",
            "smtp://",
            "smtp://user:s3cret@",
            "smtp://user:s3cret@host:port",
            "smtp://user:s3cret@host?tls=maybe",
            "smtps://user:s3cret@host?tls=none",
            "smtp://user@host",
            "smtp://:s3cret@host",
        ] {
            let refused = check_smtp_url(url).unwrap_err();
            assert!(!refused.contains("s3cret") && !refused.contains("host:port?"), "{refused}");
        }
    }
}
