//! Requests for a part that runs in this process: the part's service is called, and pingora, which
//! would connect to its port, is not asked.
//!
//! The client sees no difference. The same phases as in `proxy` make the head of the request and
//! that of the answer, count the body and watch the time. While one of the two certificates would
//! be refused in a handshake, the request goes over the port, and is refused there.

use std::{collections::HashMap, future::Future, pin::pin, time::Duration};

use axum::{body::Body, extract::Request, response::Response};
use bytes::Bytes;
use http::{
    HeaderValue, Method, StatusCode, Version,
    header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING},
    request::Parts,
};
use http_body_util::{
    BodyExt as _,
    channel::{Channel, Sender},
};
use hyper::body::Body as _;
use pingora_core::{Error, ErrorType, Result};
use pingora_http::ResponseHeader;
use pingora_proxy::Session;
use shared_middleware::{identity::Part, in_process::InProcess};
use tokio::time::{error::Elapsed, timeout};

use crate::proxy::{
    Gateway,
    forward::{prepare, upstream},
    headers,
    request_context::RequestContext,
};

/// The parts of this process.
pub(crate) struct InProcessParts {
    pub(crate) parts: HashMap<Part, InProcess>,
    /// An answer, and each piece of its body, comes within this time.
    pub(crate) read_timeout: Duration,
}

/// A request's body on its way to the part: one piece waits there at most.
type Feed = Sender<Bytes>;

/// One request and its answer.
struct Exchange<'e> {
    gateway: &'e Gateway,
    part: &'e InProcess,
    session: &'e mut Session,
    ctx: &'e mut RequestContext,
}

/// Has the part answer; false when it is not in this process.
pub(crate) async fn answer(
    gateway: &Gateway,
    session: &mut Session,
    ctx: &mut RequestContext,
) -> Result<bool> {
    let Some((part, ..)) = upstream(ctx.row) else { return Ok(false) };
    let Some(part) = gateway.in_process.parts.get(&part) else { return Ok(false) };
    let mut head = session.req_header().clone();
    headers::remove_hop_by_hop(&mut head)?;
    prepare(session, &mut head, ctx)?;
    head.set_version(Version::HTTP_11);
    let head = Parts::from(head);
    // Where the client had the token taken off, the part is to ask for it.
    let caller = ctx.caller.clone().filter(|_| head.headers.contains_key(AUTHORIZATION));
    let (feed, body) = body(session);
    let Some(answered) = part.call(Request::from_parts(head, body), caller) else {
        return Ok(false);
    };
    let mut exchange = Exchange { gateway, part, session, ctx };
    exchange.continue_if_asked().await?;
    let answered = exchange.wait_for(answered, feed).await?;
    exchange.pass_on(answered).await?;
    Ok(true)
}

fn body(session: &mut Session) -> (Option<Feed>, Body) {
    if session.is_body_empty() {
        return (None, Body::empty());
    }
    let (feed, body) = Channel::<Bytes>::new(1);
    (Some(feed), Body::new(body))
}

// === impl Exchange ===

impl Exchange<'_> {
    /// Such a client sends its body when it is asked to (RFC 9110, 10.1.1).
    async fn continue_if_asked(&mut self) -> Result<()> {
        if self.session.is_body_empty() || !self.session.req_header().headers.contains_key(EXPECT) {
            return Ok(());
        }
        self.session.as_downstream_mut().write_continue_response().await
    }

    /// Waits for the part, and feeds it the body of the request meanwhile. A client that goes away
    /// ends it.
    async fn wait_for<T>(
        &mut self,
        answered: impl Future<Output = T>,
        mut feed: Option<Feed>,
    ) -> Result<T> {
        let mut answered = pin!(timeout(self.gateway.in_process.read_timeout, answered));
        let in_time = |answered: Result<T, Elapsed>| {
            answered.or_else(|_| Error::err_up(ErrorType::ReadTimedout))
        };
        loop {
            let read = self.session.as_downstream_mut().read_body_or_idle(feed.is_none());
            let read = tokio::select! {
                // A part that needs nothing more is not kept waiting for the client.
                biased;
                answered = &mut answered => return in_time(answered),
                read = read => read.map_err(|error| error.into_down())?,
            };
            let Some(open) = &mut feed else { continue };
            let ended = self.session.is_body_done();
            if let Some(read) = read {
                self.gateway.body.check(&read, self.ctx)?;
                tokio::select! {
                    biased;
                    answered = &mut answered => return in_time(answered),
                    // A part that does not want the rest answers without it.
                    _ = open.send_data(read) => {}
                }
            }
            if ended {
                feed = None;
            }
        }
    }

    /// Writes the part's answer to the client as it comes.
    async fn pass_on(&mut self, answer: Response) -> Result<()> {
        let (head, body) = answer.into_parts();
        let mut head = ResponseHeader::from(head);
        frame(&mut head, &body, self.session)?;
        self.gateway.finish_head(self.session, &mut head, self.ctx)?;
        let has_body = self.session.req_header().method != Method::HEAD && !body.is_end_stream();
        self.session.write_response_header(Box::new(head), !has_body).await?;
        if has_body { self.pass_on_body(body).await } else { self.write(None, true).await }
    }

    async fn pass_on_body(&mut self, mut body: Body) -> Result<()> {
        loop {
            let frame = self.part.polled(body.frame());
            let Some(frame) = self.wait_for(frame, None).await? else {
                return self.write(None, true).await;
            };
            let Ok(frame) = frame else { return Error::err_up(ErrorType::ConnectionClosed) };
            let ended = body.is_end_stream();
            self.write(frame.into_data().ok(), ended).await?;
            if ended {
                return Ok(());
            }
        }
    }

    async fn write(&mut self, data: Option<Bytes>, ended: bool) -> Result<()> {
        self.session.write_response_body(data, ended).await
    }
}

/// Sets the framing of the body, as an HTTP server does; nothing about a
/// connection, since there is none.
fn frame(head: &mut ResponseHeader, body: &Body, session: &Session) -> Result<()> {
    head.remove_header(&CONNECTION);
    let has_none = head.status.is_informational()
        || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if has_none {
        head.remove_header(&CONTENT_LENGTH);
        return Ok(());
    }
    if head.headers.contains_key(CONTENT_LENGTH) {
        return Ok(());
    }
    match body.size_hint().exact() {
        Some(length) => head.insert_header(CONTENT_LENGTH, length),
        None if session.req_header().version == Version::HTTP_11 => {
            head.insert_header(TRANSFER_ENCODING, HeaderValue::from_static("chunked"))
        }
        // HTTP/2 tells by its frames, HTTP/1.0 by the end of the connection.
        None => Ok(()),
    }
}
