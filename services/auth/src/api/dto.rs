//! What goes over the wire, and what the document says of it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shared_middleware::{identity::Role, token::Jwk};
use utoipa::{IntoParams, OpenApi as _, ToSchema, openapi::OpenApi};
use uuid::Uuid;

use crate::{
    api_key::ApiKey,
    app::{ServiceToken, TokenPair, Who},
    domain::{ServiceAccount, User},
};

/// Email and password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Login)]
#[expect(dead_code, reason = "a document of what `login` reads")]
pub(super) struct LoginBody {
    #[schema(required, value_type = String, format = Email, max_length = 254,
        example = "testuser@test.com")]
    email: Option<String>,
    #[schema(required, value_type = String, format = Password, min_length = 1, max_length = 1024,
        example = "password123")]
    password: Option<String>,
}

/// A refresh token that was not used yet.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schema(as = Refresh)]
#[expect(dead_code, reason = "a document of what `refresh` reads")]
pub(super) struct RefreshBody {
    #[schema(required, value_type = String, format = Password,
        example = "Yx0b3v8Zr1nq5pJ7kT2mW9sD4fG6hL8aQ3eR5tY7uI0")]
    refresh_token: Option<String>,
}

/// An access token, and what gives the next one.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Tokens)]
pub(super) struct TokensBody {
    /// A JWT (ES256), for the header `Authorization: Bearer`.
    #[schema(
        example = "eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NiIsImtpZCI6IuKApiJ9.eyJpc3MiOiLigKYifQ.sig"
    )]
    token: String,
    #[schema(example = "Bearer")]
    token_type: &'static str,
    /// Seconds until the access token expires.
    #[schema(example = 900)]
    expires_in: i64,
    /// Opaque; gives a new pair once.
    #[schema(example = "Yx0b3v8Zr1nq5pJ7kT2mW9sD4fG6hL8aQ3eR5tY7uI0")]
    refresh_token: String,
    #[schema(value_type = RoleName)]
    role: Role,
}

/// A service account's key.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schema(as = Key)]
#[expect(dead_code, reason = "a document of what `token` reads")]
pub(super) struct KeyBody {
    #[schema(required, value_type = String, format = Password,
        example = "msk_0198c5a27e1b7c3d9a4f2b6d8e0f1a3c_Yx0b3v8Z…")]
    api_key: Option<String>,
}

/// A service account's access token; its key gives the next one.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ServiceToken)]
pub(super) struct ServiceTokenBody {
    /// A JWT (ES256), for the header `Authorization: Bearer`.
    token: String,
    #[schema(example = "Bearer")]
    token_type: &'static str,
    /// Seconds until it expires.
    #[schema(example = 900)]
    expires_in: i64,
    #[schema(value_type = RoleName)]
    role: Role,
}

/// The password that it is, and the one that it is to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schema(as = OwnPassword)]
#[expect(dead_code, reason = "a document of what `password` reads")]
pub(super) struct OwnPasswordBody {
    #[schema(required, value_type = String, format = Password, max_length = 1024,
        example = "violet tram 19 umbrella")]
    current_password: Option<String>,
    /// Not one of the most common, and not the email address.
    #[schema(required, value_type = String, format = Password, min_length = 12, max_length = 256,
        example = "umbrella 19 tram violet")]
    new_password: Option<String>,
}

/// Who is behind a token: a user with an email, or a service account with a name.
#[derive(Serialize, ToSchema)]
#[schema(as = Me)]
pub(super) struct MeBody {
    #[schema(example = "0198c5a2-7e1b-7c3d-9a4f-2b6d8e0f1a3c")]
    id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = Email, example = "testuser@test.com")]
    email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[schema(value_type = RoleName)]
    role: Role,
}

/// The public keys that verify access tokens: a JSON Web Key Set (RFC 7517).
#[derive(Serialize, ToSchema)]
#[schema(as = KeySet)]
pub(super) struct KeySetBody {
    /// P-256 keys; a token's header names one by its `kid`.
    #[schema(value_type = Vec<Object>, example = json!([{
        "kty": "EC", "crv": "P-256", "kid": "1800000000000-9f86d081", "alg": "ES256", "use": "sig",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    }]))]
    pub(super) keys: Vec<Jwk>,
}

/// A user, as administrators see one.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = User)]
pub(super) struct UserBody {
    #[schema(example = "0198c5a2-7e1b-7c3d-9a4f-2b6d8e0f1a3c")]
    pub(super) id: Uuid,
    #[schema(format = Email, example = "clinician@test.com")]
    email: String,
    #[schema(value_type = RoleName)]
    role: Role,
    /// Whether signing in is refused.
    disabled: bool,
    #[schema(value_type = String, format = DateTime, example = "2026-01-31T08:15:30Z")]
    created_at: Timestamp,
}

/// A page of users, in the order in which they were added.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Users)]
pub(super) struct UsersBody {
    pub(super) users: Vec<UserBody>,
    /// For the next page; null on the last one.
    #[schema(required)]
    pub(super) next_cursor: Option<String>,
}

/// A user to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewUser)]
#[expect(dead_code, reason = "a document of what `create_user` reads")]
pub(super) struct NewUserBody {
    /// Unique without regard to case.
    #[schema(required, value_type = String, format = Email, max_length = 254,
        example = "ann.lee@example.org")]
    email: Option<String>,
    /// Not one of the most common, and not the email address.
    #[schema(required, value_type = String, format = Password, min_length = 12, max_length = 256,
        example = "violet tram 19 umbrella")]
    password: Option<String>,
    #[schema(required, value_type = RoleName)]
    role: Option<String>,
}

/// What is to be different; what is absent stays as it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = UserChange)]
#[expect(dead_code, reason = "a document of what `change_user` reads")]
pub(super) struct ChangeBody {
    #[schema(value_type = Option<RoleName>)]
    role: Option<String>,
    #[schema(value_type = Option<String>, format = Password, min_length = 12, max_length = 256,
        example = "umbrella 19 tram violet")]
    password: Option<String>,
    #[schema(example = true)]
    disabled: Option<bool>,
}

/// A program that may sign in by a key.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ServiceAccount)]
pub(super) struct ServiceAccountBody {
    #[schema(example = "0198c5a2-7e1b-7c3d-9a4f-2b6d8e0f1a3c")]
    id: Uuid,
    #[schema(example = "laboratory link")]
    name: String,
    #[schema(value_type = RoleName)]
    role: Role,
    #[schema(value_type = String, format = DateTime, example = "2026-01-31T08:15:30Z")]
    created_at: Timestamp,
    /// From then on the key and its tokens are refused.
    #[schema(value_type = String, format = DateTime, example = "2026-05-01T08:15:30Z")]
    expires_at: Timestamp,
    /// When the key last gave a token; null when it never did.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    last_used_at: Option<Timestamp>,
    /// Shown to anyone who makes the account, and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>,
        example = "msk_0198c5a27e1b7c3d9a4f2b6d8e0f1a3c_Yx0b3v8Z…")]
    key: Option<String>,
}

/// A page of service accounts, in the order in which they were added.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ServiceAccounts)]
pub(super) struct ServiceAccountsBody {
    pub(super) service_accounts: Vec<ServiceAccountBody>,
    /// For the next page; null on the last one.
    #[schema(required)]
    pub(super) next_cursor: Option<String>,
}

/// A service account to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schema(as = NewServiceAccount)]
#[expect(dead_code, reason = "a document of what `create_service_account` reads")]
pub(super) struct NewServiceAccountBody {
    /// Unique without regard to case.
    #[schema(required, value_type = String, min_length = 1, max_length = 100,
        example = "laboratory link")]
    name: Option<String>,
    #[schema(required, value_type = ServiceRoleName)]
    role: Option<String>,
    #[schema(minimum = 1, maximum = 365, default = 90)]
    expires_in_days: Option<i64>,
}

/// Which page of a list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "a document of what `pages::asked` reads")]
pub(super) struct PageQuery {
    /// Rows in a page.
    #[param(minimum = 1, maximum = 200, default = 20)]
    size: Option<u32>,
    /// The `nextCursor` of the page before.
    cursor: Option<String>,
}

/// What a user may do: see the table of roles in the documentation.
#[derive(ToSchema)]
#[schema(as = Role, rename_all = "UPPERCASE", example = "CLINICIAN")]
#[expect(dead_code, reason = "only described: the role itself is the mesh's")]
pub(super) enum RoleName {
    Admin,
    Clinician,
    Receptionist,
    Billing,
    Auditor,
}

/// What a program may do: what its users may, but for managing users.
#[derive(ToSchema)]
#[schema(as = ServiceRole, rename_all = "UPPERCASE", example = "CLINICIAN")]
#[expect(dead_code, reason = "only described: the role itself is the mesh's")]
pub(super) enum ServiceRoleName {
    Clinician,
    Receptionist,
    Billing,
    Auditor,
}

/// The document, before it has paths.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "MediSync auth",
        description = "Signs users and programs in, and manages them.\n\nA login gives \
            an access token, which every other request shows, and a refresh token, \
            which gives the next pair. Roles are \
            in the token; a change of role, password or state ends a user's sign-ins everywhere \
            within a second.",
    ),
    servers((url = "/", description = "The gateway")),
    components(schemas(RoleName)),
    tags(
        (name = "sign-in", description = "Login, refresh, logout, and who is behind a token."),
        (name = "users", description = "For ADMIN only."),
        (name = "service accounts", description = "Programs that call the API. For ADMIN only."),
    ),
)]
struct Title;

// === impl ===

impl From<TokenPair> for TokensBody {
    fn from(pair: TokenPair) -> Self {
        Self {
            token: pair.access,
            token_type: "Bearer",
            expires_in: pair.expires_in_s,
            refresh_token: pair.refresh.expose().to_owned(),
            role: pair.role,
        }
    }
}

impl From<ServiceToken> for ServiceTokenBody {
    fn from(token: ServiceToken) -> Self {
        Self {
            token: token.access,
            token_type: "Bearer",
            expires_in: token.expires_in_s,
            role: token.role,
        }
    }
}

impl From<Who> for MeBody {
    fn from(who: Who) -> Self {
        match who {
            Who::User(user) => {
                let email = Some(user.email.as_str().to_owned());
                Self { id: user.id, email, name: None, role: user.role }
            }
            Who::Service(account) => {
                Self { id: account.id, email: None, name: Some(account.name), role: account.role }
            }
        }
    }
}

impl From<ServiceAccount> for ServiceAccountBody {
    fn from(account: ServiceAccount) -> Self {
        Self {
            id: account.id,
            name: account.name,
            role: account.role,
            created_at: account.created_at,
            expires_at: account.expires_at,
            last_used_at: account.last_used_at,
            key: None,
        }
    }
}

impl From<(ServiceAccount, ApiKey)> for ServiceAccountBody {
    fn from((account, key): (ServiceAccount, ApiKey)) -> Self {
        Self { key: Some(key.expose().to_owned()), ..account.into() }
    }
}

impl From<User> for UserBody {
    fn from(user: User) -> Self {
        Self {
            id: user.id,
            email: user.email.as_str().to_owned(),
            role: user.role,
            disabled: user.disabled,
            created_at: user.created_at,
        }
    }
}

/// The document's title.
pub(super) fn title() -> OpenApi {
    Title::openapi()
}
