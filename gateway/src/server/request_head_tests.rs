//! Heads that pass and heads that do not; what passes, pingora must take as well.

use pingora_core::protocols::http::ServerSession;
use proptest::prelude::*;
use tokio::{io::AsyncWriteExt as _, net::TcpListener, net::TcpStream};

use super::*;

const LIMITS: HeadLimits = HeadLimits {
    head_bytes_max: 1024,
    uri_bytes_max: 256,
    headers_max: 8,
    timeout: Duration::from_secs(10),
};

fn checked(head: &str) -> Result<Framing, ErrorCode> {
    check(head.as_bytes(), &LIMITS).map_err(|failure| failure.code())
}

/// Sends the pieces one by one, and reads a head from them.
async fn read_from(pieces: &[&[u8]]) -> Result<RequestHead, HeadError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let pieces: Vec<_> = pieces.iter().map(|piece| piece.to_vec()).collect();
    let sending = tokio::spawn(async move {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.set_nodelay(true).unwrap();
        for piece in pieces {
            if client.write_all(&piece).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
    });
    let (socket, remote) = listener.accept().await.unwrap();
    let read = read(
        &mut Downstream::new(crate::server::client_stream::ClientStream::Plain(socket), remote),
        &LIMITS,
    )
    .await;
    sending.await.unwrap();
    read
}

#[test]
fn a_plain_head_passes_with_its_framing() {
    let get = "GET /a?b HTTP/1.1\r\nHost: x:4004\r\nAccept: */*\r\n\r\n";
    assert_eq!(checked(get), Ok(Framing::Length(0)));
    let post = "POST /a HTTP/1.1\r\nhost: [::1]:4004\r\nContent-Length: 12\r\n\r\n";
    assert_eq!(checked(post), Ok(Framing::Length(12)));
    let chunked = "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\tChunked \r\n\r\n";
    assert_eq!(checked(chunked), Ok(Framing::Chunked));
    assert_eq!(checked("GET / HTTP/1.0\r\n\r\n"), Ok(Framing::Length(0)));
}

#[tokio::test]
async fn of_every_request_of_the_corpus_the_head_is_refused_or_passes() {
    for form in testbed::corpora::requests("t") {
        let read = read_from(&[&form.bytes]).await;
        let refused = match &read {
            Err(HeadError::Refused(failure)) => failure.code().status().as_u16().to_string(),
            Ok(_) => String::new(),
            Err(HeadError::Gone) => "gone".to_owned(),
        };
        let wanted = if form.outcome.starts_with('4') { form.outcome } else { "" };
        assert_eq!(refused, wanted, "{}", form.text);
    }
}

#[test]
fn a_tunnel_is_no_method_here() {
    let connect = "CONNECT x:22 HTTP/1.1\r\nHost: x:22\r\n\r\n";
    assert_eq!(checked(connect), Err(ErrorCode::MethodNotAllowed));
}

#[test]
fn one_header_more_than_allowed_is_refused() {
    let head = |more| format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "X: a\r\n".repeat(more));
    assert!(checked(&head(7)).is_ok());
    assert_eq!(checked(&head(8)), Err(ErrorCode::Invalid));
}

#[tokio::test]
async fn a_head_in_pieces_is_put_together_and_the_rest_is_kept() {
    let head = read_from(&[b"\r\n", b"GET / HT", b"TP/1.1\r", b"\nHost: x\r\n\r", b"\nrest"]).await;
    let head = head.unwrap();
    assert_eq!(&head.bytes[..], b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(b"rest".starts_with(&head.rest));
}

#[tokio::test]
async fn a_bare_line_feed_is_refused_at_once() {
    for pieces in
        [&[b"GET / HTTP/1.1\nHost: x\n\n".as_slice()][..], &[b"GET / HTTP/1.1\r\n", b"\n"]]
    {
        assert!(matches!(read_from(pieces).await, Err(HeadError::Refused(_))));
    }
}

#[tokio::test]
async fn a_head_that_is_too_long_is_refused() {
    let long = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}", "a".repeat(1024));
    assert!(matches!(read_from(&[long.as_bytes()]).await, Err(HeadError::Refused(_))));
    let whole = format!("{long}\r\n\r\n");
    assert!(matches!(read_from(&[whole.as_bytes()]).await, Err(HeadError::Refused(_))));
}

#[tokio::test]
async fn a_client_that_goes_away_within_a_head_is_not_answered() {
    assert!(matches!(read_from(&[b"GET / HTTP/1.1\r\n"]).await, Err(HeadError::Gone)));
}

/// What pingora makes of a head: whether it takes it, and the target that it keeps.
async fn taken_by_pingora(head: &[u8]) -> Option<Vec<u8>> {
    let (socket, _) = tokio::io::duplex(64);
    let mut session = ServerSession::new_http1(Box::new(socket));
    session.set_pipelined_prefix(BytesMut::from(head));
    match session.read_request().await {
        Ok(true) => Some(session.req_header().raw_path().to_vec()),
        _ => None,
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(head in proptest::collection::vec(any::<u8>(), 0..128)) {
        let _ = check(&head, &LIMITS);
        let _ = Scan::default().end(&head);
    }

    #[test]
    fn what_passes_is_taken_by_pingora_as_it_is(
        method in "(GET|POST|TRACE|FOO)",
        target in "/[ -~]{0,12}",
        version in "1\\.[01]",
        host in "[ -~]{0,6}",
        name in "[!-~]{1,8}",
        value in "[\\t -~]{0,8}",
        length in "(Content-Length: [0-9+, ]{1,3}\r\n)?",
    ) {
        let head = format!(
            "{method} {target} HTTP/{version}\r\nHost: {host}\r\n{name}: {value}\r\n{length}\r\n"
        );
        if check(head.as_bytes(), &LIMITS).is_ok() {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().build().unwrap();
            let taken = runtime.block_on(taken_by_pingora(head.as_bytes()));
            prop_assert_eq!(taken, Some(target.into_bytes()), "{:?}", head);
        }
    }
}
