//! Hostile requests, one by one: what the client gets, and that the part hears of none of them.

use shared_middleware::identity::Role;
use testbed::corpora;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{
    http2_raw::{Ending, Raw},
    message::{Message, receive},
    test_gateway::{TestGateway, soon},
};
use crate::test_support::PublicFiles;

/// All answers to these bytes, after which the connection must end.
async fn answers(gateway: &TestGateway, bytes: &[u8]) -> Vec<Message> {
    let mut socket = TcpStream::connect(gateway.running.address()).await.unwrap();
    let _ = socket.write_all(bytes).await;
    let (mut said, mut answers) = (Vec::new(), Vec::new());
    let _ = soon(socket.read_to_end(&mut said)).await;
    while let Some(answer) = receive(&mut tokio::io::empty(), &mut said, false).await {
        answers.push(answer);
    }
    answers
}

#[tokio::test]
async fn of_every_request_of_the_corpus_becomes_what_its_file_says() {
    let gateway = TestGateway::start().await;
    let token = gateway.keys.token("u1", Role::Admin);
    let mut whole = 0;
    for form in corpora::requests(&token) {
        let found = answers(&gateway, &form.bytes).await;
        let statuses: Vec<_> = found.iter().map(|answer| answer.status().to_string()).collect();
        match form.outcome {
            "broken" => {
                let refused = statuses.iter().all(|status| status.starts_with('4'));
                assert!(refused && statuses.len() <= 1, "{}: {statuses:?}", form.text);
            }
            "once" => {
                assert_eq!(statuses, ["200"], "{}", form.text);
                assert!(gateway.part.seen().last().unwrap().body.is_empty());
            }
            outcome => assert_eq!(statuses.join(","), outcome, "{}", form.text),
        }
        whole += statuses.iter().filter(|status| *status == "200").count();
        let seen = gateway.part.seen();
        let heard = seen.iter().filter(|request| request.whole);
        assert_eq!(heard.count(), whole, "{}", form.text);
        let smuggled = seen.iter().find(|request| request.first_line.contains("/users"));
        assert!(smuggled.is_none(), "{}", form.text);
    }
}

#[tokio::test]
async fn of_every_request_of_http_2_becomes_what_its_file_says() {
    let (_files, tls) = PublicFiles::new();
    let gateway = TestGateway::start_public(Some(tls), |_| {}).await;
    let token = gateway.keys.token("u1", Role::Admin);
    let mut whole = 0;
    for form in corpora::http2(&token) {
        let mut client = Raw::connect(&gateway).await;
        let (body, trailers) = (form.body.as_deref(), form.trailers.as_ref());
        let ending = client.ask(&form.fields, body, trailers).await;
        match (form.outcome, ending) {
            ("refused", Ending::Reset | Ending::Gone | Ending::Status(400..500)) => {}
            ("empty", Ending::Status(200) | Ending::Reset) => {}
            (outcome, Ending::Status(status)) if status.to_string() == outcome => {}
            (_, ending) => panic!("{}: {ending:?}", form.text),
        }
        let seen = gateway.part.seen();
        let heard = seen.iter().filter(|request| request.whole).count() - whole;
        match form.outcome {
            "200" => assert_eq!(heard, 1, "{}", form.text),
            "empty" => assert!(seen.iter().skip(whole).all(|it| it.body.is_empty())),
            _ => assert_eq!(heard, 0, "{}", form.text),
        }
        whole += heard;
        for request in &seen {
            assert_eq!(request.header("x-user-id"), None, "{}", form.text);
        }
    }
}
