//! Which part a request goes to, and as which request.

use pingora_core::{Error, ErrorType, Result};
use pingora_http::RequestHeader;
use pingora_proxy::Session;
use shared_middleware::identity::Part;
use tokio::time::Instant;

use crate::{
    policy::route::{Row, Target},
    proxy::{headers, request_context::RequestContext},
};

/// The part, the path's prefix here, and what replaces it there; none for what the gateway answers
/// itself.
pub(crate) fn upstream(row: Option<&'static Row>) -> Option<(Part, &'static str, &'static str)> {
    match row?.target {
        Target::Upstream { part, prefix, rewrite_to } => Some((part, prefix, rewrite_to)),
        Target::Health | Target::Document | Target::Swagger => None,
    }
}

/// Makes a client's request one to the part that it is for.
pub(crate) fn prepare(
    session: &Session,
    request: &mut RequestHeader,
    ctx: &mut RequestContext,
) -> Result<()> {
    let Some((part, prefix, rewrite_to)) = upstream(ctx.row) else {
        return Error::err_in(ErrorType::InternalError);
    };
    ctx.upstream_started_at = Some(Instant::now());
    forward(session.req_header(), request, prefix, rewrite_to)?;
    let trace = ctx.trace();
    headers::sanitize_request(request, part, (ctx.scheme, ctx.client), &ctx.request_id, &trace)
}

/// Gives the request the path that the part knows. What follows the prefix is passed on as it came.
fn forward(
    from: &RequestHeader,
    to: &mut RequestHeader,
    prefix: &str,
    rewrite_to: &str,
) -> Result<()> {
    let target = from.raw_path();
    let Some(rest) = target.strip_prefix(prefix.as_bytes()) else {
        return Error::err_in(ErrorType::InternalError);
    };
    match rewrite_to {
        "" => to.set_raw_path(rest),
        rewrite_to => to.set_raw_path(&[rewrite_to.as_bytes(), rest].concat()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::{
        path,
        route::{self, RouteMatch},
    };

    fn forwarded(target: &str) -> Option<String> {
        let (path, _) = path::split(target);
        path::check(target.as_bytes(), 8192).ok()?;
        let RouteMatch::Row(_, row) = route::find("GET", path) else { return None };
        let (_, prefix, rewrite_to) = upstream(Some(row))?;
        let from = RequestHeader::build("GET", target.as_bytes(), None).unwrap();
        let mut to = from.clone();
        forward(&from, &mut to, prefix, rewrite_to).unwrap();
        Some(String::from_utf8(to.raw_path().to_vec()).unwrap())
    }

    #[test]
    fn the_part_sees_its_own_path() {
        for (target, seen) in [
            ("/api/patients?q=%20", "/patients?q=%20"),
            ("/api/users/1", "/users/1"),
            ("/auth/.well-known/jwks.json", "/.well-known/jwks.json"),
            ("/api/billing/accounts?patientId=1", "/accounts?patientId=1"),
            ("/api/analytics/summary", "/summary"),
            ("/api/notifications?", "/notifications?"),
            ("/api-docs/patients", "/v3/api-docs"),
        ] {
            assert_eq!(forwarded(target).as_deref(), Some(seen));
        }
    }

    proptest! {
        #[test]
        fn what_follows_the_prefix_is_forwarded_byte_by_byte(
            id in "[A-Za-z0-9_-]{1,12}",
            query in "(\\?[!-~]{0,12})?",
        ) {
            let target = format!("/api/patients/{id}{query}");
            if path::check(target.as_bytes(), 8192).is_ok() && id != "search" {
                let seen = forwarded(&target);
                prop_assert_eq!(seen, Some(format!("/patients/{id}{query}")));
            }
        }
    }
}
