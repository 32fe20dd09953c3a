//! The gateway's own pages: that it is alive, and Swagger UI over the parts' OpenAPI documents.

use std::sync::Arc;

use bytes::Bytes;
use http::{
    HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, LOCATION},
};
use shared_middleware::error::{ErrorCode, Failure};
use utoipa_swagger_ui::{Config, Url};

use crate::proxy::local_response::LocalResponse;

const HOME: &str = "/swagger-ui/";

/// Its own files, the styles that it writes into its elements, and the documents of this gateway.
const PAGE_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'",
);

/// Swagger UI over the parts' documents.
pub(crate) struct Swagger {
    config: Arc<Config<'static>>,
    together: Bytes,
}

// === impl Swagger ===

impl Swagger {
    /// Over the documents that the route table has; `together` is the one of all parts, JSON.
    pub(crate) fn new(together: Bytes) -> Self {
        let documents = ["all", "auth", "patients", "billing", "analytics", "notifications"];
        let paths = [
            "/v3/api-docs",
            "/api-docs/auth",
            "/api-docs/patients",
            "/api-docs/billing",
            "/api-docs/analytics",
            "/api-docs/notifications",
        ];
        let urls = documents.into_iter().zip(paths).map(|(name, path)| Url::new(name, path));
        Self { config: Arc::new(Config::new(urls)), together }
    }

    /// The OpenAPI document of all parts together.
    pub(crate) fn document(&self) -> LocalResponse {
        LocalResponse {
            status: StatusCode::OK,
            content_type: HeaderValue::from_static("application/json"),
            body: self.together.clone(),
            headers: Vec::new(),
        }
    }

    /// The page of a path, which begins with `/swagger-ui`.
    pub(crate) fn page(&self, path: &str) -> Result<LocalResponse, Failure> {
        let Some(file) = path.strip_prefix(HOME) else {
            return Ok(redirect(HOME));
        };
        let served = utoipa_swagger_ui::serve(file, Arc::clone(&self.config));
        let Ok(Some(file)) = served else {
            return Err(Failure::new(ErrorCode::NotFound, "there is nothing here"));
        };
        let mut headers = vec![
            (CONTENT_SECURITY_POLICY, PAGE_POLICY),
            (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        ];
        if file.gzpipped {
            headers.push((CONTENT_ENCODING, HeaderValue::from_static("gzip")));
        }
        Ok(LocalResponse {
            status: StatusCode::OK,
            content_type: HeaderValue::from_str(&file.content_type)
                .unwrap_or(HeaderValue::from_static("application/octet-stream")),
            body: Bytes::from(file.bytes.into_owned()),
            headers,
        })
    }
}

/// That the gateway is alive; nothing of how the rest is.
pub(crate) fn health() -> LocalResponse {
    LocalResponse {
        status: StatusCode::OK,
        content_type: HeaderValue::from_static("application/json"),
        body: Bytes::from_static(br#"{"status":"UP"}"#),
        headers: Vec::new(),
    }
}

fn redirect(to: &'static str) -> LocalResponse {
    LocalResponse {
        status: StatusCode::PERMANENT_REDIRECT,
        content_type: HeaderValue::from_static("text/plain"),
        body: Bytes::new(),
        headers: vec![(LOCATION, HeaderValue::from_static(to))],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::route::{self, RouteMatch};

    fn text(path: &str) -> String {
        String::from_utf8(Swagger::new(Bytes::new()).page(path).ok().unwrap().body.to_vec())
            .unwrap()
    }

    #[test]
    fn the_page_lists_every_document_of_the_table() {
        let script = text("/swagger-ui/swagger-initializer.js");
        let documents = route::ROWS.iter().filter(|row| row.path.starts_with("/api-docs/"));
        assert_eq!(documents.clone().count(), 5);
        for row in documents {
            assert!(script.contains(row.path), "{}", row.path);
        }
    }

    #[test]
    fn everything_that_the_page_loads_is_served_under_a_path_of_the_table() {
        let page = text("/swagger-ui/");
        let loaded = page.split("src=\"").chain(page.split("href=\"")).skip(1);
        let files = loaded.filter_map(|rest| rest.split('"').next()).filter(|f| f.contains('.'));
        let mut seen = 0;
        for file in files.filter(|file| !file.contains(['<', '\n'])) {
            let path = format!("/swagger-ui/{}", file.trim_start_matches("./"));
            assert!(matches!(route::find("GET", &path), RouteMatch::Row(..)), "{path}");
            assert!(Swagger::new(Bytes::new()).page(&path).is_ok(), "{path}");
            seen += 1;
        }
        assert!(seen >= 5, "{seen}");
    }

    #[test]
    fn what_is_not_there_is_not_found_and_the_bare_path_leads_home() {
        let refused = Swagger::new(Bytes::new()).page("/swagger-ui/nothing").err().unwrap();
        assert_eq!(refused.code(), ErrorCode::NotFound);
        let answer = Swagger::new(Bytes::new()).page("/swagger-ui").ok().unwrap();
        assert_eq!(answer.status, StatusCode::PERMANENT_REDIRECT);
    }
}
