//! Calls from one part to another of the same process: function calls, no TCP and no TLS.
//!
//! The callee is the same service, wrapped in the same layers of the mesh, as behind its port. Who
//! calls is known by construction: only this file makes the identity of a caller without a
//! handshake, and only a reference to the caller's own [`MeshTls`] gives it. The policy layer
//! decides by that identity as by one that a certificate proved.
//!
//! A certificate still counts: while one of the two would refuse the other's (it is revoked, has
//! ended, is of another authority), there is no call, and anyone who wanted it connects to the port
//! and is refused there.

use std::{
    future::Future,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{Router, extract::Request, response::Response};
use tokio::runtime::Handle;
use tower::ServiceExt as _;

use crate::{
    clock::Clock,
    identity::Caller,
    listen::Connection,
    tls::{MeshTls, MutualTrust},
};

/// The address of a caller in this process.
const HERE: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));

/// A part, as another part of its process calls it.
pub struct InProcess {
    routes: Router,
    trust: MutualTrust,
    runtime: Handle,
}

/// The user behind a call, whose token the caller has verified, in this process and so with the
/// same keys and revocations.
#[derive(Clone)]
pub(crate) struct VerifiedCaller(pub(crate) Caller);

/// A future that is polled wherever, and whose tasks and timers live on the callee's runtime: the
/// caller's may end before them.
struct OnRuntime<F> {
    runtime: Handle,
    future: F,
}

// === impl InProcess ===

impl InProcess {
    /// The part of these routes (see [`crate::stack::wrap`]), for this client. What it spawns runs
    /// on the runtime that this is called on.
    pub fn new(routes: Router, client: Arc<MeshTls>, server: Arc<MeshTls>, clock: Clock) -> Self {
        let trust = MutualTrust::new(client, server, clock);
        Self { routes, trust, runtime: Handle::current() }
    }

    /// Calls the part on behalf of this user, if the client knows one; none when the two must not
    /// trust each other now.
    ///
    /// The answer's body has to be read by [`Self::polled`].
    pub fn call(
        &self,
        mut request: Request,
        caller: Option<Caller>,
    ) -> Option<impl Future<Output = Response> + Send + use<>> {
        if !self.trust.holds() {
            return None;
        }
        let connection = Connection { peer: Some(self.trust.client()), remote: HERE };
        request.extensions_mut().insert(connection);
        if let Some(caller) = caller {
            request.extensions_mut().insert(VerifiedCaller(caller));
        }
        let answered = self.routes.clone().oneshot(request);
        Some(self.polled(Box::pin(async move {
            match answered.await {
                Ok(answer) => answer,
                Err(never) => match never {},
            }
        })))
    }

    /// Polls a future of the part's here, with its tasks and timers on the part's runtime.
    pub fn polled<F>(&self, future: F) -> impl Future<Output = F::Output> + Send + use<F>
    where
        F: Future + Send + Unpin,
    {
        OnRuntime { runtime: self.runtime.clone(), future }
    }
}

// === impl OnRuntime ===

impl<F: Future + Unpin> Future for OnRuntime<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Self { runtime, future } = self.get_mut();
        let _entered = runtime.enter();
        Pin::new(future).poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::{Extension, body::Body, routing::get};
    use futures_util::future::{BoxFuture, ready};
    use http::StatusCode;

    use super::*;
    use crate::{
        access::{Access, Rule},
        audit::{AuditSink, Entry},
        error::Failure,
        identity::{Part, Role},
        permission::Permission,
        ready::AlwaysReady,
        stack::{Mesh, wrap},
        tls::test_pair,
        token::{Verifier, VerifierConfig},
    };

    const RULES: &[Rule] = &[
        Rule::new("GET", "/patients", Access::User(Permission::ReadPatients)),
        Rule::new("GET", "/for-parts", Access::Parts(&[Part::Billing])),
    ];

    struct NoTrail;

    impl AuditSink for NoTrail {
        fn record(&self, _: Entry) -> BoxFuture<'_, Result<(), Failure>> {
            Box::pin(ready(Ok(())))
        }
    }

    /// The patient service, as this part of its process calls it, in every layer of the mesh.
    fn patient_for(client: Part) -> InProcess {
        let clock = Clock::system();
        let subject = async |Extension(caller): Extension<Caller>| caller.subject.to_string();
        let routes =
            Router::new().route("/patients", get(subject)).route("/for-parts", get(async || "yes"));
        let mesh = Mesh {
            service: Part::Patient,
            rules: RULES,
            verifier: Arc::new(Verifier::new(VerifierConfig::default(), clock.clone())),
            audit_log: Arc::new(NoTrail),
            clock: clock.clone(),
            readiness: Arc::new(AlwaysReady),
            in_flight_max: 8,
            deadline: Duration::from_secs(10),
            body_bytes_max: 1024,
        };
        let (client, server) = test_pair(client, Part::Patient);
        InProcess::new(wrap(routes, &mesh), client, server, clock)
    }

    async fn status(called: &InProcess, path: &str, caller: Option<Role>) -> StatusCode {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let caller = caller.map(|role| Caller { subject: "u1".into(), role, session: None });
        called.call(request, caller).unwrap().await.status()
    }

    #[tokio::test]
    async fn the_policy_knows_a_part_of_the_same_process_by_what_it_is() {
        let gateway = patient_for(Part::Gateway);
        let clinician = Some(Role::Clinician);
        assert_eq!(status(&gateway, "/patients", clinician).await, StatusCode::OK);
        assert_eq!(status(&gateway, "/for-parts", clinician).await, StatusCode::FORBIDDEN);
        let billing = patient_for(Part::Billing);
        assert_eq!(status(&billing, "/patients", clinician).await, StatusCode::FORBIDDEN);
        assert_eq!(status(&billing, "/for-parts", None).await, StatusCode::OK);
    }

    #[tokio::test]
    async fn without_a_verified_user_a_token_is_asked_for_and_a_role_still_decides() {
        let gateway = patient_for(Part::Gateway);
        // Keys are not known here, so no token could be verified; none was shown.
        assert_eq!(status(&gateway, "/patients", None).await, StatusCode::UNAUTHORIZED);
        let auditor = Some(Role::Auditor);
        assert_eq!(status(&gateway, "/patients", auditor).await, StatusCode::FORBIDDEN);
    }
}
