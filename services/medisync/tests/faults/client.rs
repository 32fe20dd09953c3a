//! Those who speak to the mesh: they are signed in, and ask again.

use std::{
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::caller::{Answer, Caller};

const ADMIN: &str = "testuser@test.com";
const PASSWORD: &str = "password123";
/// No request takes longer; the system's own limits are shorter.
const ANSWERED_WITHIN: Duration = Duration::from_secs(30);
const AGAIN_AFTER: Duration = Duration::from_millis(50);
/// A mesh that is mended answers within so long.
const MENDED_WITHIN: Duration = Duration::from_secs(90);

/// Somebody who is signed in, at all gateways: who finds one closed goes to the next.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    gateways: Arc<Vec<String>>,
    next: Arc<AtomicUsize>,
    token: Arc<RwLock<String>>,
}

// === impl Client ===

impl Client {
    pub(crate) fn new(gateways: Vec<String>) -> Self {
        let http = reqwest::Client::builder().timeout(ANSWERED_WITHIN).tls_certs_only([]);
        Self {
            http: http.build().unwrap(),
            gateways: Arc::new(gateways),
            next: Arc::default(),
            token: Arc::default(),
        }
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> reqwest::Result<Answer> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let mut tried = 0;
        loop {
            let gateway = &self.gateways[(first + tried) % self.gateways.len()];
            tried += 1;
            let caller = Caller {
                client: self.http.clone(),
                base: format!("http://{gateway}"),
                token: Some(self.token.read().unwrap_or_else(PoisonError::into_inner).clone()),
            };
            match caller.try_send(method.clone(), path, headers, body).await {
                // Nobody is there: so a balancer before two gateways would do.
                Err(error) if reqwest::Error::is_connect(&error) && tried < self.gateways.len() => {
                }
                answered => return answered,
            }
        }
    }

    /// What is there, however long it takes.
    pub(crate) async fn find(&self, path: &str) -> Option<Value> {
        let until = Instant::now() + MENDED_WITHIN;
        loop {
            let answer = self.send(Method::GET, path, &[], None).await;
            match answer.as_ref().map(|answer| answer.status) {
                Ok(StatusCode::OK) => return Some(answer.unwrap().json()),
                Ok(StatusCode::NOT_FOUND) => return None,
                Ok(StatusCode::UNAUTHORIZED) => self.sign_in().await,
                _ => {}
            }
            assert!(Instant::now() < until, "{path} was never answered: {answer:?}");
            sleep(AGAIN_AFTER).await;
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        self.find(path).await.unwrap_or_else(|| panic!("{path} is not there"))
    }

    pub(crate) async fn sign_in(&self) {
        let (until, body) =
            (Instant::now() + MENDED_WITHIN, json!({"email": ADMIN, "password": PASSWORD}));
        loop {
            let answer = self.send(Method::POST, "/auth/login", &[], Some(&body)).await;
            if let Ok(answer) = &answer
                && answer.status == StatusCode::OK
            {
                let token = answer.json()["token"].as_str().unwrap().to_owned();
                *self.token.write().unwrap_or_else(PoisonError::into_inner) = token;
                return;
            }
            assert!(Instant::now() < until, "nobody can sign in: {answer:?}");
            sleep(AGAIN_AFTER).await;
        }
    }
}
