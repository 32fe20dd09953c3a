//! Bytes on a socket, as no proper client would send them.

use std::time::Duration;

use reqwest::{
    StatusCode,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::test_mesh::Answer;

/// A connection that is still open then, stays open.
const CLOSED_WITHIN: Duration = Duration::from_secs(10);

/// Sends the bytes and reads until the other end closes, which it must: all that it said.
pub(crate) async fn said(url: &str, bytes: &[u8]) -> Vec<u8> {
    let address = url.split_once("://").unwrap().1;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let (mut reader, mut writer) = stream.split();
    let mut said = Vec::new();
    let talk = async {
        // Either may fail when the other end has enough; what it said before still counts.
        tokio::join!(async { drop(writer.write_all(bytes).await) }, async {
            drop(reader.read_to_end(&mut said).await)
        },);
    };
    let closed = timeout(CLOSED_WITHIN, talk).await;
    assert!(closed.is_ok(), "left open after {:?}", bytes.escape_ascii().to_string());
    said
}

/// As [`said`], read as answers.
pub(crate) async fn answers(url: &str, bytes: &[u8]) -> Vec<Answer> {
    let said = said(url, bytes).await;
    let mut rest = &said[..];
    let mut answers = Vec::new();
    while !rest.is_empty() {
        let (answer, after) = first(rest);
        answers.push(answer);
        rest = after;
    }
    answers
}

/// Asks for a path, on a connection of its own.
pub(crate) async fn get(url: &str, path: &str) -> Answer {
    let asked = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let mut answers = answers(url, asked.as_bytes()).await;
    assert_eq!(answers.len(), 1, "{path} is not answered once");
    answers.remove(0)
}

fn first(bytes: &[u8]) -> (Answer, &[u8]) {
    let readable = || bytes.escape_ascii().to_string();
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no answer: {}", readable()));
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).map(str::as_bytes);
    let status = StatusCode::from_bytes(status.unwrap_or_else(|| panic!("{}", readable())));
    let headers = lines.map(|line| {
        let (name, value) = line.split_once(':').unwrap();
        (name.parse::<HeaderName>().unwrap(), value.trim().parse::<HeaderValue>().unwrap())
    });
    let headers: HeaderMap = headers.collect();
    let length = headers.get("content-length").map_or("0", |value| value.to_str().unwrap());
    let body = end + 4;
    let (body, rest) = bytes[body..].split_at(length.parse().unwrap());
    let text = String::from_utf8(body.to_vec()).unwrap();
    (Answer { status: status.unwrap(), headers, text }, rest)
}
