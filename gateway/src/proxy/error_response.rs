//! A refusal, as the client gets it; and what a broken proxying amounts to for the client.

use std::time::Duration;

use http::{HeaderValue, header::EXPECT};
use pingora_core::{Error, ErrorSource, ErrorType};
use pingora_proxy::Session;
use shared_middleware::{
    error::{ErrorCode, Failure, PROBLEM_JSON},
    trace_context::TraceContext,
};
use tokio::time::timeout;

use crate::{
    proxy::{headers::ResponseContext, local_response::LocalResponse},
    server::downstream::Downstream,
};

/// How much of an unwanted body is passed over after a refusal, and for how long: a client that is
/// still sending would otherwise find the connection broken and never read why.
pub(crate) const DISCARDED_BYTES_MAX: usize = 1 << 20;
/// See [`DISCARDED_BYTES_MAX`].
pub(crate) const DISCARD_WITHIN: Duration = Duration::from_secs(1);

/// A refusal as an answer.
pub(crate) fn answer(failure: &Failure, trace: &TraceContext) -> LocalResponse {
    LocalResponse {
        status: failure.code().status(),
        content_type: HeaderValue::from_static(PROBLEM_JSON),
        body: failure.body(Some(trace.trace_id())).into(),
        headers: failure.headers().collect(),
    }
}

/// Writes a refusal. That the client is gone is no error.
pub(crate) async fn session(
    session: &mut Session,
    failure: &Failure,
    trace: &TraceContext,
    response_context: &ResponseContext<'_>,
) {
    let written = answer(failure, trace).write_to_session(session, response_context).await;
    if written.is_err() {
        session.set_keepalive(None);
    } else if !session.is_body_done() {
        // The proxy has said `Connection: close` already, since part of the request is unread.
        let _ = timeout(DISCARD_WITHIN, discard_body(session)).await;
    }
}

/// Breaks a connection on which part of an answer was sent. Of a client that does not take it, the
/// system forgets the rest, too.
pub(crate) fn reset_on_drop(session: &Session) {
    let downstream = session.stream().and_then(|stream| stream.as_any().downcast_ref());
    downstream.map(Downstream::reset_on_drop);
}

/// What a failed proxying is to the client; none when it is the client who went away.
pub(crate) fn failure_of(error: &Error) -> Option<Failure> {
    let failure = match (error.esource(), error.etype()) {
        (_, ErrorType::HTTPStatus(413)) => too_large(),
        (_, ErrorType::HTTPStatus(408)) => {
            Failure::new(ErrorCode::Invalid, "the body of the request took too long")
        }
        (_, ErrorType::HTTPStatus(_)) => unavailable(),
        (ErrorSource::Upstream, ErrorType::ReadTimedout | ErrorType::WriteTimedout) => {
            Failure::new(ErrorCode::DeadlineExceeded, "the answer took too long")
        }
        (ErrorSource::Upstream, _) => unavailable(),
        (
            ErrorSource::Downstream | ErrorSource::Unset,
            ErrorType::ReadError
            | ErrorType::WriteError
            | ErrorType::ConnectionClosed
            | ErrorType::ReadTimedout
            | ErrorType::WriteTimedout,
        ) => return None,
        (ErrorSource::Downstream, _) => {
            Failure::new(ErrorCode::Invalid, "the request is malformed")
        }
        (ErrorSource::Internal | ErrorSource::Unset, _) => {
            Failure::new(ErrorCode::Internal, "internal error")
        }
    };
    Some(failure)
}

/// A body over the bound.
pub(crate) fn too_large() -> Failure {
    Failure::new(ErrorCode::TooLarge, "the body of the request is too long")
}

/// A part that is down.
pub(crate) fn unavailable() -> Failure {
    Failure::new(ErrorCode::Unavailable, "the service is not available right now")
}

async fn discard_body(session: &mut Session) {
    // Such a client sends nothing before it is asked to.
    if session.req_header().headers.contains_key(EXPECT) {
        return;
    }
    let mut discarded = 0;
    while let Ok(Some(bytes)) = session.read_request_body().await {
        discarded += bytes.len();
        if discarded > DISCARDED_BYTES_MAX {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code_of(error: &Error) -> Option<ErrorCode> {
        failure_of(error).map(|failure| failure.code())
    }

    #[test]
    fn what_a_part_did_wrong_is_told_by_its_kind() {
        let up = |etype| code_of(&Error::new_up(etype));
        assert_eq!(up(ErrorType::ConnectRefused), Some(ErrorCode::Unavailable));
        assert_eq!(up(ErrorType::ConnectTimedout), Some(ErrorCode::Unavailable));
        assert_eq!(up(ErrorType::ConnectionClosed), Some(ErrorCode::Unavailable));
        assert_eq!(up(ErrorType::InvalidHTTPHeader), Some(ErrorCode::Unavailable));
        assert_eq!(up(ErrorType::ReadTimedout), Some(ErrorCode::DeadlineExceeded));
    }

    #[test]
    fn a_client_that_is_gone_is_not_answered() {
        let down = |etype| code_of(&Error::new_down(etype));
        assert_eq!(down(ErrorType::ConnectionClosed), None);
        assert_eq!(down(ErrorType::WriteError), None);
        assert_eq!(down(ErrorType::InvalidHTTPHeader), Some(ErrorCode::Invalid));
        assert_eq!(down(ErrorType::HTTPStatus(413)), Some(ErrorCode::TooLarge));
        assert_eq!(down(ErrorType::HTTPStatus(408)), Some(ErrorCode::Invalid));
    }

    #[test]
    fn our_own_fault_says_nothing_of_itself() {
        let error = Error::explain(ErrorType::InternalError, "secret");
        let body = failure_of(&error).unwrap().body(None);
        assert!(!String::from_utf8(body).unwrap().contains("secret"));
    }
}
