//! Frames of HTTP/2, byte by byte (RFC 9113, 4 and 6), for clients that do what no library would.

use crate::corpora::RequestFields;

/// What a client sends first.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Kinds of frames.
pub const DATA: u8 = 0;
/// See [`DATA`].
pub const HEADERS: u8 = 1;
/// See [`DATA`].
pub const RST_STREAM: u8 = 3;
/// See [`DATA`].
pub const SETTINGS: u8 = 4;
/// See [`DATA`].
pub const PING: u8 = 6;
/// See [`DATA`].
pub const GOAWAY: u8 = 7;
/// See [`DATA`].
pub const CONTINUATION: u8 = 9;

/// Flags of frames.
pub const END_STREAM: u8 = 1;
/// See [`END_STREAM`].
pub const ACK: u8 = 1;
/// See [`END_STREAM`].
pub const END_HEADERS: u8 = 4;

const HEAD_BYTES: usize = 9;

/// A frame that has come.
#[derive(Clone, Debug)]
pub struct Frame {
    /// What it is.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Of which stream; 0: of the connection.
    pub stream: u32,
    /// What it says.
    pub payload: Vec<u8>,
}

/// The bytes of a frame.
#[must_use]
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame is short").to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// The bytes of a whole request, on this stream.
#[must_use]
pub fn request(
    stream: u32,
    fields: &RequestFields,
    body: Option<&[u8]>,
    trailers: Option<&RequestFields>,
) -> Vec<u8> {
    let ends = |last: bool| if last { END_STREAM } else { 0 };
    let mut bytes =
        frame(HEADERS, END_HEADERS | ends(body.is_none()), stream, &header_block(fields));
    if let Some(body) = body {
        bytes.extend(frame(DATA, ends(trailers.is_none()), stream, body));
    }
    if let Some(trailers) = trailers {
        bytes.extend(frame(HEADERS, END_HEADERS | END_STREAM, stream, &header_block(trailers)));
    }
    bytes
}

/// Fields as literals that no table remembers (RFC 7541, 6.2.2): any bytes can be written so.
#[must_use]
pub fn header_block(fields: &RequestFields) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            put_length(&mut block, text.len());
            block.extend(text);
        }
    }
    block
}

/// Takes the first frame off the bytes, if it is whole.
pub fn take(bytes: &mut Vec<u8>) -> Option<Frame> {
    let head: [u8; HEAD_BYTES] = bytes.get(..HEAD_BYTES)?.try_into().ok()?;
    let [high, middle, low, kind, flags, stream @ ..] = head;
    let length = usize::try_from(u32::from_be_bytes([0, high, middle, low])).ok()?;
    let payload = bytes.get(HEAD_BYTES..HEAD_BYTES + length)?.to_vec();
    bytes.drain(..HEAD_BYTES + length);
    Some(Frame { kind, flags, stream: u32::from_be_bytes(stream), payload })
}

/// The settings that a frame says: names (RFC 9113, 6.5.2) and values.
#[must_use]
pub fn settings(payload: &[u8]) -> Vec<(u16, u32)> {
    let setting = |six: &[u8]| {
        (u16::from_be_bytes([six[0], six[1]]), u32::from_be_bytes([six[2], six[3], six[4], six[5]]))
    };
    payload.chunks_exact(6).map(setting).collect()
}

/// The status at the beginning of an answer's header block, on a connection that had no answer
/// before: from the static table (RFC 7541, appendix A), or three digits.
#[must_use]
pub fn status(block: &[u8]) -> Option<u16> {
    const INDEXED: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    // A change of the table's size may stand before it.
    let block = match block {
        [first, rest @ ..] if first & 0xe0 == 0x20 => rest,
        block => block,
    };
    match block {
        [first @ 0x88..=0x8e, ..] => Some(INDEXED[usize::from(first - 0x88)]),
        [0x48 | 0x08 | 0x18, length, rest @ ..] => {
            let text = rest.get(..usize::from(length & 0x7f))?;
            let digits = if length & 0x80 == 0 { text.to_vec() } else { digits(text) };
            std::str::from_utf8(&digits).ok()?.parse().ok()
        }
        _ => None,
    }
}

/// Digits in Huffman's code (RFC 7541, appendix B): 0 to 2 have five bits, the others six.
fn digits(bytes: &[u8]) -> Vec<u8> {
    let bits: Vec<u8> =
        bytes.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1)).collect();
    let number = |bits: &[u8]| bits.iter().fold(0, |number, bit| number << 1 | bit);
    let (mut digits, mut rest) = (Vec::new(), &bits[..]);
    while rest.len() >= 5 {
        let (digit, length) = match (number(&rest[..5]), rest.get(..6).map(number)) {
            (short @ 0..=2, _) => (short, 5),
            (_, Some(long @ 0b01_1001..=0b01_1111)) => (long - 0b01_1001 + 3, 6),
            // Padding.
            _ => break,
        };
        digits.push(b'0' + digit);
        rest = &rest[length..];
    }
    digits
}

/// A length in seven bits, and more bytes where they are too few (RFC 7541, 5.1).
fn put_length(block: &mut Vec<u8>, length: usize) {
    if length < 127 {
        return block.push(u8::try_from(length).expect("it is less than 127"));
    }
    block.push(127);
    let mut rest = length - 127;
    while rest >= 128 {
        block.push(u8::try_from(rest % 128).expect("it is less than 128") | 128);
        rest /= 128;
    }
    block.push(u8::try_from(rest).expect("it is less than 128"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_from_the_table_or_from_digits() {
        assert_eq!(status(&[0x88]), Some(200));
        assert_eq!(status(&[0x8c, 1, 2]), Some(400));
        assert_eq!(status(&[0x20, 0x8d]), Some(404));
        // RFC 7541, C.6.1: 302.
        assert_eq!(status(&[0x48, 0x82, 0x64, 0x02]), Some(302));
        assert_eq!(status(&[0x08, 3, b'4', b'3', b'1']), Some(431));
    }

    #[test]
    fn what_is_written_is_taken_apart_again() {
        let fields = vec![(b"x".to_vec(), vec![b'v'; 300])];
        let mut bytes = request(1, &fields, Some(b"{}"), None);
        let head = take(&mut bytes).unwrap();
        assert_eq!((head.kind, head.flags, head.stream), (HEADERS, END_HEADERS, 1));
        // 300 = 127 + 173 = 127 + (45 | 128) + 1 * 128 (RFC 7541, 5.1).
        assert_eq!(head.payload[..6], [0, 1, b'x', 127, 173, 1]);
        let body = take(&mut bytes).unwrap();
        assert_eq!((body.kind, body.flags, &*body.payload), (DATA, END_STREAM, &b"{}"[..]));
        assert!(take(&mut bytes).is_none());
        assert_eq!(settings(&[0, 3, 0, 0, 0, 100]), [(3, 100)]);
    }
}
