//! Clients of HTTP/2 that make work: resets, pings, settings, heads that grow when they are read.
//! Each has to go, and nobody else notices.

use shared_middleware::identity::Role;
use testbed::{
    corpora::RequestFields,
    frames::{
        self, ACK, CONTINUATION, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, RST_STREAM,
        SETTINGS,
    },
};

use super::{
    http2_raw::{Ending, Raw},
    test_gateway::TestGateway,
};
use crate::test_support::PublicFiles;

/// Error codes (RFC 9113, 7).
const CANCEL: u32 = 8;
const ENHANCE_YOUR_CALM: u32 = 11;
/// Settings (RFC 9113, 6.5.2).
const MAX_CONCURRENT_STREAMS: u16 = 3;

async fn start() -> (TestGateway, PublicFiles) {
    let (files, tls) = PublicFiles::new();
    (TestGateway::start_public(Some(tls), |_| {}).await, files)
}

fn get(gateway: &TestGateway) -> RequestFields {
    let token = format!("Bearer {}", gateway.keys.token("u1", Role::Admin));
    let fields = [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", "/api/patients"),
        ("authorization", &token),
    ];
    fields.map(|(name, value)| (name.into(), value.into())).into()
}

/// Somebody else is served as ever.
async fn others_are_served(gateway: &TestGateway) {
    let mut other = Raw::connect(gateway).await;
    assert_eq!(other.ask(&get(gateway), None, None).await, Ending::Status(200));
}

/// The code with which the gateway ends the connection; none when it just closes it.
async fn ended(client: &mut Raw) -> Option<u32> {
    let goaway = client.next_of(GOAWAY).await?;
    Some(u32::from_be_bytes(goaway.payload[4..8].try_into().unwrap()))
}

#[tokio::test]
async fn a_client_is_told_how_many_requests_it_may_have_at_once() {
    let (gateway, _files) = start().await;
    let mut client = Raw::connect(&gateway).await;
    let told = client.next_of(SETTINGS).await.unwrap();
    let streams = frames::settings(&told.payload)
        .into_iter()
        .find_map(|(name, value)| (name == MAX_CONCURRENT_STREAMS).then_some(value));
    assert!(streams.is_some_and(|streams| streams <= 100), "{streams:?}");
}

#[tokio::test]
async fn requests_that_are_taken_back_as_soon_as_they_are_made_end_the_connection() {
    let (gateway, _files) = start().await;
    let mut client = Raw::connect(&gateway).await;
    let fields = get(&gateway);
    let mut flood = Vec::new();
    for n in 0..1000 {
        flood.extend(frames::request(2 * n + 1, &fields, None, None));
        flood.extend(frames::frame(RST_STREAM, 0, 2 * n + 1, &CANCEL.to_be_bytes()));
    }
    client.send(&flood).await;
    assert_eq!(ended(&mut client).await, Some(ENHANCE_YOUR_CALM));
    assert!(gateway.part.seen().len() <= 100, "{}", gateway.part.seen().len());
    others_are_served(&gateway).await;
}

#[tokio::test]
async fn frames_that_are_for_nothing_end_the_connection() {
    let (gateway, _files) = start().await;
    let unknown = 0x42;
    for kind in [PING, SETTINGS, unknown] {
        let payload: &[u8] = if kind == PING { &[0; 8] } else { &[] };
        let mut client = Raw::connect(&gateway).await;
        let (mut sent, flood) = (0, frames::frame(kind, 0, 0, payload).repeat(100));
        while client.send(&flood).await {
            sent += 100;
            assert!(sent < 1_000_000, "{kind}: nobody minds");
        }
        others_are_served(&gateway).await;
    }
    // What is asked now and then is answered.
    let mut client = Raw::connect(&gateway).await;
    client.send(&frames::frame(PING, 0, 0, b"are you?")).await;
    let pong = client.next_of(PING).await.unwrap();
    assert_eq!((pong.flags, &*pong.payload), (ACK, &b"are you?"[..]));
}

#[tokio::test]
async fn a_head_that_grows_when_it_is_read_is_not_read_to_its_end() {
    let (gateway, _files) = start().await;
    let mut client = Raw::connect(&gateway).await;
    // A field that the table remembers (RFC 7541, 6.2.1), and then thousands of times one byte that
    // stands for it: 4 KiB each.
    let mut block = frames::header_block(&get(&gateway));
    block.extend([0x40, 1, b'x', 0x7f, 0xa1, 0x1e]);
    block.extend([b'v'; 4000]);
    block.extend([0xbe; 11_000]);
    client.send(&frames::frame(HEADERS, END_HEADERS | END_STREAM, 1, &block)).await;
    let refused = loop {
        match client.next().await {
            Some(frame) if frame.kind == HEADERS => {
                break frames::status(&frame.payload) == Some(431);
            }
            Some(frame) if matches!(frame.kind, RST_STREAM | GOAWAY) => break true,
            Some(_) => {}
            None => break true,
        }
    };
    assert!(refused);
    assert!(gateway.part.seen().is_empty());
    others_are_served(&gateway).await;
}

#[tokio::test]
async fn a_head_that_never_ends_is_not_read_for_ever() {
    let (gateway, _files) = start().await;
    let mut client = Raw::connect(&gateway).await;
    client
        .send(&frames::frame(HEADERS, END_STREAM, 1, &frames::header_block(&get(&gateway))))
        .await;
    let more = vec![(b"x".to_vec(), vec![b'v'; 1000])];
    let more = frames::frame(CONTINUATION, 0, 1, &frames::header_block(&more));
    let mut sent = 0;
    while client.send(&more).await {
        sent += 1;
        assert!(sent < 10_000, "nobody minds");
    }
    assert!(gateway.part.seen().is_empty());
    others_are_served(&gateway).await;
}
