//! Reads the head of a request, and refuses what could be read in two ways.
//!
//! Pingora parses the head as well, but it repairs where we refuse: it drops a fragment, escapes
//! odd bytes, lets `Transfer-Encoding` win over `Content-Length`. It also waits long for a slow
//! head and answers a broken one in its own words. So it gets to see only heads that passed here,
//! and what it repairs never comes up. The rules are those of RFC 9112 without its leniencies.

use std::{io, time::Duration};

use bytes::{Buf as _, BytesMut};
use memchr::memchr;
use shared_middleware::error::{ErrorCode, Failure};
use tokio::time::timeout;

use crate::{
    policy::path,
    server::downstream::{Downstream, Framing},
};

/// The limits of a head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeadLimits {
    pub(crate) head_bytes_max: usize,
    pub(crate) uri_bytes_max: usize,
    pub(crate) headers_max: usize,
    /// From its first byte to its last.
    pub(crate) timeout: Duration,
}

/// A head that passed.
#[derive(Debug)]
pub(crate) struct RequestHead {
    /// Its bytes, the empty line included.
    pub(crate) bytes: BytesMut,
    /// What was read after it.
    pub(crate) rest: BytesMut,
    /// How long the body is.
    pub(crate) framing: Framing,
}

/// Why there is no head.
#[derive(Debug)]
pub(crate) enum HeadError {
    /// The client is gone, or too slow: there is nobody to answer.
    Gone,
    /// It is refused.
    Refused(Failure),
}

/// Where the search for the end of the head has come to.
#[derive(Default)]
struct Scan {
    at: usize,
    line: usize,
}

/// What the headers say of the body and of the host.
#[derive(Default)]
struct FramingHeaders {
    hosts: usize,
    length: Option<u64>,
    chunked: bool,
}

/// Reads a head of which at least a byte is there.
pub(crate) async fn read(
    client: &mut Downstream,
    limits: &HeadLimits,
) -> Result<RequestHead, HeadError> {
    let mut bytes = client.take_buffered();
    let whole = async {
        let mut scan = Scan::default();
        loop {
            skip_empty_lines(&mut bytes);
            if let Some(end) = scan.end(&bytes)? {
                return Ok(end);
            }
            if bytes.len() > limits.head_bytes_max {
                return Err(invalid("the head of the request is too long"));
            }
            match client.read_more(&mut bytes).await {
                Ok(0) | Err(_) => return Err(HeadError::Gone),
                Ok(_) => {}
            }
        }
    };
    let end = timeout(limits.timeout, whole).await.map_err(|_| HeadError::Gone)??;
    if end > limits.head_bytes_max {
        return Err(invalid("the head of the request is too long"));
    }
    let rest = bytes.split_off(end);
    let framing = check(&bytes, limits).map_err(HeadError::Refused)?;
    Ok(RequestHead { bytes, rest, framing })
}

/// As [`read`], of bytes that are all there.
#[cfg(feature = "fuzzing")]
pub(crate) fn of_bytes(bytes: &[u8], limits: &HeadLimits) -> Option<(usize, Framing)> {
    let end = Scan::default().end(bytes).ok()??;
    (end <= limits.head_bytes_max).then_some(())?;
    Some((end, check(&bytes[..end], limits).ok()?))
}

// === impl RequestHead ===

impl RequestHead {
    /// The request's target.
    pub(crate) fn target(&self) -> Option<&[u8]> {
        self.lines().next()?.split(|&byte| byte == b' ').nth(1)
    }

    /// The one value of `Host`.
    pub(crate) fn host(&self) -> Option<&[u8]> {
        self.lines().skip(1).find_map(|line| {
            let (name, value) = line.split_at_checked(b"host".len())?;
            let value = value.strip_prefix(b":")?;
            name.eq_ignore_ascii_case(b"host").then_some(trim(value))
        })
    }

    fn lines(&self) -> Lines<'_> {
        Lines(self.bytes.strip_suffix(b"\r\n\r\n"))
    }
}

/// A value without the white space around it, which is blanks and tabs and nothing else (RFC 9110,
/// 5.5).
fn trim(value: &[u8]) -> &[u8] {
    let space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let begin = value.iter().position(|byte| !space(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !space(byte)).map_or(begin, |at| at + 1);
    &value[begin..end]
}

/// Whether a whole head is one that can be read in one way only.
fn check(head: &[u8], limits: &HeadLimits) -> Result<Framing, Failure> {
    let malformed = || Failure::new(ErrorCode::Invalid, "the request is malformed");
    let lines = head.strip_suffix(b"\r\n\r\n").ok_or_else(malformed)?;
    let mut lines = Lines(Some(lines));
    let version_1_1 = check_request_line(lines.next().unwrap_or_default(), limits)?;
    let mut seen = FramingHeaders::default();
    let mut headers = 0;
    for line in lines {
        headers += 1;
        seen.header(line).ok_or_else(malformed)?;
    }
    check_count(headers, limits.headers_max)?;
    let hosts_fit = seen.hosts == 1 || (seen.hosts == 0 && !version_1_1);
    let framing_fits = !seen.chunked || (version_1_1 && seen.length.is_none());
    if !hosts_fit || !framing_fits {
        return Err(malformed());
    }
    Ok(if seen.chunked { Framing::Chunked } else { Framing::Length(seen.length.unwrap_or(0)) })
}

/// Whether a request has no more headers than it may.
pub(crate) fn check_count(headers: usize, headers_max: usize) -> Result<(), Failure> {
    if headers > headers_max {
        return Err(Failure::new(ErrorCode::Invalid, "the request has too many headers"));
    }
    Ok(())
}

/// `METHOD SP target SP HTTP/1.x`; whether x is 1.
fn check_request_line(line: &[u8], limits: &HeadLimits) -> Result<bool, Failure> {
    let malformed = || Failure::new(ErrorCode::Invalid, "the request line is malformed");
    let mut words = line.split(|&byte| byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(malformed());
    };
    let version_1_1 = match version {
        b"HTTP/1.1" => true,
        b"HTTP/1.0" => false,
        _ => return Err(malformed()),
    };
    if method.is_empty() || !method.iter().all(|&byte| is_token(byte)) {
        return Err(malformed());
    }
    // Its target is of another form, and nothing here is a tunnel.
    if method == b"CONNECT" {
        let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
        return Err(Failure::method_not_allowed(&methods));
    }
    path::check(target, limits.uri_bytes_max)?;
    Ok(version_1_1)
}

/// The lines of a head, which end in CR LF; the scan has seen to that.
struct Lines<'a>(Option<&'a [u8]>);

// === impl Lines ===

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.0?;
        let Some(end) = memchr(b'\r', rest) else {
            self.0 = None;
            return Some(rest);
        };
        // A CR that no LF follows stays in the next line, where it is refused.
        self.0 = Some(rest[end..].strip_prefix(b"\r\n").unwrap_or(&rest[end..]));
        Some(&rest[..end])
    }
}

// === impl Scan ===

impl Scan {
    /// Where the head ends: after its first empty line. Lines end in CR LF.
    fn end(&mut self, bytes: &[u8]) -> Result<Option<usize>, HeadError> {
        while let Some(offset) = memchr(b'\n', &bytes[self.at..]) {
            let end = self.at + offset;
            if end == self.line || bytes[end - 1] != b'\r' {
                return Err(invalid("a line of the request does not end in CR LF"));
            }
            if end - 1 == self.line {
                return Ok(Some(end + 1));
            }
            (self.at, self.line) = (end + 1, end + 1);
        }
        self.at = bytes.len();
        Ok(None)
    }
}

// === impl FramingHeaders ===

impl FramingHeaders {
    /// Notes a header; none when it is malformed, or contradicts another.
    fn header(&mut self, line: &[u8]) -> Option<()> {
        let at = memchr(b':', line)?;
        let (name, value) = (&line[..at], trim(&line[at + 1..]));
        // A name with a space in or before it would be an obsolete folded line, or worse.
        if name.is_empty() || !name.iter().all(|&byte| is_token(byte)) {
            return None;
        }
        if value.iter().any(|&byte| byte != b'\t' && byte.is_ascii_control()) {
            return None;
        }
        if name.eq_ignore_ascii_case(b"host") {
            self.hosts += 1;
            return value.iter().all(|&byte| in_host(byte)).then_some(());
        }
        if name.eq_ignore_ascii_case(b"content-length") {
            return self.length.replace(length(value)?).is_none().then_some(());
        }
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            let first = !std::mem::replace(&mut self.chunked, true);
            return (first && value.eq_ignore_ascii_case(b"chunked")).then_some(());
        }
        Some(())
    }
}

/// Digits and nothing else: no sign, no list.
fn length(value: &[u8]) -> Option<u64> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    digits.then(|| std::str::from_utf8(value).ok()?.parse().ok()).flatten()
}

/// RFC 9110, 5.6.2. Looked up: every byte of every name is.
const fn is_token(byte: u8) -> bool {
    const TOKEN: [bool; 256] = {
        let mut table = [false; 256];
        let mut byte: u8 = 0;
        while byte < 128 {
            table[byte as usize] = byte.is_ascii_alphanumeric()
                || matches!(
                    byte,
                    b'!' | b'#'
                        | b'$'
                        | b'%'
                        | b'&'
                        | b'\''
                        | b'*'
                        | b'+'
                        | b'-'
                        | b'.'
                        | b'^'
                        | b'_'
                        | b'`'
                        | b'|'
                        | b'~'
                );
            byte += 1;
        }
        table
    };
    TOKEN[byte as usize]
}

const fn in_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':' | b'[' | b']')
}

/// Before a request, and only there, empty lines are passed over (RFC 9112, 2.2).
fn skip_empty_lines(bytes: &mut BytesMut) {
    while bytes.starts_with(b"\r\n") {
        bytes.advance(2);
    }
}

fn invalid(detail: &'static str) -> HeadError {
    HeadError::Refused(Failure::new(ErrorCode::Invalid, detail))
}

// === impl HeadError ===

impl From<io::Error> for HeadError {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

#[cfg(test)]
#[path = "request_head_tests.rs"]
mod tests;
