//! As much of Kafka's protocol as tells that a broker is ready, and gives rights.

use std::io::{self, Read, Write};

use super::Right;

const METADATA: i16 = 3;
const DESCRIBE_ACLS: i16 = 29;
const CREATE_ACLS: i16 = 30;
/// How rights are written: kinds of resources, a name that is not a pattern, what is done, whether
/// it is allowed.
const TOPIC: u8 = 2;
const GROUP: u8 = 3;
const LITERAL: u8 = 3;
const ALLOW: u8 = 3;
/// More is no answer to what we ask.
const ANSWER_BYTES_MAX: u32 = 1 << 20;

/// The ids of the brokers that this one knows to be there.
pub(super) fn brokers(stream: &mut (impl Read + Write)) -> io::Result<Vec<i32>> {
    // Of no topic.
    let answer = ask(stream, METADATA, 1, &0_i32.to_be_bytes())?;
    let mut rest = answer.as_slice();
    let count = i32::from_be_bytes(take(&mut rest)?);
    let broker = |_| {
        let id = i32::from_be_bytes(take(&mut rest)?);
        skip_text(&mut rest)?;
        take::<4>(&mut rest)?;
        skip_text(&mut rest)?;
        Ok(id)
    };
    (0..count).map(broker).collect()
}

/// Allows it to the user, with everything of its kind.
pub(super) fn allow(
    stream: &mut (impl Read + Write),
    user: &str,
    rights: &[Right],
) -> io::Result<()> {
    let count = i32::try_from(rights.len()).map_err(io::Error::other)?;
    let mut body = count.to_be_bytes().to_vec();
    for right in rights {
        body.extend(resource(*right));
        body.extend([text(&format!("User:{user}")), text("*")].concat());
        body.extend([right.what().1, ALLOW]);
    }
    let answer = ask(stream, CREATE_ACLS, 1, &body)?;
    // How long we were held up, and how many answers follow.
    let mut rest = answer.get(8..).ok_or(io::ErrorKind::UnexpectedEof)?;
    for _ in rights {
        let code = i16::from_be_bytes(take(&mut rest)?);
        skip_text(&mut rest)?;
        if code != 0 {
            return Err(io::Error::other(format!("the right was not given: error {code}")));
        }
    }
    Ok(())
}

/// Whether the broker knows these rights, whosever they are.
pub(super) fn are_allowed(stream: &mut (impl Read + Write), rights: &[Right]) -> io::Result<bool> {
    for right in rights {
        let nobody = (-1_i16).to_be_bytes();
        let whose = [nobody, nobody].concat();
        let asked = [&resource(*right)[..], &whose, &[right.what().1, ALLOW]].concat();
        let answer = ask(stream, DESCRIBE_ACLS, 1, &asked)?;
        let mut rest = answer.get(4..).ok_or(io::ErrorKind::UnexpectedEof)?;
        let code = i16::from_be_bytes(take(&mut rest)?);
        skip_text(&mut rest)?;
        if code != 0 || i32::from_be_bytes(take(&mut rest)?) == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

// === impl Right ===

impl Right {
    /// The kind of resource, and what is done with it.
    const fn what(self) -> (u8, u8) {
        match self {
            Self::SeeTopics => (TOPIC, 8),
            Self::MakeTopics => (TOPIC, 5),
            Self::ReadTopics => (TOPIC, 3),
            Self::WriteTopics => (TOPIC, 4),
            Self::JoinGroups => (GROUP, 3),
        }
    }
}

/// All of that kind.
fn resource(right: Right) -> Vec<u8> {
    [&[right.what().0][..], &text("*"), &[LITERAL]].concat()
}

fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("names are short");
    [&length.to_be_bytes(), text.as_bytes()].concat()
}

/// Asks one thing; the answer without its header.
fn ask(
    stream: &mut (impl Read + Write),
    key: i16,
    version: i16,
    body: &[u8],
) -> io::Result<Vec<u8>> {
    const CORRELATION: i32 = 1;
    // No client's name.
    let header = [key.to_be_bytes(), version.to_be_bytes()].concat();
    let asked = [&header[..], &CORRELATION.to_be_bytes(), &(-1_i16).to_be_bytes(), body].concat();
    let length = u32::try_from(asked.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), asked.as_slice()].concat())?;
    stream.flush()?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length);
    if !(4..=ANSWER_BYTES_MAX).contains(&length) {
        return Err(io::Error::other("that is no answer of Kafka"));
    }
    let mut answer = vec![0; length as usize];
    stream.read_exact(&mut answer)?;
    Ok(answer.split_off(4))
}

fn take<const N: usize>(rest: &mut &[u8]) -> io::Result<[u8; N]> {
    let mut taken = [0; N];
    rest.read_exact(&mut taken)?;
    Ok(taken)
}

/// A text, or none: its length is -1.
fn skip_text(rest: &mut &[u8]) -> io::Result<()> {
    let length = usize::try_from(i16::from_be_bytes(take(rest)?)).unwrap_or(0);
    *rest = rest.get(length..).ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{fs, net::TcpStream, sync::Arc};

    use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, pki_types};

    use super::*;
    use crate::{Behaviour, Kafka, Listener, Security};

    /// Authenticates by `PLAIN`; whether it is let in.
    fn log_in(stream: &mut (impl Read + Write), password: &str) -> bool {
        let answer = ask(stream, 17, 1, &text("PLAIN")).unwrap();
        assert_eq!(answer[..2], [0, 0]);
        let token = format!("\0{}\0{password}", Kafka::USER);
        let token = [&(token.len() as u32).to_be_bytes(), token.as_bytes()].concat();
        ask(stream, 36, 0, &token).unwrap()[..2] == [0, 0]
    }

    fn tls(kafka: &Kafka, stream: TcpStream) -> StreamOwned<ClientConnection, TcpStream> {
        let pem = fs::read(kafka.ca_pem()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(pki_types::pem::PemObject::from_pem_slice(&pem).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider);
        let config = config.with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(roots).with_no_client_auth();
        let name = "127.0.0.1".try_into().unwrap();
        StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), stream)
    }

    #[test]
    fn clients_of_a_proxy_are_told_of_the_proxy() {
        let kafka = Kafka::start_behind_proxies(1, 7).unwrap();
        let mut stream = TcpStream::connect(kafka.bootstrap_of(Listener::Proxied)).unwrap();
        let answer = ask(&mut stream, METADATA, 1, &0_i32.to_be_bytes()).unwrap();
        let port = u32::from(kafka.proxy(1).port()).to_be_bytes();
        assert!(answer.windows(4).any(|it| it == port));
        assert_eq!(kafka.proxy(1).accepted(), 1);
        kafka.proxy(1).set(Behaviour::Refuse).unwrap();
        assert!(TcpStream::connect(kafka.bootstrap_of(Listener::Proxied)).is_err());
        assert!(TcpStream::connect(kafka.bootstrap()).is_ok());
    }

    #[test]
    fn every_listener_lets_in_whom_it_should() {
        let kafka = Kafka::start(1, Security::Guarded).unwrap();
        let connect = |listener| TcpStream::connect(kafka.bootstrap_of(listener)).unwrap();

        assert_eq!(brokers(&mut connect(Listener::Plaintext)).unwrap(), [1]);

        assert!(brokers(&mut connect(Listener::SaslPlaintext)).is_err());
        assert!(!log_in(&mut connect(Listener::SaslPlaintext), "wrong"));
        let mut stream = connect(Listener::SaslPlaintext);
        assert!(log_in(&mut stream, Kafka::PASSWORD));
        assert_eq!(brokers(&mut stream).unwrap(), [1]);

        assert!(brokers(&mut connect(Listener::Ssl)).is_err());
        let mut stream = tls(&kafka, connect(Listener::Ssl));
        assert_eq!(brokers(&mut stream).unwrap(), [1]);

        let mut stream = tls(&kafka, connect(Listener::SaslSsl));
        assert!(log_in(&mut stream, Kafka::PASSWORD));
        assert_eq!(brokers(&mut stream).unwrap(), [1]);

        let known = |rights| are_allowed(&mut connect(Listener::Plaintext), rights).unwrap();
        assert!(!known(&[Right::WriteTopics]));
        kafka.allow(&[Right::WriteTopics, Right::JoinGroups]).unwrap();
        assert!(known(&[Right::WriteTopics, Right::JoinGroups]) && !known(&[Right::ReadTopics]));
    }
}
