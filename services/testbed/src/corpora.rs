//! Hostile requests, from the files in `gateway/corpora`: each with what becomes of it. The tests
//! of the gateway by itself and those of the whole mesh read the same ones.

const PATHS: &str = include_str!("../../../gateway/corpora/paths.txt");
const REQUESTS: &str = include_str!("../../../gateway/corpora/requests.txt");
const HTTP2: &str = include_str!("../../../gateway/corpora/http2.txt");

/// A patient that could be registered: a request that is mistaken for a good one would do so.
const JSON: &str = concat!(
    r#"{"name":"Never Seen","email":"never@example.com","address":"Nowhere","#,
    r#""dateOfBirth":"1990-01-01"}"#
);

/// One request, or target.
#[derive(Clone, Debug)]
pub struct Form {
    /// What becomes of it, in the words of its file.
    pub outcome: &'static str,
    /// How it is written in the file.
    pub text: &'static str,
    /// What is sent.
    pub bytes: Vec<u8>,
}

/// One request of HTTP/2.
#[derive(Clone, Debug)]
pub struct Http2Form {
    /// What becomes of it, in the words of its file.
    pub outcome: &'static str,
    /// How it is written in the file.
    pub text: &'static str,
    /// The fields of its head.
    pub fields: RequestFields,
    /// Its body, if it has one.
    pub body: Option<Vec<u8>>,
    /// The fields after its body, if there are any.
    pub trailers: Option<RequestFields>,
}

/// Names and values.
pub type RequestFields = Vec<(Vec<u8>, Vec<u8>)>;

/// Request targets.
#[must_use]
pub fn paths() -> Vec<Form> {
    lines(PATHS).map(|(outcome, text)| Form { outcome, text, bytes: unescaped(text) }).collect()
}

/// Whole requests of HTTP/1, with this token where one belongs.
#[must_use]
pub fn requests(token: &str) -> Vec<Form> {
    let token = format!("Authorization: Bearer {token}\r\n");
    let post = "POST /api/patients HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
    let get = "GET /api/users HTTP/1.1\r\nHost: x\r\n";
    let values = [
        ("{json}", JSON.to_owned()),
        ("{post}", format!("{post}{token}")),
        ("{smuggled}", format!("{get}{token}\r\n")),
        ("{last}", "GET /auth/me HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_owned()),
        ("{token}", token),
    ];
    let form = |(outcome, text)| Form { outcome, text, bytes: filled(unescaped(text), &values) };
    lines(REQUESTS).map(form).collect()
}

/// Requests of HTTP/2, with this token where one belongs.
#[must_use]
pub fn http2(token: &str) -> Vec<Http2Form> {
    let head = |method: &str, path: &str| {
        format!(
            ":method={method}; :scheme=https; :authority=localhost; :path={path}; \
             authorization=Bearer {token}"
        )
    };
    let values = [
        ("{get}", head("GET", "/auth/me")),
        ("{post}", head("POST", "/api/patients/search")),
        ("{token}", format!("authorization=Bearer {token}")),
    ];
    let form = |(outcome, text): (_, &'static str)| {
        let mut parts = text.split(" | ").map(|part| filled(unescaped(part), &values));
        let head = parts.next().unwrap_or_default();
        let (body, trailers) = (parts.next(), parts.next());
        let (fields, trailers) = (fields(&head), trailers.as_deref().map(self::fields));
        Http2Form { outcome, text, fields, body, trailers }
    };
    lines(HTTP2).map(form).collect()
}

/// Outcomes, and what they are of.
fn lines(file: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let forms = file.lines().filter(|line| !line.is_empty() && !is_comment(line));
    forms.map(|line| line.split_once(' ').expect("an outcome and a form stand in a line"))
}

fn is_comment(line: &str) -> bool {
    line == "#" || line.starts_with("# ")
}

/// `\r`, `\n`, `\t`, `\0` and `\xNN` as bytes; any other backslash stands for itself.
fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        bytes.extend_from_slice(before.as_bytes());
        let hex = after.strip_prefix('x').and_then(|hex| hex.get(..2));
        let hex = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        let short = [("r", b'\r'), ("n", b'\n'), ("t", b'\t'), ("0", b'\0')];
        let short = short.into_iter().find(|(name, _)| after.starts_with(name));
        let (byte, length) = match (hex, short) {
            (Some(byte), _) => (byte, 3),
            (None, Some((_, byte))) => (byte, 1),
            (None, None) => (b'\\', 0),
        };
        bytes.push(byte);
        rest = &after[length..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

/// With values for what stands in braces.
fn filled(mut bytes: Vec<u8>, values: &[(&str, String)]) -> Vec<u8> {
    for (name, value) in values {
        let name = name.as_bytes();
        while let Some(at) = bytes.windows(name.len()).position(|window| window == name) {
            bytes.splice(at..at + name.len(), value.bytes());
        }
    }
    bytes
}

/// `NAME=VALUE; NAME=VALUE`; the name of a pseudo-header begins with a colon.
fn fields(head: &[u8]) -> RequestFields {
    let text = String::from_utf8_lossy(head);
    let field = |field: &str| {
        let (name, value) = field.split_once('=').expect("a field has a name and a value");
        (name.as_bytes().to_vec(), value.as_bytes().to_vec())
    };
    text.split("; ").map(field).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_enough_forms_and_all_are_read() {
        assert!(paths().len() >= 180);
        assert!(requests("t").len() >= 80);
        assert!(http2("t").len() >= 50);
        for form in requests("t") {
            assert!(!form.bytes.contains(&b'{') || form.bytes.ends_with(b"\r\n"), "{}", form.text);
        }
    }

    #[test]
    fn a_patient_is_as_long_as_the_file_says() {
        assert_eq!(JSON.len(), 0x60);
    }

    #[test]
    fn bytes_are_written_as_escapes_and_other_backslashes_as_they_are() {
        assert_eq!(unescaped("a\\r\\n\\t\\0\\xffb\\..\\api\\"), b"a\r\n\t\0\xffb\\..\\api\\");
    }

    #[test]
    fn a_form_of_http_2_has_fields_body_and_trailers() {
        let forms = http2("t");
        let with_trailers = forms.iter().find(|form| form.trailers.is_some()).unwrap();
        assert_eq!(with_trailers.fields[0], (b":method".to_vec(), b"POST".to_vec()));
        assert_eq!(with_trailers.body.as_deref(), Some(b"{}".as_slice()));
        assert_eq!(forms[0].fields.last().unwrap().1, b"Bearer t");
    }
}
