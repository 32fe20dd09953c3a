//! Who speaks to the mesh, and what comes back: a verb for everything that a story does.

use reqwest::{Client, Method, StatusCode, header::HeaderMap};
use serde_json::{Value, json};

/// Somebody who is signed in; or nobody.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) client: Client,
    pub(crate) base: String,
    pub(crate) token: Option<String>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

// === impl Caller ===

impl Caller {
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Answer {
        self.try_send(method, path, headers, body).await.unwrap()
    }

    /// As [`Self::send`], where there may be no answer at all.
    pub(crate) async fn try_send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> reqwest::Result<Answer> {
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        Ok(Answer { status, headers, text: response.text().await? })
    }

    /// The same place, with this token.
    pub(crate) fn with(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], None).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::POST, path, &[], Some(body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::PUT, path, &[], Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, &[], None).await
    }

    pub(crate) async fn log_in(&self, email: &str, password: &str) -> Answer {
        self.post("/auth/login", &json!({"email": email, "password": password})).await
    }

    /// As [`Self::post`], of a process that may be gone: nothing then.
    pub(crate) async fn try_post(&self, path: &str, body: &Value) -> Option<Answer> {
        let request = self.client.post(format!("{}{path}", self.base)).json(body);
        let response = request.bearer_auth(self.token.as_ref()?).send().await.ok()?;
        let (status, headers) = (response.status(), response.headers().clone());
        Some(Answer { status, headers, text: response.text().await.ok()? })
    }

    /// Registers a patient; its id.
    pub(crate) async fn register(&self, patient: &Value) -> String {
        let answer = self.post("/api/patients", patient).await.expect(StatusCode::CREATED);
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    /// The patient's accounts.
    pub(crate) async fn accounts_of(&self, patient: &str) -> Vec<Value> {
        let path = format!("/api/billing/accounts?patientId={patient}");
        self.get(&path).await.expect(StatusCode::OK).list("accounts")
    }

    /// The messages that the patient was sent.
    pub(crate) async fn messages_of(&self, patient: &str) -> Vec<Value> {
        let path = format!("/api/notifications?patientId={patient}");
        self.get(&path).await.expect(StatusCode::OK).list("notifications")
    }

    pub(crate) async fn summary(&self) -> Value {
        self.get("/api/analytics/summary").await.expect(StatusCode::OK).json()
    }
}

// === impl Answer ===

impl Answer {
    /// This status, or the test fails with what came instead.
    #[track_caller]
    pub(crate) fn expect(self, status: StatusCode) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    /// A refusal as the interfaces describe it: status, code and a problem document.
    #[track_caller]
    pub(crate) fn refused(self, status: u16, code: &str) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["status"], status, "{problem}");
        for field in ["type", "title", "detail", "traceId"] {
            assert!(problem[field].is_string(), "{field} in {problem}");
        }
        problem
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {}", self.text))
    }

    pub(crate) fn list(&self, name: &str) -> Vec<Value> {
        self.json()[name].as_array().unwrap().clone()
    }

    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        let value =
            self.headers.get(name).unwrap_or_else(|| panic!("no {name}: {:?}", self.headers));
        value.to_str().unwrap()
    }
}

/// The fields that a refusal names.
pub(crate) fn fields(problem: &Value) -> Vec<&str> {
    let errors = problem["errors"].as_array().unwrap();
    errors.iter().map(|error| error["field"].as_str().unwrap()).collect()
}
