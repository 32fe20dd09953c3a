//! The verbs, on a real store: what the tests share.

mod account_limit;
mod audit;
mod feed;
mod own_password;
mod service_accounts;
mod sign_in;
mod users;

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use futures_util::future::join_all;
use jiff::SignedDuration;
use kit::testing::{audit_key, engines};
use secrecy::SecretString;
use shared_middleware::{
    clock::Ids,
    error::{ErrorCode, ServiceError as _},
    identity::{Caller, Role},
    token::RevocationPage,
};
use tokio::{sync::Barrier, time::timeout};
use uuid::Uuid;

use super::{App, DEMO_PASSWORD, SignIn, TokenPair};
use crate::{
    Error, build_with,
    domain::{Change, Login},
    feed::Feed,
    keys::{self, Keys},
    open_app,
    password::Passwords,
    store::{NewToken, Refreshed, Spending, Store},
    testing::World,
};

const ADMIN: &str = "testuser@test.com";
const CLINICIAN: &str = "clinician@test.com";
const HOME: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const GOOD_PASSWORD: &str = "violet tram 19 umbrella";

impl World {
    fn app(&self) -> &Arc<App> {
        &self.auth.app
    }

    fn feed(&self) -> Arc<Feed> {
        self.app().feed.clone().unwrap()
    }

    async fn sign_in(&self) -> SignIn {
        let dir = self.config.keys_dir.clone();
        let keys = Keys::open(dir, self.config.token_ttl_s, self.hand.clock()).await.unwrap();
        SignIn::new(Arc::clone(self.app()), Arc::new(keys))
    }

    async fn login_with(&self, email: &str, password: &str) -> Result<TokenPair, Error> {
        let login = Login::parse(Some(email), Some(password.into())).map_err(Error::Invalid)?;
        self.sign_in().await.login(login, HOME).await
    }

    async fn login(&self, email: &str) -> TokenPair {
        self.login_with(email, DEMO_PASSWORD).await.unwrap()
    }

    async fn refresh(&self, pair: &TokenPair) -> Result<TokenPair, Error> {
        self.sign_in().await.refresh(pair.refresh.expose().into()).await
    }

    async fn user(&self, email: &str) -> Uuid {
        self.app().find(email).await.unwrap().id
    }

    /// What the feed tells somebody who knows nothing.
    async fn revoked(&self) -> Vec<Uuid> {
        page(&self.feed(), 0, "").await.revoked.iter().map(|revoked| revoked.session).collect()
    }

    async fn version(&self) -> String {
        page(&self.feed(), 0, "").await.keys_version
    }

    async fn disable(&self, email: &str) -> Result<(), Error> {
        self.app().disable_user(email).await.map(drop)
    }
}

async fn page(feed: &Feed, after: i64, keys: &str) -> RevocationPage {
    let poll = timeout(Duration::from_secs(10), feed.poll(after, keys));
    poll.await.unwrap().map_err(|failure| format!("{failure:?}")).unwrap()
}

/// What a token says, unverified.
fn claims(pair: &TokenPair) -> shared_middleware::token::Claims {
    jsonwebtoken::dangerous::insecure_decode(&pair.access).unwrap().claims
}

fn caller(pair: &TokenPair) -> Caller {
    let claims = claims(pair);
    Caller { subject: claims.sub.into(), role: claims.role, session: claims.sid }
}
