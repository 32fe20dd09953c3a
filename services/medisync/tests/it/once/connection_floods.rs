//! Clients that are many, and clients that make the gateway work for nothing.

use std::time::Duration;

use reqwest::StatusCode;
use testbed::frames::{
    self, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use crate::{
    caller::Caller,
    heavy,
    https::Https,
    test_mesh::{TestMesh, until},
    wire::answers,
};

/// A connection that is still open then, stays open.
const CLOSED_WITHIN: Duration = Duration::from_secs(20);
const ENHANCE_YOUR_CALM: u32 = 11;

/// A number that the process tells of itself.
async fn told(world: &TestMesh, name: &str) -> f64 {
    let metrics = world.metrics().await;
    let value = |line: &str| Some(line.strip_prefix(name)?.trim().parse().unwrap());
    metrics.lines().find_map(value).unwrap_or_else(|| panic!("no {name}"))
}

/// Somebody who does nothing odd is served.
async fn served(caller: &Caller) {
    caller.get("/healthz").await.expect(StatusCode::OK);
}

#[tokio::test]
async fn thousands_who_say_nothing_hurt_nobody_and_are_closed_in_time() {
    let _turn = heavy::turn().await;
    const IDLE: usize = 3000;
    let world = TestMesh::embedded_with(&[("MEDISYNC_GATEWAY__KEEP_ALIVE_MS", "4000")]).await;
    let regular = world.anybody();
    served(&regular).await;
    let fds_before = told(&world, "process_open_fds ").await;
    let address = world.url("gateway").split_once("://").unwrap().1;
    let mut idle = Vec::new();
    for n in 0..IDLE {
        idle.push(TcpStream::connect(address).await.unwrap());
        if n % 100 == 0 {
            served(&regular).await;
        }
    }
    for mut client in idle {
        let closed = timeout(CLOSED_WITHIN, client.read(&mut [0])).await;
        assert!(matches!(closed.unwrap(), Ok(0) | Err(_)));
    }
    served(&regular).await;
    until("what was opened is closed", || async {
        told(&world, "process_open_fds ").await <= fds_before + 5.0
    })
    .await;
}

#[tokio::test]
async fn one_address_does_not_take_all_the_room() {
    const EACH: usize = 50;
    let world =
        TestMesh::embedded_with(&[("MEDISYNC_GATEWAY__CONNECTIONS_PER_CLIENT_MAX", "50")]).await;
    let url = world.url("gateway");
    let address = url.split_once("://").unwrap().1;
    let mut mine = Vec::new();
    for _ in 0..EACH {
        mine.push(TcpStream::connect(address).await.unwrap());
    }
    let refused = answers(url, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!refused[0].header("retry-after").is_empty());
    let name = "gateway_connections_refused_total{bound=\"client\"} ";
    assert!(told(&world, name).await >= 1.0);
    let elsewhere = TcpSocket::new_v4().unwrap();
    elsewhere.bind(([127, 0, 0, 2], 0).into()).unwrap();
    let mut other = elsewhere.connect(address.parse().unwrap()).await.unwrap();
    other.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut first = [0; 15];
    timeout(CLOSED_WITHIN, other.read_exact(&mut first)).await.unwrap().unwrap();
    assert_eq!(&first, b"HTTP/1.1 200 OK");
    drop(mine);
    until("there is room again", || async {
        world.anybody().get("/healthz").await.status == StatusCode::OK
    })
    .await;
}

/// Sends these after the preface, for as long as they are taken; all that came back.
async fn flooded(mesh: &Https, flood: &[u8], times: usize) -> Vec<u8> {
    let tls = mesh.connect().await;
    let (mut reader, mut writer) = tokio::io::split(tls);
    let mut said = Vec::new();
    let write = async {
        let hello = [PREFACE, &frames::frame(SETTINGS, 0, 0, &[])].concat();
        let mut taken = writer.write_all(&hello).await.is_ok();
        for _ in 0..times {
            taken = taken && writer.write_all(flood).await.is_ok();
        }
        drop(writer.flush().await);
    };
    let read = async { drop(reader.read_to_end(&mut said).await) };
    let closed = timeout(CLOSED_WITHIN, async { tokio::join!(write, read) }).await;
    assert!(closed.is_ok(), "it is left open");
    said
}

/// With what code the connection was ended; none when it just was.
fn ended_with(said: Vec<u8>) -> Option<u32> {
    let mut rest = said;
    while let Some(frame) = frames::take(&mut rest) {
        if frame.kind == GOAWAY {
            return Some(u32::from_be_bytes(frame.payload[4..8].try_into().unwrap()));
        }
    }
    None
}

#[tokio::test]
async fn whoever_floods_by_http_2_has_to_go_and_others_stay() {
    let _turn = heavy::turn().await;
    let mesh = Https::start(&[]).await;
    let (token, regular) = (mesh.token().await, mesh.anybody());
    let authorization = format!("Bearer {token}");
    let fields: testbed::corpora::RequestFields = [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", "/auth/me"),
        ("authorization", &authorization),
    ]
    .map(|(name, value)| (name.into(), value.into()))
    .into();
    served(&regular).await;
    let before_bytes = told(&mesh.world, "process_resident_memory_bytes ").await;

    let reset = |n: u32| {
        let request = frames::request(2 * n + 1, &fields, None, None);
        [request, frames::frame(RST_STREAM, 0, 2 * n + 1, &8_u32.to_be_bytes())].concat()
    };
    let resets: Vec<u8> = (0..1000).flat_map(reset).collect();
    assert_eq!(ended_with(flooded(&mesh, &resets, 1).await), Some(ENHANCE_YOUR_CALM));
    served(&regular).await;

    for frame in [frames::frame(PING, 0, 0, &[0; 8]), frames::frame(SETTINGS, 0, 0, &[])] {
        flooded(&mesh, &frame.repeat(100), 1000).await;
        served(&regular).await;
    }

    // Four thousand bytes that the table remembers, and one byte each time they are meant.
    let mut bomb = frames::header_block(&fields);
    bomb.extend([0x40, 1, b'x', 0x7f, 0xa1, 0x1e]);
    bomb.extend([b'v'; 4000]);
    bomb.extend([0xbe; 11_000]);
    let bombs: Vec<u8> = (0..50)
        .flat_map(|n| frames::frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, &bomb))
        .collect();
    flooded(&mesh, &bombs, 1).await;
    served(&regular).await;
    let after_bytes = told(&mesh.world, "process_resident_memory_bytes ").await;
    let grown_mib = (after_bytes - before_bytes) / f64::from(1 << 20);
    assert!(grown_mib < 50.0, "{grown_mib} MiB");
    eprintln!("resident memory grew by {grown_mib:.1} MiB");
}
