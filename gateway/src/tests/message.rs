//! HTTP/1 messages as they come over a socket, byte by byte.

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// A request or an answer, as it came.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) first_line: String,
    /// Names in lower case, in their order.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    /// Whether the body ended as its headers say.
    pub(super) whole: bool,
}

// === impl Message ===

impl Message {
    pub(super) fn status(&self) -> u16 {
        self.first_line.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// The one value of a header.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(n, _)| n == name);
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} stands twice");
        value
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Sees that it is a problem, complete and marked like every answer; its code.
    pub(super) fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        self.is_marked();
        let problem = self.json();
        assert_eq!(problem["status"], self.status());
        assert_eq!(problem["traceId"].as_str().map(str::len), Some(32));
        problem["code"].as_str().unwrap().to_owned()
    }

    /// Sees that it has what every answer has.
    pub(super) fn is_marked(&self) {
        assert_eq!(self.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(self.header("referrer-policy"), Some("no-referrer"));
        assert!(self.header("content-security-policy").unwrap().contains("frame-ancestors 'none'"));
        assert!(self.header("cache-control").is_some());
        assert!(self.header("x-request-id").is_some());
        assert_eq!(self.header("server"), None);
    }
}

/// Reads a message; none at the end of the connection.
pub(super) async fn receive(
    socket: &mut (impl AsyncRead + Unpin),
    read: &mut Vec<u8>,
    bodiless: bool,
) -> Option<Message> {
    let head_end = loop {
        if let Some(at) = read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break at + 4;
        }
        if socket.read_buf(read).await.unwrap_or(0) == 0 {
            return None;
        }
    };
    let head = String::from_utf8(read.drain(..head_end).collect()).unwrap();
    let mut lines = head.trim_end().split("\r\n");
    let first_line = lines.next().unwrap().to_owned();
    let headers: Vec<_> = lines
        .map(|line| line.split_once(':').unwrap())
        .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
        .collect();
    let mut message = Message { first_line, headers, body: Vec::new(), whole: true };
    let answer = message.first_line.starts_with("HTTP/");
    if bodiless || (answer && matches!(message.status(), 204 | 304)) {
        return Some(message);
    }
    if message.header("transfer-encoding").is_some() {
        message.whole = receive_chunks(socket, read, &mut message.body).await.is_some();
    } else if let Some(length) = message.header("content-length") {
        let length = length.parse().unwrap();
        message.whole = receive_bytes(socket, read, length).await.is_some();
        message.body = read.drain(..length.min(read.len())).collect();
    }
    Some(message)
}

async fn receive_bytes(
    socket: &mut (impl AsyncRead + Unpin),
    read: &mut Vec<u8>,
    length: usize,
) -> Option<()> {
    while read.len() < length {
        if socket.read_buf(read).await.unwrap_or(0) == 0 {
            return None;
        }
    }
    Some(())
}

async fn receive_chunks(
    socket: &mut (impl AsyncRead + Unpin),
    read: &mut Vec<u8>,
    body: &mut Vec<u8>,
) -> Option<()> {
    loop {
        let line_end = loop {
            if let Some(at) = read.windows(2).position(|bytes| bytes == b"\r\n") {
                break at;
            }
            receive_bytes(socket, read, read.len() + 1).await?;
        };
        let size = String::from_utf8(read.drain(..line_end + 2).collect()).unwrap();
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        receive_bytes(socket, read, size + 2).await?;
        body.extend(read.drain(..size));
        read.drain(..2);
        if size == 0 {
            return Some(());
        }
    }
}
