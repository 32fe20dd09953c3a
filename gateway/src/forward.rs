//! Which part a request goes to, and as which request.

use pingora_core::{Error, ErrorType, Result};
use pingora_http::RequestHeader;
use pingora_proxy::Session;
use shared_middleware::identity::Part;
use tokio::time::Instant;

use crate::{
    context::Context,
    headers,
    route::{Row, Target},
};

/// The part, what is taken off the path, and what is put in its place; none for what the gateway
/// answers itself.
pub(crate) fn upstream(row: Option<&'static Row>) -> Option<(Part, &'static str, &'static str)> {
    match row?.target {
        Target::Upstream { part, strip, put } => Some((part, strip, put)),
        Target::Health | Target::Document | Target::Swagger => None,
    }
}

/// Makes a client's request one to the part that it is for.
pub(crate) fn prepare(
    session: &Session,
    request: &mut RequestHeader,
    ctx: &mut Context,
) -> Result<()> {
    let Some((part, strip, put)) = upstream(ctx.row) else {
        return Error::err_in(ErrorType::InternalError);
    };
    ctx.asked = Some(Instant::now());
    forward(session.req_header(), request, strip, put)?;
    let trace = ctx.trace();
    headers::clean(request, part, (ctx.scheme, ctx.client), &ctx.request_id, &trace)
}

/// Gives the request the path that the part knows. What follows the prefix is passed on as it came.
fn forward(from: &RequestHeader, to: &mut RequestHeader, strip: &str, put: &str) -> Result<()> {
    let target = from.raw_path();
    let Some(rest) = target.strip_prefix(strip.as_bytes()) else {
        return Error::err_in(ErrorType::InternalError);
    };
    match put {
        "" => to.set_raw_path(rest),
        put => to.set_raw_path(&[put.as_bytes(), rest].concat()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        path,
        route::{self, Found},
    };

    fn forwarded(target: &str) -> Option<String> {
        let (path, _) = path::split(target);
        path::check(target.as_bytes(), 8192).ok()?;
        let Found::Row(_, row) = route::find("GET", path) else { return None };
        let (_, strip, put) = upstream(Some(row))?;
        let from = RequestHeader::build("GET", target.as_bytes(), None).unwrap();
        let mut to = from.clone();
        forward(&from, &mut to, strip, put).unwrap();
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
