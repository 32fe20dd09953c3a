//! What a patient reads.
//!
//! Plain text with the recipient's name and no other personal data; the subject has none at all.
//! The same notification always makes the same bytes, so that a message that is delivered twice is
//! known as one.

use std::time::SystemTime;

use jiff::Timestamp;
use kit::email::Email;
use lettre::{
    Address, Message,
    address::Envelope,
    message::{
        Mailbox, MessageBuilder,
        header::{ContentType, HeaderName, HeaderValue, MIME_VERSION_1_0},
    },
};
use uuid::Uuid;

use crate::{
    domain::{Kind, Refusal},
    events::Recipient,
};

/// A longer name is cut: it came from an event, not from our own validation.
const NAME_CHARS_MAX: usize = 100;

/// What a message is made of.
pub(crate) struct Letter<'a> {
    pub(crate) event_id: Uuid,
    pub(crate) kind: Kind,
    pub(crate) recipient: &'a Recipient,
    pub(crate) at: Timestamp,
}

/// A message, ready to be delivered.
#[derive(Clone)]
pub(crate) struct Rendered {
    pub(crate) event_id: Uuid,
    pub(crate) envelope: Envelope,
    pub(crate) bytes: Vec<u8>,
}

// === impl Letter ===

impl Letter<'_> {
    /// As RFC 5322 has it.
    ///
    /// # Errors
    /// `Permanent` when the recipient's address is none.
    pub(crate) fn render(&self, from: &Mailbox) -> Result<Rendered, Refusal> {
        let address = address(&self.recipient.email)?;
        let name = one_line(&self.recipient.name).filter(|name| !has_link(name));
        let (subject, text) = words(self.kind);
        let greeting = name.as_ref().map_or("Hello,".to_owned(), |name| format!("Hello {name},"));
        let body = format!(
            "{greeting}\n\n{text}\n\n\
             This message was sent automatically. Please do not reply to it.\n\n\
             MediSync\n"
        );
        let message = self
            .headers()
            .from(from.clone())
            .to(Mailbox::new(name, address))
            .subject(subject)
            // Without it a reader need not look at the next two (RFC 2045, 4).
            .header(MIME_VERSION_1_0)
            .header(ContentType::TEXT_PLAIN)
            .body(body)
            .map_err(|_| Refusal::Permanent("the message cannot be built".to_owned()))?;
        Ok(Rendered {
            event_id: self.event_id,
            envelope: message.envelope().clone(),
            bytes: message.formatted(),
        })
    }

    fn headers(&self) -> MessageBuilder {
        // RFC 3834: nobody's out-of-office notice is to answer.
        let automatic = HeaderValue::new(
            HeaderName::new_from_ascii_str("Auto-Submitted"),
            "auto-generated".to_owned(),
        );
        Message::builder()
            .message_id(Some(format!("<{}@medisync>", self.event_id)))
            .date(SystemTime::from(self.at))
            .raw_header(automatic)
    }
}

/// The subject and the text.
const fn words(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Welcome => (
            "Welcome to MediSync",
            "welcome! You are now registered with us, and we look forward to seeing you.\n\n\
             If you did not register, please tell our reception.",
        ),
        Kind::Update => (
            "Your details have been updated",
            "the details that we keep about you have been updated.\n\n\
             If you did not ask for this, please tell our reception.",
        ),
        Kind::Farewell => (
            "Your registration has been removed",
            "your registration has been removed, and we no longer write to you.\n\n\
             If you did not ask for this, please tell our reception. We wish you all the best.",
        ),
    }
}

fn address(email: &str) -> Result<Address, Refusal> {
    // In the form in which every server takes it, also where the event is from before that.
    let address = Email::parse(email).ok().and_then(|email| email.as_str().parse().ok());
    address.ok_or_else(|| Refusal::Permanent("the recipient's address cannot be used".to_owned()))
}

/// A name as one line of visible text; `None` when nothing of it is left. A line break in it could
/// otherwise begin a line that looks like ours.
fn one_line(name: &str) -> Option<String> {
    let breaks = |c: char| c.is_control() || c.is_whitespace();
    let words: Vec<_> = name.split(breaks).filter(|word| !word.is_empty()).collect();
    let line: String = words.join(" ").chars().take(NAME_CHARS_MAX).collect();
    let line = line.trim_end();
    (!line.is_empty()).then(|| line.to_owned())
}

/// Whether mail programs would make a link of a part of it: anyone who registers others could else
/// have us send one to anybody.
fn has_link(name: &str) -> bool {
    let name = name.to_lowercase();
    let is_path = |word: &str| word.contains('.') && word.contains('/');
    name.contains("://") || name.contains("www.") || name.split(' ').any(is_path)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::FROM_DEFAULT;

    const HEADERS: [&str; 9] = [
        "Message-ID",
        "Date",
        "Auto-Submitted",
        "From",
        "To",
        "Subject",
        "MIME-Version",
        "Content-Type",
        "Content-Transfer-Encoding",
    ];

    fn render(kind: Kind, name: &str, email: &str) -> Result<String, Refusal> {
        let letter = Letter {
            event_id: Uuid::from_u128(5),
            kind,
            recipient: &Recipient { name: name.to_owned(), email: email.to_owned() },
            at: Timestamp::UNIX_EPOCH,
        };
        let rendered = letter.render(&FROM_DEFAULT.parse().unwrap())?;
        Ok(String::from_utf8(rendered.bytes).unwrap())
    }

    /// The names of a message's headers; panics on a line that is none.
    fn header_names(message: &str) -> Vec<&str> {
        let (head, _) = message.split_once("\r\n\r\n").unwrap();
        let lines = head.split("\r\n").inspect(|line| {
            assert!(!line.contains(['\r', '\n', '\0']) && line.len() <= 998, "{line:?}");
        });
        let begins = lines.filter(|line| !line.starts_with([' ', '\t']));
        begins.map(|line| line.split_once(": ").unwrap().0).collect()
    }

    #[test]
    fn a_message_greets_by_name_and_says_no_more_of_the_person() {
        for kind in Kind::ALL {
            let message = render(kind, "Grace Hopper", "grace@example.com").unwrap();
            let (head, body) = message.split_once("\r\n\r\n").unwrap();
            assert!(head.contains("Message-ID: <00000000-0000-0000-0000-000000000005@medisync>"));
            assert!(head.contains("From: MediSync <no-reply@medisync.local>"), "{head}");
            assert!(head.contains("To: \"Grace Hopper\" <grace@example.com>"), "{head}");
            assert!(head.contains("Date: Thu, 01 Jan 1970 00:00:00 +0000"), "{head}");
            assert!(body.starts_with("Hello Grace Hopper,\r\n\r\n"), "{body}");
            assert!(!body.contains("example.com"));
            let subject = head.split("\r\n").find(|line| line.starts_with("Subject")).unwrap();
            assert!(!subject.contains("Grace"));
        }
    }

    #[test]
    fn a_name_that_is_no_ascii_is_encoded() {
        let message = render(Kind::Welcome, "Jürgen Müller", "j@example.com").unwrap();
        assert!(message.is_ascii());
        assert!(message.contains("=?utf-8?b?"), "{message}");
        assert!(message.contains("Content-Type: text/plain; charset=utf-8"));
    }

    #[test]
    fn a_line_break_in_a_name_begins_no_line() {
        let name = "Eve\r\nBcc: all@example.com\r\n\r\nPay here\u{2028}now\u{85}";
        let message = render(Kind::Welcome, name, "eve@example.com").unwrap();
        assert_eq!(header_names(&message), HEADERS);
        assert!(message.contains("Hello Eve Bcc: all@example.com Pay here now,"), "{message}");
    }

    #[test]
    fn a_name_with_a_link_in_it_is_not_repeated() {
        for name in ["Pay at https://evil.example/17", "WWW.evil.example", "Ann evil.example/17"] {
            let message = render(Kind::Welcome, name, "ann@example.com").unwrap();
            assert!(message.contains("\r\n\r\nHello,\r\n"), "{message}");
            assert!(!message.to_lowercase().contains("evil"), "{message}");
        }
        let message = render(Kind::Welcome, "J.R. O'Neil w/o", "ann@example.com").unwrap();
        assert!(message.contains("Hello J.R. O'Neil w/o,"), "{message}");
    }

    #[test]
    fn nobody_without_an_address_is_written_to() {
        let long = format!("{}@example.com", "a".repeat(300));
        let odd = ["", "grace", "a@b, c@d", "a@example.com\r\nBcc: c@d", "\"a\r\n b\"@c.de", &long];
        for email in odd {
            let refused = render(Kind::Update, "Grace", email);
            let Err(Refusal::Permanent(text)) = refused else { panic!("{email}: {refused:?}") };
            assert!(email.is_empty() || !text.contains(email));
        }
    }

    #[test]
    fn whoever_has_no_name_is_greeted_without_one() {
        let message = render(Kind::Farewell, " \t\n", "x@example.com").unwrap();
        assert!(message.contains("\r\n\r\nHello,\r\n"), "{message}");
    }

    #[test]
    fn a_domain_beyond_ascii_is_written_as_every_server_takes_it() {
        let message = render(Kind::Welcome, "Ann", "ann@exämple.org").unwrap();
        assert!(message.contains("ann@xn--exmple-cua.org") && message.is_ascii(), "{message}");
    }

    proptest! {
        /// What is registered gets its mail.
        #[test]
        fn a_message_to_every_valid_address_can_be_built(
            email in "[^@\\s]{1,70}@\\PC{1,20}(\\.[a-zäø]{2,4})?",
        ) {
            if let Ok(email) = Email::parse(&email) {
                let built = render(Kind::Welcome, "X", email.as_str());
                prop_assert!(built.is_ok(), "{}: {:?}", email.as_str(), built);
            }
        }

        #[test]
        fn no_name_breaks_out_of_its_header(name in any::<String>(), kind in 0_usize..3) {
            let message = render(Kind::ALL[kind], &name, "x@example.com").unwrap();
            prop_assert_eq!(header_names(&message), HEADERS);
            prop_assert_eq!(&message, &render(Kind::ALL[kind], &name, "x@example.com").unwrap());
        }

        #[test]
        fn no_mean_name_breaks_out_of_its_header(name in "[\\x00-\\x7f\u{80}-\u{ff}]{0,200}") {
            let message = render(Kind::Welcome, &name, "x@example.com").unwrap();
            prop_assert_eq!(header_names(&message), HEADERS);
        }

        #[test]
        fn no_address_breaks_out_of_its_header(
            email in "[\\x00-\\x7f]{1,40}(@[a-z.\\r\\n]{1,20})?",
        ) {
            if let Ok(message) = render(Kind::Welcome, "X", &email) {
                prop_assert_eq!(header_names(&message), HEADERS);
            }
        }
    }
}
