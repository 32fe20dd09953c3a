//! Admits a request only from a part that the mesh policy allows.
//!
//! Reads:   the [`Connection`] extension, set by the listener from the verified client certificate,
//!          and the route's [`Access`].
//! Rejects: `Unauthenticated` without a certificate where one is needed, `Forbidden` when it names
//!          a part that may not.

use std::{
    future::{Ready, ready},
    task::{Context, Poll},
};

use axum::{extract::Request, response::Response};
use futures_util::future::Either;
use tower::{Layer, Service};

use crate::{
    access::Access,
    audit::AuditContext,
    error::{ErrorCode, Failure},
    identity::{Part, Peer},
    listen::Connection,
    metrics, peers,
};

/// Wraps a service in [`RequirePeer`].
#[derive(Clone, Copy, Debug)]
pub struct RequirePeerLayer {
    service: Part,
}

/// Answers for the inner service when the peer may not call it.
#[derive(Clone, Debug)]
pub struct RequirePeer<S> {
    service: Part,
    inner: S,
}

// === impl RequirePeerLayer ===

impl RequirePeerLayer {
    /// In front of this service.
    pub const fn new(service: Part) -> Self {
        Self { service }
    }
}

impl<S> Layer<S> for RequirePeerLayer {
    type Service = RequirePeer<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RequirePeer { service: self.service, inner }
    }
}

// === impl RequirePeer ===

impl<S> RequirePeer<S> {
    fn check(&self, request: &Request) -> Result<(), Failure> {
        let peer = request.extensions().get::<Connection>().and_then(|from| from.peer);
        let Some(access) = request.extensions().get::<Access>() else {
            return Err(Failure::new(ErrorCode::Forbidden, "nobody may call this"));
        };
        // The gateway calls for users, who are known by their tokens.
        if let (Some(asked), Some(peer)) = (request.extensions().get::<AuditContext>(), peer)
            && peer != Peer::Part(Part::Gateway)
        {
            asked.by_peer(peer);
        }
        let verdict = admits(*access, peer);
        if verdict.is_err() {
            let peer = peer.map_or("none", Peer::as_str);
            metrics::PEER_DENIED.with_label_values(&[self.service.as_str(), peer]).inc();
        }
        verdict
    }
}

/// The policy, peer by peer. A caller without certificate gets here only when the listener is
/// permissive, and then must show a user's token, which the next layer asks for.
fn admits(access: Access, peer: Option<Peer>) -> Result<(), Failure> {
    match (access, peer) {
        (Access::Open, _) => Ok(()),
        (Access::Parts(parts), Some(Peer::Part(part))) if parts.contains(&part) => Ok(()),
        (Access::AnyUser | Access::User(_), None) => Ok(()),
        (Access::AnyUser | Access::User(_), Some(Peer::Part(part)))
            if peers::FOR_USERS.contains(&part) =>
        {
            Ok(())
        }
        (Access::Parts(_), None) => {
            Err(Failure::new(ErrorCode::Unauthenticated, "a certificate of the mesh is needed"))
        }
        _ => Err(Failure::new(ErrorCode::Forbidden, "this part may not call that")),
    }
}

impl<S> Service<Request> for RequirePeer<S>
where
    S: Service<Request, Response = Response>,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Response, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        match self.check(&request) {
            Ok(()) => Either::Left(self.inner.call(request)),
            Err(failure) => Either::Right(ready(Ok(failure.answer(request.headers())))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::permission::Permission;

    const TO_PATIENT_AND_AUTH: Access = Access::Parts(&[Part::Patient, Part::Auth]);

    /// Every access × every peer; what is not listed as admitted is refused.
    #[test]
    fn only_the_listed_parts_are_admitted() {
        let peers = Part::ALL.map(|part| Some(Peer::Part(part))).into_iter();
        for peer in peers.chain([None, Some(Peer::Unknown)]) {
            let gateway_or_none = matches!(peer, None | Some(Peer::Part(Part::Gateway)));
            let listed = matches!(peer, Some(Peer::Part(Part::Patient | Part::Auth)));
            assert!(admits(Access::Open, peer).is_ok());
            assert_eq!(admits(Access::AnyUser, peer).is_ok(), gateway_or_none, "{peer:?}");
            let user = Access::User(Permission::ReadPatients);
            assert_eq!(admits(user, peer).is_ok(), gateway_or_none, "{peer:?}");
            assert_eq!(admits(TO_PATIENT_AND_AUTH, peer).is_ok(), listed, "{peer:?}");
        }
    }

    #[test]
    fn a_caller_without_certificate_is_told_to_bring_one() {
        let refused = admits(TO_PATIENT_AND_AUTH, None).unwrap_err();
        assert_eq!(refused.code(), ErrorCode::Unauthenticated);
        let refused = admits(TO_PATIENT_AND_AUTH, Some(Peer::Part(Part::Gateway))).unwrap_err();
        assert_eq!(refused.code(), ErrorCode::Forbidden);
    }
}
